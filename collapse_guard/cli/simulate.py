"""``collapse-guard simulate``: loops that collapse, with and without the guard."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated, Any, Final

import typer

from collapse_guard.cli.out_file import check_out
from collapse_guard.report import as_json

_NEEDED: Final = {".json": (), ".png": ("matplotlib",), ".svg": ("matplotlib",)}


def simulate_command(
    experiment: Annotated[
        str,
        typer.Argument(help="gaussian, regression, categorical, biased, embeddings, sentences or digits."),
    ],
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            help="replace, accumulate, accumulate-subsample, anchor or guarded; repeat it for several, all if left out."
            " gaussian and regression also know fresh-share and golden. The null, fresh, always runs.",
        ),
    ] = None,
    generations: Annotated[
        int | None, typer.Option("--generations", help="Models per chain; the experiment's own number if left out.")
    ] = None,
    runs: Annotated[int | None, typer.Option("--runs", help="Chains; the experiment's own number if left out.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of everything random.")] = 0,
    real_share: Annotated[
        float | None,
        typer.Option("--real-share", help="Real share of anchor, fresh-share and golden; 0.5 if left out."),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option("--text", help="Text for sentences; wikitext-2 in $COLLAPSE_GUARD_DATA/text if left out."),
    ] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", "-o", help="Also write the figures or the plot: .json, .png, .svg; may be repeated."),
    ] = None,
) -> None:
    """Run a small loop that trains on its own output, under several policies, and show when the guard halts it.

    Exit code: 0 simulated, 2 unusable input.

    Example: collapse-guard simulate categorical --policy replace --policy guarded --out categorical.png
    """
    targets = out or []
    for target in targets:
        check_out(target, _NEEDED)
    # What the experiments need is loaded here, so that the other commands start fast.
    from collapse_guard.scenarios.experiments.runner import simulate  # noqa: PLC0415
    from collapse_guard.scenarios.experiments.table import print_study, study_lines  # noqa: PLC0415

    study = simulate(
        experiment,
        policies=policy or (),
        generations=generations,
        runs=runs,
        seed=seed,
        real_share=real_share,
        text=text,
        tell=_progress if sys.stderr.isatty() else None,
    )
    view = study.as_dict()
    for target in targets:  # first: a file that cannot be written must not follow an answer
        _write(view, target)
    if sys.stdout.isatty():
        print_study(view)
    else:
        typer.echo("\n".join(study_lines(view)))


def _progress(policy: str) -> None:
    typer.echo(f"running {policy} ...", err=True)


def _write(view: dict[str, Any], out: Path) -> None:
    if out.suffix.lower() == ".json":
        as_json(view, out)
        return
    from collapse_guard.report.experiment_plot import draw_experiment  # noqa: PLC0415 - draws only when asked

    draw_experiment(view, out)
