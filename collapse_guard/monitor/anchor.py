"""What a run is measured against: real rows per cell of each cell map, and real means of scores."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import numpy as np
import pyarrow as pa

from collapse_guard._atomic import write_bytes
from collapse_guard.cells import CellMap, cells_from_state, fit_cells
from collapse_guard.decision import sampled_error
from collapse_guard.errors import CellError, InputError
from collapse_guard.kernels import canonical_bytes, sha256_hex
from collapse_guard.monitor.scoring import score_rows
from collapse_guard.records import Origin
from collapse_guard.stats import CellCounts, Dilution, mean_floor

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike

    from collapse_guard.manifest import Manifest
    from collapse_guard.policy import Coverage

    Rows: TypeAlias = pa.Table | pa.RecordBatch

log = logging.getLogger(__name__)

SCHEMA: Final = "collapse-guard/reference/1"


@dataclass(frozen=True)
class Reference:
    """Real rows per cell, and the map that made them.

    Args:
        false_shares: share of all rows that a classifier puts into each cell by mistake
            (:class:`~collapse_guard.stats.Dilution`); empty where it makes none.
        name: name of the cell map in reports.
        tail: cells of the tail, where they are not the rarest of these rows, as in a balanced validation set.
    """

    cells: CellMap
    counts: CellCounts
    false_shares: tuple[float, ...] = ()
    name: str = "cells"
    tail: tuple[int, ...] = ()

    @classmethod
    def labelled(cls, cells: CellMap, *, true: ArrayLike, found: ArrayLike, name: str = "cells") -> Self:
        """Return the reference of rows that a frozen classifier labels as it will label samples.

        Args:
            true: true cell of each real row, shape (rows,); rows that the classifier did not see when it was fitted.
            found: cell that the classifier gives, -1 for none.

        Warns of cells whose false-alarm rate exceeds half of their share.
        """
        rates = Dilution.of_labels(true, found, n_cells=cells.n_cells)
        noisy = [cells.names[cell] for cell in rates.too_noisy()]
        if noisy:
            shown = ", ".join(map(repr, noisy[:5]))
            log.warning("collapse_guard: the classifier hides most of %d cells (false alarms exceed half of their"
                        " share): %s", len(noisy), shown)  # fmt: skip
        counts = CellCounts.zeros(cells.n_cells).update(np.asarray(found))
        return cls(cells, counts, rates.false_rates, name)

    @property
    def digest(self) -> str:
        """Digest over cell map and counts."""
        record = {"cells": self.cells.digest, "rows": self.counts.rows, "unclaimed": self.counts.n_unclaimed_rows}
        more = {"false_shares": self.false_shares, "tail": self.tail}
        return sha256_hex([canonical_bytes(record | {name: value for name, value in more.items() if value})])


@dataclass(frozen=True)
class Anchor:
    """One reference per declared cell map, and the mean of each score that is measured against real rows.

    >>> from collapse_guard.policy import Policy
    >>> coverage = Policy.coerce({"version": 1, "coverage": {"cells": {"column": "y"}}}).coverage
    >>> Anchor.fit(pa.table({"y": ["a", "b", "a"]}), coverage).maps[0].counts.rows
    (2, 1)
    """

    maps: tuple[Reference, ...]
    score_means: tuple[float | None, ...] = ()

    @classmethod
    def fit(cls, rows: Rows, coverage: Coverage, *, maps: tuple[CellMap, ...] = ()) -> Self:
        """Return the anchor of real ``rows``.

        Args:
            rows: real rows only, with the columns that the policy's cells and scores read.
            maps: cell maps that were fitted before, in the policy's order; fitted on ``rows`` if left out.

        Raises CellError for rows that cannot be mapped, StatisticError for scores out of [0, 1].
        """
        fitted = maps or tuple(
            fit_cells(each.kind, rows, allow_code=True, **each.declared()) for each in coverage.cells
        )
        counted = tuple(
            Reference(cells, CellCounts.zeros(cells.n_cells).update(cells.cells(rows)), name=each.title)
            for cells, each in zip(fitted, coverage.cells, strict=True)
        )
        return cls(counted, _score_means(rows, coverage))

    @classmethod
    def of_manifest(cls, manifest: Manifest, coverage: Coverage) -> Self:
        """Return the anchor that lies beside a manifest, or that its classes give.

        Raises CellError if there is neither.
        """
        saved = read_anchor(manifest.path, coverage)
        if saved is not None:
            return cls(saved.maps, saved.score_means)
        if coverage.class_column is None or len(coverage.cells) != 1 or _needs_rows(coverage):
            text = f"{manifest.name}: its classes alone do not give the cells of this policy"
            raise CellError(f"{text}; save it with GuardedDataset.save, or pass reference=Anchor.fit(rows, coverage)")
        rows = manifest.class_rows(Origin.REAL)
        if not rows:
            text = f"{manifest.name}: its real rows carry no class"
            raise CellError(f"{text}; write the manifest under a policy with coverage.cells.column")
        column = coverage.class_column
        cells = fit_cells("labels", pa.table({column: sorted(rows)}), column=column)
        unclaimed = manifest.n_origin_rows(Origin.REAL) - sum(rows.values())
        counts = CellCounts.of([rows[name] for name in cells.names], n_unclaimed_rows=unclaimed)
        return cls((Reference(cells, counts, name=coverage.cells[0].title),), (None,) * len(coverage.scores))

    def of_chain(self, state: dict[str, Any]) -> Self:
        """Return the anchor that a chain of generations began with, if it has the cells of this one.

        Real data accumulates: with the counts of every new generation as reference, evidence would never add up.
        """
        began = state.get("anchor")
        if not isinstance(began, dict) or began.get("cells_digests") != [each.cells.digest for each in self.maps]:
            return self
        maps = tuple(
            replace(own, counts=counts_of(entry), false_shares=tuple(entry["false_shares"]))
            for own, entry in zip(self.maps, began["maps"], strict=True)
        )
        return replace(self, maps=maps, score_means=tuple(began["score_means"]))

    def state(self) -> dict[str, Any]:
        """Return plain values: what :meth:`of_chain` needs."""
        return {
            "cells_digests": [each.cells.digest for each in self.maps],
            "maps": [counts_state(each.counts) | {"false_shares": list(each.false_shares)} for each in self.maps],
            "score_means": list(self.score_means),
        }

    @property
    def digest(self) -> str:
        """Digest over all maps, counts and means."""
        return sha256_hex([canonical_bytes([*(each.digest for each in self.maps), *map(repr, self.score_means)])])


def anchor_path(manifest_path: Path) -> Path:
    """Return where the fitted cells and their real counts lie: beside the manifest."""
    return manifest_path.parent / f"{manifest_path.name.removesuffix('.json').removesuffix('.cgm')}.reference.json"


def write_anchor(manifest_path: Path, anchor: Anchor, coverage: Coverage) -> Path:
    """Write cell maps, counts and means beside a manifest, so that later generations count the same cells."""
    content = {
        "schema": SCHEMA,
        "digest": anchor.digest,
        "declared": _declarations(coverage),
        "cells": [each.cells.state() for each in anchor.maps],
        "anchor": anchor.state(),
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return write_bytes(anchor_path(manifest_path), (text + "\n").encode("utf-8", "surrogatepass"))


def read_anchor(manifest_path: Path | None, coverage: Coverage) -> Anchor | None:
    """Return the anchor that :func:`write_anchor` left beside a manifest; None if there is none for these cells.

    Raises InputError for a file that is no anchor, or was changed.
    """
    if manifest_path is None or not (path := anchor_path(manifest_path)).exists():
        return None
    remedy = "save the generation again"
    try:
        content = json.loads(path.read_bytes())
        _check_known(content["schema"] == SCHEMA, f"schema {content['schema']!r}, this version reads {SCHEMA}")
        if content["declared"] != _declarations(coverage):
            return None
        for state, each in zip(content["cells"], coverage.cells, strict=True):
            _check_code(state, each)
        maps = tuple(
            Reference(cells_from_state(state, allow_code=True), counts_of(entry), name=each.title)
            for state, entry, each in zip(content["cells"], content["anchor"]["maps"], coverage.cells, strict=True)
        )
        anchor = Anchor(maps).of_chain({"anchor": content["anchor"]})
        _check_known(anchor.digest == content["digest"], "it was changed: its digest does not match")
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not a reference of the guard ({error}); {remedy}") from None
    return anchor


def counts_state(counts: CellCounts) -> dict[str, Any]:
    """Return counts as plain values."""
    return {"rows": list(counts.rows), "n_unclaimed_rows": counts.n_unclaimed_rows}


def counts_of(state: dict[str, Any]) -> CellCounts:
    """Return counts from plain values; raises StatisticError for anything but whole numbers >= 0."""
    return CellCounts.of(state["rows"], n_unclaimed_rows=state["n_unclaimed_rows"])


def _declarations(coverage: Coverage) -> list[dict[str, Any]]:
    """Return what decides cells and real means: a change of it makes an anchor another one."""
    cells = [{"kind": each.kind} | each.declared() for each in coverage.cells]
    scores = [each.model_dump(mode="json", exclude={"name", "max_drop"}) for each in coverage.scores]
    plain: list[dict[str, Any]] = json.loads(json.dumps([*cells, *scores]))
    return plain


def _check_known(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - a check and what it says
    if not holds:
        raise ValueError(otherwise)


def _check_code(state: dict[str, Any], declared: Any) -> None:
    """Raise ValueError if the file names code that the policy does not: a file must not say what is run."""
    for key in ("embed", "function"):
        named, allowed = state.get(key), getattr(declared, key, None)
        _check_known(named == allowed, f"it names {key} {named!r}, the policy {allowed!r}")


def _needs_rows(coverage: Coverage) -> bool:
    return any(score.against == "real" for score in coverage.scores)


def _score_means(rows: Rows, coverage: Coverage) -> tuple[float | None, ...]:
    """Return the mean that is sure of each score against real rows, looks of the policy's size at a time."""
    means: list[float | None] = []
    for score in coverage.scores:
        if score.against != "real":
            means.append(None)
            continue
        size = coverage.samples_per_look
        if rows.num_rows < size:
            text = f"score {score.title!r} against real needs a look of real rows, {size} (samples_per_look)"
            raise CellError(f"{text}, got {rows.num_rows}; measure it against first_model, or look at fewer rows")
        # Looks of one size only: the share of words that no other document has depends on how many documents there are.
        values = np.concatenate([score_rows(score, rows.slice(start, size)) for start in _starts(rows.num_rows, size)])
        error = sampled_error(coverage)
        means.append(float(values.mean()) if coverage.real_is == "target" else mean_floor(values, error=error))
    return tuple(means)


def _starts(n_rows: int, size: int) -> range:
    return range(0, n_rows - size + 1, size)
