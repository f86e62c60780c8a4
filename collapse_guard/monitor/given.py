"""What a user gives to a guard -> manifests, and real rows to measure against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from collapse_guard.errors import CellError, InputError
from collapse_guard.manifest import Manifest, load_manifest
from collapse_guard.monitor.anchor import Anchor, Reference
from collapse_guard.monitor.watch import coverage_of

if TYPE_CHECKING:
    from os import PathLike
    from pathlib import Path

    from collapse_guard.policy import Policy


def given_manifest(given: Manifest | str | PathLike[str] | None, declared: str | None, folder: Path) -> Manifest | None:
    """Return the manifest that was passed, or else the one that the policy in ``folder`` declares."""
    if isinstance(given, Manifest):
        return given
    if given is not None:
        return load_manifest(given)
    return None if declared is None else load_manifest(folder / declared)


def given_anchor(policy: Policy, reference: Any) -> Anchor | None:
    """Return what ``reference=`` says; None if it was left out. Raises InputError for anything that is no reference."""
    if reference is None or isinstance(reference, Anchor):
        return reference
    if isinstance(reference, Reference):
        return Anchor((reference,))
    rows = pa.table(dict(reference)) if isinstance(reference, Mapping) else reference
    if not isinstance(rows, (pa.Table, pa.RecordBatch)):
        text = "reference= is an Anchor, a Reference, or real rows as a mapping of columns or an Arrow table"
        raise InputError(f"{text}, got {type(reference).__name__}")
    return Anchor.fit(rows, coverage_of(policy))


def declared_anchor(policy: Policy, manifest: Manifest | None, *, optional: bool) -> Anchor | None:
    """Return what the real rows of a manifest give.

    Args:
        optional: whether there may be none, because the labels of the validation set stand in for it.
    """
    coverage = coverage_of(policy)
    if not coverage.cells and all(score.against == "first_model" for score in coverage.scores):
        return Anchor(())
    if manifest is None:
        if optional:
            return None
        text = "a sampler, and predictions without labels_from=, need a reference"
        raise InputError(f"{text}; pass manifest= or reference=, or set coverage.reference")
    try:
        return Anchor.of_manifest(manifest, coverage)
    except CellError:
        if optional:
            return None
        raise
