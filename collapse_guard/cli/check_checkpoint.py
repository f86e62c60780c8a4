"""``collapse-guard check-checkpoint``: was this checkpoint guarded, halted, and trained on which data?"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from collapse_guard.kernels import one_line
from collapse_guard.manifest import load_manifest
from collapse_guard.report import plain

if TYPE_CHECKING:
    from collapse_guard.integrations.training.checkpoints import GuardRecord, Verdict

_EXIT_CODES: Final[dict[Verdict, int]] = {
    "guarded": 0,
    "halted": 1,
    "other manifest": 1,
    "unknown manifest": 3,
    "not guarded": 3,
}
_SAID: Final[dict[Verdict, str]] = {
    "guarded": "guarded, not halted",
    "halted": "halted",
    "other manifest": "trained on another manifest",
    "unknown manifest": "guarded, but on no manifest that it names",
    "not guarded": "not guarded",
}


class Format(StrEnum):
    """How the result is printed."""

    TEXT = "text"
    JSON = "json"


def check_checkpoint(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="Lightning checkpoint, file of torch.save, trainer_state.json, or a checkpoint folder"
            " (Hugging Face Trainer, Accelerate, sharded Lightning).",
            show_default=False,
        ),
    ],
    manifest: Annotated[
        Path | None, typer.Option("--manifest", "-m", help="Manifest that the checkpoint must come from.")
    ] = None,
    output_format: Annotated[Format, typer.Option("--output-format", help="How the result is printed.")] = Format.TEXT,
) -> None:
    """Say whether a checkpoint was guarded, whether it was halted and why, and on which manifest it was trained.

    No code of the checkpoint is run: a file that would need it is unusable input.

    Exit code: 0 guarded and not halted, 1 halted or another manifest, 2 unusable input, 3 not guarded.

    Example: collapse-guard check-checkpoint checkpoints/last.ckpt --manifest gen4/manifest.cgm.json
    """
    from collapse_guard.integrations.training.checkpoints import read_checkpoint  # noqa: PLC0415 - a floor that may bring torch

    expected = None if manifest is None else load_manifest(manifest).digest
    record = read_checkpoint(checkpoint)
    verdict = record.verdict(expected)
    view = {
        "schema": "collapse-guard/checkpoint/1",
        "verdict": verdict,
        "exit_code": _EXIT_CODES[verdict],
        "expected_manifest_digest": expected,
    } | record.as_dict()
    if output_format is Format.JSON:
        typer.echo(json.dumps(plain(view), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(_lines(view, record.guards)))
    raise typer.Exit(_EXIT_CODES[verdict])


def _lines(view: dict[str, Any], guards: tuple[GuardRecord, ...]) -> list[str]:
    """Return the text of a result: the verdict, a line per guard, what to know."""
    step = "" if view["step"] is None else f", step {view['step']}"
    lines = [f"checkpoint {_SAID[view['verdict']]} ({view['format']}{step})"]
    lines += [_guard_line(guard) for guard in guards]
    if view["note"]:
        lines.append(f"note: {view['note']}")
    if view["expected_manifest_digest"] is not None:
        lines.append(f"expected manifest {view['expected_manifest_digest']}")
    return lines


def _guard_line(guard: GuardRecord) -> str:
    why = one_line(": ".join(part for part in (guard.reason, guard.message) if part))
    state = f"halted by {why}" if guard.halted else "not halted"
    looks = f"{guard.n_looks} look{'' if guard.n_looks == 1 else 's'}"
    data = "no manifest" if guard.manifest_digest is None else f"manifest {one_line(guard.manifest_digest)}"
    return f"guard {one_line(guard.name)}: {state}; {looks}; {data}"
