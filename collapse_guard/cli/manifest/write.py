"""``collapse-guard manifest write``: data files become a manifest."""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collapse_guard.errors import InputError
from collapse_guard.identity import RECORD_IDS, IdRule
from collapse_guard.kernels import one_line
from collapse_guard.manifest import load_manifest
from collapse_guard.manifest.inventory import Progress, take_inventory
from collapse_guard.policy import Policy, load_policy
from collapse_guard.policy.yaml_text import read_front_matter
from collapse_guard.records import Origin
from collapse_guard.sources import declared_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from collapse_guard.manifest import Manifest


class Rule(StrEnum):
    """What makes two rows the same."""

    RECORD = "record"
    TEXT = "text"
    BYTES = "bytes"
    PIXELS = "pixels"
    SAMPLES = "samples"


class Unit(StrEnum):
    """What amounts are counted in."""

    ROWS = "rows"
    TOKENS = "tokens"
    BYTES = "bytes"
    WEIGHT = "weight"


def write(  # noqa: PLR0913, PLR0917 - an option each
    data: Annotated[list[str], typer.Argument(metavar="DATA...", help="Files, folders, patterns or URLs.")],
    source: Annotated[str, typer.Option("--source", help="Name of where the rows come from.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The manifest, such as gen4/manifest.cgm.json.")],
    origin: Annotated[
        str | None, typer.Option("--origin", help=f"Who made them: {', '.join(each.name.lower() for each in Origin)}.")
    ] = None,
    card: Annotated[
        Path | None, typer.Option("--card", help="Take origin and generator from this dataset card instead.")
    ] = None,
    generator: Annotated[str | None, typer.Option("--generator", help="For generated rows: model@revision.")] = None,
    generation: Annotated[
        int | None, typer.Option("--generation", help="0 for real rows, 1 + that of its model's data for generated.")
    ] = None,
    evidence: Annotated[str, typer.Option("--evidence", help="How the origin is known.")] = "declared",
    date: Annotated[str | None, typer.Option("--date", help="Creation or collection day, such as 2026-03-31.")] = None,
    class_column: Annotated[str | None, typer.Option("--class-column", help="Column that holds the class.")] = None,
    id_rule: Annotated[
        Rule | None, typer.Option("--id-rule", help="What makes two rows the same; record if left out.")
    ] = None,
    id_column: Annotated[
        list[str] | None, typer.Option("--id-column", help="What counts as content; may be given again for records.")
    ] = None,
    unit: Annotated[Unit | None, typer.Option("--unit", help="What amounts are counted in; rows if left out.")] = None,
    unit_column: Annotated[str | None, typer.Option("--unit-column", help="Column that amounts are read from.")] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", "-p", help="Take id rule, unit and class column from this policy.")
    ] = None,
    parent: Annotated[Path | None, typer.Option("--parent", help="Manifest of the generation before.")] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the manifest; that of the file if left out.")
    ] = None,
    takedowns: Annotated[Path | None, typer.Option("--takedowns", help="List of lawful deletions.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes; each reads a file at a time.")] = 1,
    keep_ids: Annotated[
        bool,
        typer.Option("--keep-ids", help="Take cg_id columns as they are, without comparing them with the content."),
    ] = False,
) -> None:
    """Read data files once, and write the manifest of their rows.

    Parquet, Arrow, CSV, JSON Lines, folders of pictures or recordings, datasets saved to disk. Rows that carry cg_
    columns keep them. A run that was stopped goes on where it was when the command is given again.

    Exit code: 0 written, 2 unusable input.

    Example: collapse-guard manifest write corpus/ --source web --origin real -o gen0/manifest.cgm.json
    """
    given = {
        "id_rule": _rule(id_rule, id_column),
        "unit": None if unit is None else unit.value,
        "unit_column": unit_column,
        "class_column": class_column,
    }
    settings = _settings(given, policy)
    who, model, how = _declared(origin, card, generator, evidence)
    with _shown_progress() as progress:
        written = take_inventory(
            data,
            to=output,
            source=source,
            origin=who,
            generator=model,
            generation=generation,
            evidence=how,
            date=_day(date),
            parent=None if parent is None else load_manifest(parent),
            name=name,
            takedowns=takedowns,
            keep_ids=keep_ids,
            jobs=jobs,
            progress=progress,
            **settings,
        )
    typer.echo(_summary(written))


def _declared(
    origin: str | None, card: Path | None, generator: str | None, evidence: str
) -> tuple[str, str | None, str]:
    """Return origin, generator and evidence: as they were given, or as a dataset card declares them."""
    if (origin is None) == (card is None):
        raise InputError("the origin comes from --origin or from --card; give one of the two")
    if card is None:
        return str(origin), generator, evidence
    declared = declared_origin(read_front_matter(card))
    typer.echo(f"{card}: {declared.describe()}", err=True)
    return declared.origin.name.lower(), generator or declared.generator, declared.evidence.name.lower()


def _rule(kind: Rule | None, columns: list[str] | None) -> IdRule | None:
    if kind is None and not columns:
        return None
    return IdRule(Rule.RECORD.value if kind is None else kind.value, tuple(columns or ()))


def _day(date: str | None) -> dt.date | None:
    try:
        return None if date is None else dt.date.fromisoformat(date)
    except ValueError:
        raise InputError(f"--date must be a day such as 2026-03-31, got {date!r}") from None


def _settings(given: dict[str, Any], path: Path | None) -> dict[str, Any]:
    """Return how rows are read: what the policy says, else what was given; raises InputError where they differ."""
    if path is None:
        return given | {"id_rule": given["id_rule"] or RECORD_IDS, "unit": given["unit"] or "rows"}
    policy = load_policy(path)
    says = _demanded(policy)
    for key, value in given.items():
        if None not in (value, says[key]) and value != says[key]:
            option = f"--{key.replace('_', '-')}"
            shown = [getattr(each, "name", each) for each in (value, says[key])]
            text = f"{option} is {shown[0]!r}, {path} says {shown[1]!r}"
            raise InputError(f"{text}; leave {option} out, or mend the policy")
    return given | {key: value for key, value in says.items() if value is not None} | {"policy_digest": policy.digest}


def _demanded(policy: Policy) -> dict[str, Any]:
    coverage = policy.coverage
    return {
        "id_rule": policy.identity.id_rule(),
        "unit": policy.unit,
        "unit_column": policy.unit_column,
        "class_column": None if coverage is None else coverage.class_column,
    }


@contextlib.contextmanager
def _shown_progress() -> Iterator[Callable[[Progress], None] | None]:
    """Give a callback that draws a bar on a terminal, None elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - only for a terminal
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def draw(now: Progress) -> None:
            text = f"{now.files} of {now.n_files} files, {now.rows:,} rows"
            bar.update(task, description=text, completed=now.bytes, total=now.n_bytes)

        yield draw


def _summary(written: Manifest) -> str:
    header = written.header
    sources = ", ".join(f"{each.name} ({each.origin}) {each.rows:,}" for each in header.sources[:5])
    more = f" and {len(header.sources) - 5} more sources" if len(header.sources) > 5 else ""  # noqa: PLR2004 - as shown
    amount = "" if header.unit == "rows" else f", {written.amount:,.0f} {header.unit}"
    shards = "1 shard" if len(header.shards) == 1 else f"{len(header.shards):,} shards"
    lines = [
        f"{written.name}: {written.n_rows:,} rows{amount} in {shards}",
        f"sources: {one_line(sources)}{more}",
        f"ids: {header.id_rule}",
        f"digest: {written.digest}",
    ]
    return "\n".join(lines)
