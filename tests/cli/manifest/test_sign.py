"""``collapse-guard manifest sign`` and ``manifest verify-signature``: exit codes, messages, and what is left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from collapse_guard.cli import app
from collapse_guard.errors import InputError, MissingExtraError
from collapse_guard.manifest import load_manifest
from collapse_guard.manifest.inventory import take_inventory
from collapse_guard.manifest.signing import PASSPHRASE_VARIABLE
from tests.manifest.signing.conftest import write_pair

if TYPE_CHECKING:
    from pathlib import Path

SIGN = ("manifest", "sign", "gen4.cgm.json", "--key")
VERIFY = ("manifest", "verify-signature", "gen4.cgm.json", "--key")


def run(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=typed)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a manifest and keys."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(PASSPHRASE_VARIABLE, raising=False)
    write_pair(tmp_path, "own", 1)
    write_pair(tmp_path, "other", 2)
    write_pair(tmp_path, "locked", 3, b"secret words")
    data = tmp_path / "web"
    data.mkdir()
    (data / "rows.csv").write_text("text\na\nb\n")
    take_inventory(data, to=tmp_path / "gen4.cgm.json", source="web", origin="real")
    return tmp_path


def test_signed_and_verified(here: Path) -> None:
    done = run(*SIGN, "own.pem")
    assert done.exit_code == 0
    assert done.output.startswith("signed by key ")
    assert (here / "gen4.cgm.dsse.json").is_file()
    found = run(*VERIFY, "own.pub.pem")
    assert found.exit_code == 0
    assert "gen4, generation 0" in found.output
    assert load_manifest("gen4.cgm.json").digest in found.output
    view = json.loads(run(*VERIFY, "own.pub.pem", "--output-format", "json").output)
    assert view["holds"] is True
    assert view["generation"] == 0
    assert view["keyid"] in done.output


def test_another_key_or_a_change_is_exit_code_1(here: Path) -> None:
    assert run(*VERIFY, "own.pub.pem").exit_code == 1
    run(*SIGN, "own.pem")
    done = run(*VERIFY, "other.pub.pem")
    assert done.exit_code == 1
    assert "not by key" in done.output
    assert run(*VERIFY, "other.pub.pem", "--key", "own.pub.pem").exit_code == 0
    header = here / "gen4.cgm.json"
    header.write_text(header.read_text().replace('"generation": 0', '"generation": 5'))
    done = run(*VERIFY, "own.pub.pem", "--output-format", "json")
    assert done.exit_code == 1
    assert json.loads(done.output)["holds"] is False


def test_several_may_sign(here: Path) -> None:
    run(*SIGN, "own.pem")
    assert run(*SIGN, "other.pem", "--add").exit_code == 0
    assert len(json.loads((here / "gen4.cgm.dsse.json").read_text())["signatures"]) == 2
    for key in ("own.pub.pem", "other.pub.pem"):
        assert run(*VERIFY, key).exit_code == 0


def test_the_signature_may_lie_elsewhere(here: Path) -> None:
    assert run(*SIGN, "own.pem", "-o", "signatures/gen4.json").exit_code == 0
    assert not (here / "gen4.cgm.dsse.json").exists()
    assert run(*VERIFY, "own.pub.pem", "--signature", "signatures/gen4.json").exit_code == 0
    assert run(*VERIFY, "own.pub.pem").exit_code == 1


def test_an_encrypted_key_takes_its_passphrase_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=f"set {PASSPHRASE_VARIABLE}"):
        CliRunner().invoke(app, [*SIGN, "locked.pem"], catch_exceptions=False)
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "secret words")
    assert run(*SIGN, "locked.pem").exit_code == 0
    assert run(*VERIFY, "locked.pub.pem").exit_code == 0


def test_an_encrypted_key_asks_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    from collapse_guard.cli.manifest import sign

    asked: list[bool] = []

    def prompt(_: str, *, hide_input: bool, err: bool) -> str:
        asked.append(hide_input and err)
        return "secret words"

    monkeypatch.setattr(typer, "prompt", prompt)
    monkeypatch.setattr(sign, "_is_terminal", lambda: True)
    assert run(*SIGN, "locked.pem").exit_code == 0
    assert asked == [True]


@pytest.mark.parametrize(
    "arguments",
    [
        (*SIGN, "own.pub.pem"),
        (*SIGN, "away.pem"),
        (*SIGN, "web"),
        (*SIGN, "own.pem", "-o", "gen4.cgm.json"),
        (*SIGN, "own.pem", "-o", "web"),
        ("manifest", "sign", "web/rows.csv", "--key", "own.pem"),
        ("manifest", "sign", "away.cgm.json", "--key", "own.pem"),
        (*VERIFY, "own.pem"),
        (*VERIFY, "away.pem"),
        (*VERIFY, "own.pub.pem", "--signature", "away.json"),
        (*VERIFY, "own.pub.pem", "--signature", "gen4.cgm.json"),
        ("manifest", "verify-signature", "gen4.cgm.json"),
        ("manifest", "verify-signature", "web", "--key", "own.pub.pem"),
    ],
)
def test_unusable_input_is_exit_code_2_and_one_line(here: Path, arguments: tuple[str, ...]) -> None:
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    code = "from collapse_guard.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ") is ("--key" in arguments)
    if "--key" in arguments:
        assert len(done.stderr.splitlines()) == 1
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


def test_the_gate_asks_for_a_signature(here: Path) -> None:
    (here / "policy.yaml").write_text("version: 1\nextends: preset:starter@1\n")
    check = ("check", "-p", "policy.yaml", "-m", "gen4.cgm.json", "--require-signature")
    assert run(*check, "own.pub.pem").exit_code == 2
    run(*SIGN, "own.pem")
    assert run(*check, "own.pub.pem").exit_code == 0
    done = run(*check, "other.pub.pem")
    assert done.exit_code == 2
    assert "CG004 error: gen4.cgm.dsse.json: signed by key" in done.output
    assert run(*check, "own.pem").exit_code == 2


def test_without_the_extra_the_line_to_type_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for arguments in ((*SIGN, "own.pem"), (*VERIFY, "own.pub.pem")):
        with pytest.raises(MissingExtraError, match=r"pip install 'collapse-guard\[sign\]'"):
            CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_a_signature_is_no_generation_and_no_part(here: Path) -> None:
    run(*SIGN, "own.pem")
    assert json.loads(run("manifest", "log", "gen4.cgm.json", "--output-format", "json").output)["complete"] is True
    assert run("manifest", "verify", "gen4.cgm.json").exit_code == 0
    run("manifest", "prune", "gen4.cgm.json", "--remove")
    assert run(*VERIFY, "own.pub.pem").exit_code == 0
