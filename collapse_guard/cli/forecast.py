"""``collapse-guard forecast``: how many rare classes survive, before any training."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated, Any, Final

import typer

from collapse_guard.cli.out_file import check_out
from collapse_guard.forecast import Biases, forecast
from collapse_guard.report import as_json
from collapse_guard.report.forecast_text import forecast_lines, print_forecast

_NEEDED: Final = {".html": ("jinja2", "matplotlib"), ".json": (), ".png": ("matplotlib",)}


def forecast_command(  # noqa: PLR0913, PLR0917 - an option each
    manifest: Annotated[Path, typer.Option("--manifest", "-m", help="Manifest whose real rows are forecast.")],
    policy: Annotated[Path, typer.Option("--policy", "-p", help="The policy, a YAML file with a coverage section.")],
    generations: Annotated[int, typer.Option("--generations", help="Models in the chain, 1 to 10000.")],
    rows: Annotated[
        int | None,
        typer.Option("--rows", help="Generated rows per generation; as many as the policy lets in if left out."),
    ] = None,
    chains: Annotated[int, typer.Option("--chains", help="Simulated chains; 0 for the closed form alone.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulation.")] = 0,
    temperature: Annotated[float, typer.Option("--temperature", help="Sampling temperature; 1 is no bias.")] = 1.0,
    top_p: Annotated[float, typer.Option("--top-p", help="Nucleus sampling; 1 is no bias.")] = 1.0,
    tail_removal: Annotated[
        float, typer.Option("--tail-removal", help="Share of the tail's rows that a filter drops.")
    ] = 0.0,
    keep: Annotated[
        float, typer.Option("--keep", help="Goal: this share of the rare classes that fresh real data show.")
    ] = 0.9,
    probability: Annotated[float, typer.Option("--probability", help="Goal: reached with this probability.")] = 0.9,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Also write a page, the figures or the plot: .html, .json, .png.")
    ] = None,
) -> None:
    """Forecast how many rare classes survive a chain of generations, before any training.

    Shows the policy, "replace" for contrast, and the smallest real share that reaches the goal.

    Exit code: 0 forecast made, 2 unusable input.

    Example: collapse-guard forecast -m gen1/manifest.cgm.json -p policy.yaml --generations 20 --out forecast.html
    """
    if out is not None:
        check_out(out, _NEEDED)
    found = forecast(
        policy,
        manifest,
        generations=generations,
        n_rows=rows,
        n_chains=chains,
        seed=seed,
        keep=keep,
        probability=probability,
        biases=Biases(temperature, top_p, tail_removal),
    )
    view = found.as_dict()
    if out is not None:  # first: a file that cannot be written must not follow an answer
        _write(view, out)
    if sys.stdout.isatty():
        print_forecast(view)
    else:
        typer.echo("\n".join(forecast_lines(view)))


def _write(view: dict[str, Any], out: Path) -> None:
    match out.suffix.lower():
        case ".html":
            from collapse_guard.report.forecast_page import forecast_page  # noqa: PLC0415 - only for this form

            forecast_page(view, out)
        case ".png":
            from collapse_guard.report.forecast_plot import draw_forecast  # noqa: PLC0415 - only for this form

            draw_forecast(view, out)
        case _:
            as_json(view, out)
