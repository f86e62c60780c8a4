"""``collapse-guard prove``: is every real row of one manifest in the other?"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from collapse_guard.cli.limits import MaxMemory, Threads  # noqa: TC001 - typer reads annotations at run time
from collapse_guard.errors import InputError, ManifestError
from collapse_guard.kernels import one_line
from collapse_guard.manifest import (
    Limits,
    Manifest,
    Proof,
    Takedowns,
    load_manifest,
    load_takedowns,
    prove_accumulation,
)
from collapse_guard.plugins import nearest
from collapse_guard.report import as_json, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

PROOF_SCHEMA: Final = "collapse-guard/proof/1"
HOLDS, LOST, INCONCLUSIVE = 0, 1, 3
_MAX_GROUPS: Final = 10


class Engine(StrEnum):
    """What compares rows, where digests do not decide."""

    DUCKDB = "duckdb"
    RAY = "ray"


class Format(StrEnum):
    """How the proof is printed."""

    PLAIN = "plain"
    JSON = "json"


def prove(  # noqa: PLR0913, PLR0917 - an option each
    previous: Annotated[Path, typer.Argument(metavar="PREV", help="Manifest of the parent generation.")],
    current: Annotated[Path, typer.Argument(metavar="CUR", help="Manifest of the generation that is checked.")],
    takedowns: Annotated[
        Path | None, typer.Option("--takedowns", help="List of lawful deletions, which are no loss.")
    ] = None,
    lost_to: Annotated[
        Path | None, typer.Option("--lost-to", help="Parquet file that gets every lost row: id, source, class.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="Source that must accumulate; may be repeated; all if left out.")
    ] = None,
    max_memory: MaxMemory = None,
    threads: Threads = None,
    engine: Annotated[
        Engine, typer.Option("--engine", help="ray: compare ranges of ids in Ray tasks.")
    ] = Engine.DUCKDB,
    verify: Annotated[bool, typer.Option("--verify", help="Recompute every digest of both manifests first.")] = False,
    output_format: Annotated[Format, typer.Option("--output-format", help="How to print the proof.")] = Format.PLAIN,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the JSON proof to this file.")
    ] = None,
) -> None:
    """Prove that CUR holds every real row of PREV: by root digest, by shard digests, or row by row.

    Exit code: 0 holds, 1 real rows lost, 2 unusable input, 3 inconclusive (the ids follow different rules).

    Example: collapse-guard prove gen3/manifest.cgm.json gen4/manifest.cgm.json --lost-to lost.parquet
    """
    before, after = load_manifest(previous), load_manifest(current)
    view: dict[str, Any] = {"schema": PROOF_SCHEMA, "previous": _named(before), "current": _named(after)}
    if before.header.id_rule != after.header.id_rule:
        text = f"ids follow {before.header.id_rule!r} in PREV and {after.header.id_rule!r} in CUR"
        view |= {"verdict": "inconclusive", "exit_code": INCONCLUSIVE, "reason": text}
        lines = [f"accumulation inconclusive: {one_line(text)}, no row can be compared"]
    else:
        _refuse_unknown(scope, before, after)
        if verify:
            _refuse_mismatches(before, after)
        taken = None if takedowns is None else load_takedowns(takedowns)
        proof = _proven(before, after, engine, taken, lost_to, scope=scope, limits=Limits(max_memory, threads))
        view |= {"verdict": "holds" if proof.holds else "lost", "exit_code": HOLDS if proof.holds else LOST}
        view |= {"engine": engine.value, "scope": scope, "verified": verify} | proof.as_dict()
        lines = _lines(proof, view, lost_to)
    if output is not None:  # first: a file that cannot be written must not follow a verdict
        as_json(view, output)
    is_json = output_format is Format.JSON
    typer.echo(json.dumps(plain(view), indent=2, ensure_ascii=False) if is_json else "\n".join(lines))
    raise typer.Exit(view["exit_code"])


def _proven(
    before: Manifest,
    after: Manifest,
    engine: Engine,
    takedowns: Takedowns | None,
    lost_to: Path | None,
    *,
    scope: Sequence[str] | None,
    limits: Limits,
) -> Proof:
    if engine is Engine.DUCKDB:
        return prove_accumulation(before, after, scope=scope, takedowns=takedowns, limits=limits, lost_to=lost_to)
    if limits.memory is not None:
        raise InputError("--max-memory limits DuckDB; with --engine ray, start Ray with the memory it may take")
    from collapse_guard.integrations.ray import prove_accumulation_on_ray, running  # noqa: PLC0415 - an extra

    with running(**({} if limits.threads is None else {"num_cpus": limits.threads})):
        return prove_accumulation_on_ray(before, after, scope=scope, takedowns=takedowns, lost_to=lost_to)


def _named(manifest: Manifest) -> dict[str, Any]:
    return {"name": manifest.header.name, "path": str(manifest.path), "digest": manifest.digest}


def _refuse_unknown(scope: Sequence[str] | None, *manifests: Manifest) -> None:
    known = {source.name for manifest in manifests for source in manifest.header.sources}
    for name in scope or ():
        if name not in known:
            raise InputError(f"--scope {one_line(name)!r} is a source of neither manifest; {nearest(name, known)}")


def _refuse_mismatches(*manifests: Manifest) -> None:
    for manifest in manifests:
        for mismatch in manifest.verify():
            text = (
                f"{one_line(mismatch.part)} is {mismatch.expected[:19]} in the header and {mismatch.found[:19]} in fact"
            )
            raise ManifestError(f"{manifest.name}: {text}; restore it, or write the manifest again", path=manifest.path)


def _lines(proof: Proof, view: dict[str, Any], lost_to: Path | None) -> list[str]:
    """Return the proof for people: a verdict, what was lost, what was taken down, the digests."""
    lines = [f"accumulation {'holds' if proof.holds else 'broken'}: {proof.describe()}"]
    groups = proof.loss.by_source_and_class
    for source, label, n_rows in groups[:_MAX_GROUPS]:
        lines.append(f"  lost {n_rows}: source {one_line(source)!r}, {_class(label)}")
    if len(groups) > _MAX_GROUPS:
        lines.append(f"  ... and {len(groups) - _MAX_GROUPS} more groups; --output-format json has them all")
    if proof.loss.n_rows:
        told = "--lost-to FILE.parquet writes every lost row" if lost_to is None else f"every lost row is in {lost_to}"
        lines.append(f"  ids {', '.join(proof.loss.ids)}; {told}")
    for reason, date, n_rows in proof.by_takedown:
        lines.append(f"  taken down {n_rows}: {one_line(reason)} ({date})")
    lines.append(f"previous {view['previous']['digest'][:19]}  current {view['current']['digest'][:19]}")
    return lines


def _class(label: str | None) -> str:
    return "no class" if label is None else f"class {one_line(label)!r}"
