# ruff: noqa: INP001
"""A webhook for lakeFS: a merge waits for it, and is aborted unless the data policy is kept.

lakeFS is read through a folder in which its repositories are mounted, each with its references below it:
``ROOT/REPOSITORY/REF/...``. That is the layout of its S3 gateway, so that a read-only mount of the gateway (rclone,
s3fs) is enough; the keys stay with the mount, and nothing here knows them.

The policy is the one of the branch that is merged *into*: a merge cannot bring along the policy that lets it pass, and
the first policy is committed there by hand. The manifest of that branch is the parent generation.

    python webhook.py --root /mnt/lakefs --manifest manifests/current.cgm.json

Answers: 200 the policy is kept; 422 it is not, or that cannot be told; 400 no event of a merge; 404 another path; 413
too long; 504 the check took too long. The body is JSON with the verdict and the findings; lakeFS keeps it with the run.
Source of the event's fields: the webhook reference of lakeFS.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

PATH: Final = "/pre-merge"
MAX_BYTES: Final = 64 << 10
#: What repositories, branches and commits are called: nothing that climbs out of the root.
NAME: Final = re.compile(r"\w[\w-]{0,254}", re.ASCII)


class EventError(ValueError):
    """The request is no event of a merge."""


@dataclass(frozen=True)
class Settings:
    """What is checked, and where it lies.

    Args:
        root: folder of ``REPOSITORY/REF/...``.
        manifest: path of the manifest on every branch.
        policy: path of the policy on every branch.
        command: the installed command.
        timeout_s: seconds for a check; less than the ``timeout`` of the hook.
    """

    root: Path
    manifest: str
    policy: str = "collapse_guard.yaml"
    command: str = "collapse-guard"
    timeout_s: float = 100.0


def answer(event: Any, settings: Settings) -> tuple[HTTPStatus, dict[str, Any]]:
    """Return the status and body for an event; raises EventError if it is none of a merge."""
    repository, source, target = _named(event)
    here, into = (settings.root / repository / ref for ref in (source, target))
    try:
        result = _checked(_arguments(here, into, settings), settings)
    except subprocess.TimeoutExpired:
        text = f"the check took longer than {settings.timeout_s:g} s; raise --timeout and the timeout of the hook"
        return HTTPStatus.GATEWAY_TIMEOUT, {"verdict": "inconclusive", "error": text}
    is_kept = result.get("verdict") == "kept"
    return (HTTPStatus.OK if is_kept else HTTPStatus.UNPROCESSABLE_ENTITY), result


def _named(event: Any) -> tuple[str, str, str]:
    """Return repository, source and target of a merge."""
    if not isinstance(event, dict):
        raise EventError("the body must be a JSON object")
    if event.get("event_type") != "pre-merge":
        raise EventError(f"event_type must be pre-merge, got {event.get('event_type')!r:.60}")
    names = [event.get(key) for key in ("repository_id", "source_ref", "branch_id")]
    for key, name in zip(("repository_id", "source_ref", "branch_id"), names, strict=True):
        if not isinstance(name, str) or NAME.fullmatch(name) is None:
            raise EventError(f"{key} must be a name of letters, digits, - and _, got {name!r:.60}")
    return str(names[0]), str(names[1]), str(names[2])


def _arguments(here: Path, into: Path, settings: Settings) -> list[str]:
    """Return what is asked: the new manifest against that of the branch.

    A merge that leaves the manifest as it is brings no generation: then it is only asked whether it holds together.
    """
    current, previous = here / settings.manifest, into / settings.manifest
    asked = ["--no-config", f"--policy={into / settings.policy}", f"--manifest={current}"]
    if not previous.is_file():
        return asked
    is_same = current.is_file() and current.read_bytes() == previous.read_bytes()
    return [*asked, "--select=CG0"] if is_same else [*asked, f"--against={previous}"]


def _checked(arguments: list[str], settings: Settings) -> dict[str, Any]:
    """Return what the gate says, without figures: verdict, findings, notes."""
    command = [shutil.which(settings.command) or settings.command, "check", *arguments, "--output-format", "json"]
    # no shell, and every name in the paths was looked at
    done = subprocess.run(command, capture_output=True, timeout=settings.timeout_s, check=False)  # noqa: S603
    try:
        result = json.loads(done.stdout)
    except ValueError:
        return {"verdict": "unusable", "error": done.stderr.decode("utf-8", "replace").strip()[-2000:]}
    keys = ("code", "severity", "status", "message", "remedy", "file", "line")
    findings = [{key: finding.get(key) for key in keys} for finding in result["findings"]]
    return {"verdict": result["verdict"], "findings": findings, "notes": result["notes"]}


class Handler(BaseHTTPRequestHandler):
    """One request: an event in, a verdict out."""

    #: Seconds for a client to say what it wants.
    timeout = 30

    def __init__(self, settings: Settings, *args: Any) -> None:
        self.settings = settings
        super().__init__(*args)

    def do_GET(self) -> None:
        """Say that the server is alive."""
        is_known = self.path == "/healthz"
        self._say(HTTPStatus.OK if is_known else HTTPStatus.NOT_FOUND, {"alive": is_known})

    def do_POST(self) -> None:
        """Answer an event."""
        if self.path.partition("?")[0] != PATH:
            self._say(HTTPStatus.NOT_FOUND, {"error": f"events go to {PATH}"})
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BYTES:
            self._say(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"an event has at most {MAX_BYTES} bytes"})
            return
        try:
            self._say(*answer(json.loads(self.rfile.read(int(length))), self.settings))
        except (EventError, ValueError, RecursionError) as error:
            self._say(HTTPStatus.BAD_REQUEST, {"error": f"no event of a merge: {error}"})
        except OSError as error:
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, {"verdict": "unusable", "error": str(error)})

    def _say(self, status: HTTPStatus, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def served(settings: Settings, host: str = "127.0.0.1", port: int = 0) -> ThreadingHTTPServer:
    """Return a server that listens; port 0 takes a free one."""
    return ThreadingHTTPServer((host, port), partial(Handler, settings))


def main(arguments: list[str]) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Abort merges of lakeFS that break the data policy.")
    parser.add_argument("--root", type=Path, required=True, help="folder of REPOSITORY/REF/...")
    parser.add_argument("--manifest", required=True, help="path of the manifest on every branch")
    parser.add_argument("--policy", default="collapse_guard.yaml", help="path of the policy on every branch")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--timeout", type=float, default=100.0, help="seconds for a check")
    given = parser.parse_args(arguments)
    settings = Settings(given.root, given.manifest, given.policy, timeout_s=given.timeout)
    with served(settings, given.host, given.port) as server:
        host, port = server.server_address[:2]
        sys.stderr.write(f"listening on http://{host!s}:{port}{PATH}\n")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            sys.stderr.write("stopped\n")


if __name__ == "__main__":
    main(sys.argv[1:])
