"""The blocks of the guides run as they stand, in their order, in one folder."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from collapse_guard.gate import check
from collapse_guard.manifest import load_manifest
from collapse_guard.policy import policy_from_mapping
from collapse_guard.policy.discovery import find_policy

DOCS = Path(__file__).parents[1] / "docs"
COMMAND = str(Path(sys.executable).with_name("collapse-guard"))


def bodies(language: str, guide: str = "data.md") -> list[str]:
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", (DOCS / guide).read_text(), re.DOTALL | re.MULTILINE)
    return [body for found, body in blocks if found == language]


def commands(guide: str) -> list[str]:
    return re.findall(r"^collapse-guard .*$", "".join(bodies("bash", guide)), re.MULTILINE)


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def test_the_python_blocks_run_in_their_order(tmp_path: Path) -> None:
    done = run([sys.executable, "-c", "\n".join(bodies("python"))], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "['web', 'web', 'web'] ['text', 'label']" in done.stdout
    assert "0.5 Left(" in done.stdout
    assert any(sorted(line) == sorted("[1, 1, 1, 2, 2, 2]") for line in done.stdout.splitlines())
    assert "\nTrue\n" in done.stdout


@pytest.mark.parametrize("body", [*bodies("yaml"), *bodies("yaml", "gate.md")], ids=lambda body: body.split(":")[0])
def test_the_yaml_blocks_are_policies(body: str) -> None:
    policy_from_mapping({"version": 1} | yaml.safe_load(body))


def test_the_commands_run_in_their_order(tmp_path: Path) -> None:
    for folder, prefix in (("corpus", "real"), ("own", "made")):
        (tmp_path / folder).mkdir()
        rows = [f"{prefix} {row},{'owl' if row % 5 == 0 else 'cat'}" for row in range(20)]
        (tmp_path / folder / "rows.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    made = "manifest write own --source own --origin synthetic --generator m@1 --generation 1 --class-column label"
    assert run([COMMAND, *made.split(), "-o", "own/manifest.cgm.json"], tmp_path).returncode == 0
    (tmp_path / "policy.yaml").write_text("version: 1\n")
    for line in commands("data.md"):
        if "--to in-toto" in line:
            found = check(tmp_path / "policy.yaml", tmp_path / "gen1" / "manifest.cgm.json")
            (tmp_path / "result.json").write_text(json.dumps(found.as_dict(), default=str))
        done = run([COMMAND, *shlex.split(line)[1:]], tmp_path)
        assert done.returncode == (1 if "manifest diff" in line else 0), line + done.stdout + done.stderr
    header = load_manifest(tmp_path / "gen1" / "manifest.cgm.json").header
    assert (header.generation, header.parents[0].name, header.index.rows) == (1, "manifest", 40)
    assert "collapse_guard:" in (tmp_path / "README.md").read_text()
    assert json.loads((tmp_path / "gen1" / "croissant.json").read_text())["@type"] == "sc:Dataset"


@pytest.mark.slow
def test_the_commands_of_the_gate_run_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")  # the page says when it was made
    rows = [
        {"prompt": f"say {row}", "completion": f"{row} again", "task": "even" if row % 2 else "odd"}
        for row in range(40)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = [row | {"completion": f"{row['completion']} and again"} for row in rows[:8]]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    key = ed25519.Ed25519PrivateKey.generate()
    kinds = serialization.PrivateFormat.PKCS8, serialization.PublicFormat.SubjectPublicKeyInfo
    pem = serialization.Encoding.PEM
    (tmp_path / "key.pem").write_bytes(key.private_bytes(pem, kinds[0], serialization.NoEncryption()))
    (tmp_path / "key.pub.pem").write_bytes(key.public_key().public_bytes(pem, kinds[1]))
    for line in re.findall(r"^(?:collapse-guard|cp) .*$", "".join(bodies("bash", "gate.md")), re.MULTILINE):
        command, *arguments = shlex.split(line)
        done = run([{"collapse-guard": COMMAND}.get(command, command), *arguments], tmp_path)
        assert done.returncode == 0, line + done.stdout + done.stderr
        if "manifest merge" in line:
            policy = tmp_path / "collapse_guard.yaml"
            policy.write_text(
                policy.read_text().replace("  # previous: manifests/previous", "  previous: manifests/previous")
            )
    assert (tmp_path / "gate.html").read_bytes() == (tmp_path / "again.html").read_bytes()


def test_the_table_of_a_project_is_one_that_is_read(tmp_path: Path) -> None:
    (body,) = bodies("toml", "gate.md")
    (tmp_path / "pyproject.toml").write_text(body)
    found = find_policy(start=tmp_path, environ={})
    assert found.path == tmp_path / "governance" / "collapse_guard.yaml"
    assert found.project.ignore == ("CG103",)


def test_every_page_that_is_named_is_there() -> None:
    for page in (DOCS.parent / "README.md", *DOCS.glob("*.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} names {target}"
