"""The demo as people see it: a live table, a plot, a summary in words."""

from __future__ import annotations

import math
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from collapse_guard.errors import InputError
from collapse_guard.policy import load_policy
from collapse_guard.policy.presets import preset_path
from collapse_guard.report import as_json
from collapse_guard.report.plot import draw_chains
from collapse_guard.scenarios.minority_images import ARMS, Chain, Generation, World, quiet, run_arm

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ARMS", "run", "story"]

_MARKER = "demo.json"
SCHEMA = "collapse-guard/demo/1"


def run(out: Path, *, seed: int, generations: int, arms: tuple[str, ...]) -> dict[str, list[Generation]]:
    """Run the arms, show a live table, and write manifests, reports and the plot to ``out``.

    Raises InputError if ``out`` holds something that no demo wrote.
    """
    _clear(out)
    as_json({"schema": SCHEMA, "seed": seed, "unfinished": True}, out / _MARKER)
    policy = load_policy(preset_path("minority-images@1"))
    world = World.load()
    limit = -math.log(policy.coverage.false_halt_rate) if policy.coverage else math.inf
    console = Console(highlight=False)
    for line in _opening(world, limit):
        console.print(line)
    table = _table()
    progress = Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
    )
    history: dict[str, list[Generation]] = {}
    chains: dict[str, Chain] = {}
    with quiet(), Live(Group(table, progress), console=console, refresh_per_second=4, transient=False):
        for arm in arms:
            task = progress.add_task(arm, total=generations)

            def tell(generation: Generation, chain: Chain, task: Any = task) -> None:
                if chain.refusal and generation.arm not in chains:
                    for line in _refusal(chain.refusal):
                        console.print(line, style="yellow", soft_wrap=True)
                    chains[generation.arm] = chain
                table.add_row(*_cells(generation), style="bold red" if generation.halted else None)
                progress.update(task, advance=1)

            history[arm] = run_arm(arm, world, policy, out / arm, seed=seed, generations=generations, tell=tell)
            progress.update(task, total=len(history[arm]), completed=len(history[arm]))
    _write(out, history, limit, seed=seed, refusal=chains["replace"].refusal if "replace" in chains else "")
    return history


def story(history: dict[str, list[Generation]], *, seconds: float, out: Path) -> list[str]:
    """Return what happened, in words."""
    lines = [""]
    for arm, rows in history.items():
        last = rows[-1]
        if last.halted:
            lines.append(f"{arm}: HALTED after generation {last.number}: {last.message}.")
        else:
            peak = max(row.look.log_e for row in rows)
            lines.append(f"{arm}: finished {len(rows)} generations without a halt (highest log e {peak:.1f}).")
    lines += [_fate(rows) for rows in history.values()]
    kept = history["guarded"][-1].keep_shares if "guarded" in history else {}
    if kept:
        shown = ", ".join(f"{name} {share:.0%}" for name, share in kept.items())
        lines.append(f"Kept of its latest output, class by class: {shown}.")
    if len(history.get("replace", ())) > 1:
        lines.append(
            "Before its second generation the data contract refused replace; its arm then ran with the contract off."
        )
        lines.append(f"The refusal stands in {out / _MARKER}.")
    lines.append(f"Manifests, reports and {out / 'demo.png'} were written in {seconds:.0f} s.")
    return lines


def _clear(out: Path) -> None:
    """Empty a folder that an earlier demo wrote; leave anything else alone."""
    if out.is_file():
        raise InputError(f"{out} is a file; --out names a folder")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / _MARKER).is_file():
        raise InputError(f"{out} is not empty and no demo wrote it; name another folder with --out")
    for arm in ARMS:
        shutil.rmtree(out / arm, ignore_errors=True)
    (out / _MARKER).unlink()


def _fate(rows: list[Generation]) -> str:
    """Return what one arm did with its data, and what became of its weakest class."""
    last = rows[-1]
    did = {
        "replace": "replace threw the real rows away",
        "accumulate": "accumulate kept the real rows and all raw output",
        "guarded": "guarded kept every real row, filtered its output within each class and capped it",
    }[last.arm]
    return f"{did}: its weakest class, {last.weakest_class}, is at {last.weakest_ratio:.0%} of its real share."


def _opening(world: World, limit: float) -> list[str]:
    sizes = np.bincount(world.labels).tolist()
    return [
        f"{sum(sizes)} real digits, made long-tailed (rarest class {min(sizes) / sum(sizes):.1%}), rows of 0 to 9:",
        f"{' '.join(map(str, sizes))}. A generator of class and image is trained",
        "on them, then on its own output, generation after generation. At the end of",
        "each, 2000 fresh rows are labelled by a frozen classifier that may say none.",
        "",
        "  tail     rare classes alive / expected",
        "  mass     share of the tail over its real share",
        "  weakest  the class that lost most, and its share over its real share",
        f"  log e    evidence that the tail is dying; a run halts at {limit:.1f}",
        "           (at most 1 healthy run in 100 ever gets there)",
        "",
    ]


def _table() -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("arm", "gen", "real", "own", "tail", "mass", "weakest", "none", "log e", "decision"):
        table.add_column(title, justify="left" if title in {"arm", "decision"} else "right", no_wrap=True)
    return table


def _cells(generation: Generation) -> tuple[str, ...]:
    look = generation.look
    return (
        generation.arm,
        str(generation.number),
        str(generation.n_real_rows),
        str(generation.n_synthetic_rows),
        f"{look.tail_cells_alive}/{look.expected_tail_cells:.1f}",
        f"{look.tail_mass_ratio:.2f}",
        f"{generation.weakest_class} {generation.weakest_ratio:.2f}",
        f"{look.n_unclaimed_rows / look.n_rows:.1%}",
        f"{look.log_e:.1f}",
        look.action,
    )


def _refusal(text: str) -> list[str]:
    """Return what the data contract said, a line per finding."""
    first, _, rest = text.partition(" breaks the policy: ")
    findings = [finding.partition("; ids ")[0] for finding in rest.split("; CG")]
    return [
        f"data contract: {first} is refused",
        *(f"  {'' if n == 0 else 'CG'}{text}" for n, text in enumerate(findings)),
    ]


def _write(out: Path, history: dict[str, list[Generation]], limit: float, *, seed: int, refusal: str) -> None:
    chains = {
        arm: [
            asdict(row.look)
            | {
                "generation": row.number,
                "weakest_class": row.weakest_class,
                "weakest_ratio": row.weakest_ratio,
            }
            for row in rows
        ]
        for arm, rows in history.items()
    }
    samples = {f"{arm}\ngeneration {rows[-1].number}": rows[-1].samples for arm, rows in history.items()}
    first = next(iter(history.values()))[0]
    draw_chains(chains, {"first\nmodel": first.samples, **samples}, limit=limit, path=out / "demo.png")
    as_json({"schema": SCHEMA, "seed": seed, "refusal": refusal, "chains": chains}, out / _MARKER)
