"""The webhook for lakeFS: started on this machine, asked with the events that lakeFS documents."""

from __future__ import annotations

import http.client
import importlib.util
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

pytestmark = pytest.mark.slow


FOLDER = Path(__file__).parents[2] / "ci" / "lakefs"
ACTION = yaml.safe_load((FOLDER / "collapse_guard.yaml").read_text(encoding="utf-8"))
COMMAND = str(Path(sys.executable).with_name("collapse-guard"))
#: As the webhook reference of lakeFS shows it.
EVENT = {
    "event_type": "pre-merge",
    "event_time": "2026-02-28T14:03:31Z",
    "action_name": ACTION["name"],
    "hook_id": ACTION["hooks"][0]["id"],
    "repository_id": "corpus",
    "branch_id": "main",
    "source_ref": "gen1",
    "commit_message": "generation 1",
    "commit_id": "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
    "committer": "somebody",
    "commit_metadata": {"key": "value"},
}


@pytest.fixture(scope="module", name="webhook")
def webhook_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("collapse_guard_webhook", FOLDER / "webhook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(name="mount")
def mounted_repository(made_project: Path, tmp_path: Path) -> Path:
    """Repository `corpus` with main and two branches, as a mount of the gateway shows it."""
    for branch, manifest in (("main", "previous"), ("gen1", "current"), ("much", "bad"), ("same", "previous")):
        folder = tmp_path / "corpus" / branch
        (folder / "manifests").mkdir(parents=True)
        text = (made_project / "collapse_guard.yaml").read_text(encoding="utf-8")
        (folder / "collapse_guard.yaml").write_text(text.replace("  previous: manifests/previous.cgm.json\n", ""))
        shutil.copy(made_project / "manifests" / f"{manifest}.cgm.json", folder / "manifests" / "current.cgm.json")
        index = f"{manifest}.index"
        shutil.copytree(made_project / "manifests" / index, folder / "manifests" / index)
    return tmp_path


@pytest.fixture(name="address")
def listening(webhook: ModuleType, mount: Path) -> Iterator[tuple[str, int]]:
    settings = webhook.Settings(mount, "manifests/current.cgm.json", command=COMMAND)
    with webhook.served(settings) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[:2]
        server.shutdown()
        thread.join()


def ask(
    address: tuple[str, int], body: bytes, *, path: str = "/pre-merge", method: str = "POST"
) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(*address, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def post(address: tuple[str, int], **changed: Any) -> tuple[int, dict[str, Any]]:
    return ask(address, json.dumps(EVENT | changed).encode())


def test_the_action_sends_merges_to_the_webhook(webhook: ModuleType) -> None:
    assert ACTION[True] == {"pre-merge": {"branches": ["main"]}}  # YAML 1.1 reads "on" as a truth value
    (hook,) = ACTION["hooks"]
    assert hook["type"] == "webhook"
    assert hook["properties"]["url"].endswith(webhook.PATH)


def test_a_merge_that_keeps_the_policy_goes_on(address: tuple[str, int]) -> None:
    status, body = post(address)
    assert (status, body["verdict"]) == (200, "kept"), body


def test_a_merge_that_breaks_the_policy_is_aborted_with_its_findings(address: tuple[str, int]) -> None:
    status, body = post(address, source_ref="much")
    assert (status, body["verdict"]) == (422, "violated"), body
    assert "CG101" in {finding["code"] for finding in body["findings"]}


def test_a_merge_cannot_bring_the_policy_that_lets_it_pass(address: tuple[str, int], mount: Path) -> None:
    (mount / "corpus" / "much" / "collapse_guard.yaml").write_text("version: 1\nmix: {real_min_share: 0}\n")
    assert post(address, source_ref="much")[0] == 422


def test_a_merge_that_leaves_the_manifest_alone_goes_on(address: tuple[str, int], mount: Path) -> None:
    assert post(address, source_ref="same")[:1] == (200,)
    parts = sorted((mount / "corpus" / "same" / "manifests").rglob("*.parquet"))
    parts[0].write_bytes(b"not what the header says")
    status, body = post(address, source_ref="same")
    assert (status, body["verdict"]) == (422, "unusable")


def test_a_branch_without_policy_or_manifest_lets_nothing_pass(address: tuple[str, int], mount: Path) -> None:
    assert post(address, source_ref="nowhere")[0] == 422
    (mount / "corpus" / "main" / "collapse_guard.yaml").unlink()
    status, body = post(address)
    assert (status, body["verdict"]) == (422, "unusable")
    assert any(str(finding["file"]).endswith("collapse_guard.yaml") for finding in body["findings"])


@pytest.mark.parametrize(
    "changed",
    [
        {"event_type": "pre-commit"},
        {"repository_id": "../corpus"},
        {"source_ref": "../../etc"},
        {"source_ref": "/etc"},
        {"branch_id": ".."},
        {"branch_id": "main\n"},
        {"source_ref": None},
        {"source_ref": "--policy=x"},
    ],
)
def test_what_is_no_event_of_a_merge_is_refused(address: tuple[str, int], changed: dict[str, Any]) -> None:
    status, body = post(address, **changed)
    assert (status, "error" in body) == (400, True)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 5000])
def test_a_body_that_is_no_event_is_refused(address: tuple[str, int], body: bytes) -> None:
    assert ask(address, body)[0] == 400


def test_other_requests_are_answered_and_change_nothing(address: tuple[str, int]) -> None:
    assert ask(address, b"", path="/healthz", method="GET") == (200, {"alive": True})
    assert ask(address, b"", path="/pre-merge", method="GET")[0] == 404
    assert ask(address, b"{}", path="/other")[0] == 404


@pytest.mark.parametrize(("length", "status"), [("70000", 413), ("-1", 413), ("many", 413), (None, 413)])
def test_a_length_that_is_no_events_is_refused_before_anything_is_read(
    address: tuple[str, int], length: str | None, status: int
) -> None:
    connection = http.client.HTTPConnection(*address, timeout=60)
    try:
        connection.putrequest("POST", "/pre-merge")
        if length is not None:
            connection.putheader("Content-Length", length)
        connection.endheaders()
        assert connection.getresponse().status == status
    finally:
        connection.close()


def test_a_check_that_takes_too_long_aborts_the_merge(webhook: ModuleType, mount: Path) -> None:
    slow = mount / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 20\n", encoding="utf-8")
    slow.chmod(0o755)
    settings = webhook.Settings(mount, "manifests/current.cgm.json", command=str(slow), timeout_s=0.2)
    status, body = webhook.answer(EVENT, settings)
    assert (status, body["verdict"]) == (504, "inconclusive")


def test_the_webhook_starts_from_the_command_line(mount: Path) -> None:
    command = [sys.executable, str(FOLDER / "webhook.py"), "--root", str(mount), "--manifest", "m.json", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        line = server.stderr.readline()
        port = int(line.rsplit(":", 1)[1].partition("/")[0])
        assert ask(("127.0.0.1", port), b"", path="/healthz", method="GET")[0] == 200
        server.terminate()
