"""``collapse-guard demo``: a generator that loses its rare classes is stopped, and survives under the policy."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collapse_guard._optional import need
from collapse_guard.errors import InputError

if TYPE_CHECKING:
    from collapse_guard.scenarios.minority_images import Generation


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for manifests, reports and the plot.")] = Path(
        "collapse-guard-demo"
    ),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")] = 0,
    generations: Annotated[int, typer.Option("--generations", min=2, max=250, help="Models per arm.")] = 8,
    arms: Annotated[
        str, typer.Option("--arms", help="Comma-separated: replace, accumulate, guarded.")
    ] = "replace,accumulate,guarded",
) -> None:
    """Train a generator on its own output, with and without the guard, on real digits.

    Exits 1 if `replace` was not halted, or if `guarded` was.

    Example: collapse-guard demo --seed 3 --generations 6 --arms replace,guarded
    """
    need("pytorch_lightning", extra="demo")
    need("sklearn", extra="demo")
    need("matplotlib", extra="demo")
    from collapse_guard.scenarios import minority_show  # noqa: PLC0415 - brings torch, which `check` must not

    chosen = _arms(arms, minority_show.ARMS)
    started = time.perf_counter()
    history = minority_show.run(out, seed=seed, generations=generations, arms=chosen)
    for line in minority_show.story(history, seconds=time.perf_counter() - started, out=out):
        typer.echo(line)
    raise typer.Exit(0 if _as_promised(history) else 1)


def _arms(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    wrong = [name for name in chosen if name not in known]
    if wrong or not chosen:
        raise InputError(f"--arms takes {', '.join(known)}, got {text!r}")
    return chosen


def _as_promised(history: dict[str, list[Generation]]) -> bool:
    halted: dict[str, Any] = {arm: rows[-1].halted for arm, rows in history.items()}
    return halted.get("replace", True) and not halted.get("guarded", False)
