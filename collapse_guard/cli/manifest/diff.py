"""``collapse-guard manifest diff``: what two manifests do not share."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated

import typer

from collapse_guard.cli.limits import MaxMemory, Threads  # noqa: TC001 - typer reads annotations at run time
from collapse_guard.cli.printing import Format, OutputFormat, print_view
from collapse_guard.manifest import Limits, load_manifest
from collapse_guard.manifest.differences import compare_manifests
from collapse_guard.report.manifest_text import difference_sections


def diff(
    before: Annotated[Path, typer.Argument(metavar="A", help="One manifest.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The other one.")],
    max_memory: MaxMemory = None,
    threads: Threads = None,
    output_format: OutputFormat = Format.AUTO,
) -> None:
    """Compare two manifests: header fields, rows and amounts per source, origin and class, and ids.

    Shards of equal digests are not read. When and from which files a manifest was written does not count.

    Exit code: 0 the same, 1 they differ, 2 unusable input (ids of different rules, a part that is missing).

    Example: collapse-guard manifest diff gen3/manifest.cgm.json gen4/manifest.cgm.json
    """
    one, two = load_manifest(before), load_manifest(after)
    found = compare_manifests(one, two, limits=Limits(max_memory, threads))
    view = {
        "schema": "collapse-guard/manifest-diff/1",
        "before": {"path": str(before), "digest": one.digest},
        "after": {"path": str(after), "digest": two.digest},
        "differs": found.any,
    } | found.as_dict()
    print_view(view, difference_sections(found, unit=two.header.unit), output_format)
    raise typer.Exit(1 if found.any else 0)
