"""``collapse-guard export``: a manifest for other tools."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collapse_guard._atomic import write_bytes
from collapse_guard.errors import InputError
from collapse_guard.manifest import load_manifest
from collapse_guard.policy.yaml_text import yaml_text
from collapse_guard.report.exports import Publication, as_card, as_croissant, as_dvc, as_in_toto, write_card

if TYPE_CHECKING:
    from collapse_guard.manifest import Manifest


class To(StrEnum):
    """Where a manifest goes."""

    CROISSANT = "croissant"
    IN_TOTO = "in-toto"
    DVC = "dvc"
    CARD = "card"


def export(  # noqa: PLR0913, PLR0917 - an option each
    manifest: Annotated[Path, typer.Argument(help="The manifest, such as gen4/manifest.cgm.json.")],
    to: Annotated[To, typer.Option("--to", help="What to write.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write, beside the manifest; printed if left out. A card is kept."),
    ] = None,
    result: Annotated[
        Path | None, typer.Option("--result", help="in-toto: JSON result of 'check' on this manifest, to attest.")
    ] = None,
    license_: Annotated[str | None, typer.Option("--license", help="Croissant: SPDX id or URL.")] = None,
    url: Annotated[str | None, typer.Option("--url", help="Croissant: page of the data set.")] = None,
    creator: Annotated[
        list[str] | None, typer.Option("--creator", help="Croissant: who made it; may be repeated.")
    ] = None,
    published: Annotated[str | None, typer.Option("--published", help="Croissant: day, such as 2026-03-31.")] = None,
    cite_as: Annotated[str | None, typer.Option("--cite-as", help="Croissant: citation, such as BibTeX.")] = None,
    data_url: Annotated[
        str | None, typer.Option("--data-url", help="Croissant: folder or URL that data files are relative to.")
    ] = None,
) -> None:
    """Write a manifest as Croissant 1.1, an in-toto statement (unsigned), a .dvc file, or dataset-card metadata.

    Croissant and .dvc files name the index relative to the manifest: write them into its folder. A card that exists
    keeps every other key and its text.

    Exit code: 0 written, 2 unusable input.

    Example: collapse-guard export gen4/manifest.cgm.json --to croissant --license CC0-1.0 -o gen4/croissant.json
    """
    loaded = load_manifest(manifest)
    if to is not To.CARD:
        loaded.check_readable()  # the others name every part, and a reader will look for it
    if to in {To.CROISSANT, To.DVC} and output is not None:
        _check_beside(output, manifest)
    if to is To.CARD and output is not None:
        write_card(loaded, output)
        return
    given = Publication(license_, url, tuple(creator or ()), published, cite_as, None, data_url)
    text = _text(loaded, to, given, result)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_bytes(output, text.encode())
    if to is To.CROISSANT and given.missing():
        typer.echo(f"note: Croissant asks for {', '.join(given.missing())} too; see --help", err=True)


def _text(manifest: Manifest, to: To, given: Publication, result: Path | None) -> str:
    if to is To.CROISSANT:
        return _as_json(as_croissant(manifest, given))
    if to is To.IN_TOTO:
        return _as_json(as_in_toto(manifest, None if result is None else _read_json(result)))
    return yaml_text(as_dvc(manifest) if to is To.DVC else as_card(manifest))


def _as_json(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _check_beside(output: Path, manifest: Path) -> None:
    """Raise InputError unless both lie in one folder, as paths in the output are relative to it."""
    if output.resolve().parent != manifest.resolve().parent:
        beside = manifest.parent / output.name
        raise InputError(f"{output}: must lie beside the manifest, whose index it names; write {beside}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; write one: collapse-guard check ... -o {path.name}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON result: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: not a JSON result: expected an object, got {type(found).__name__}")
    return found
