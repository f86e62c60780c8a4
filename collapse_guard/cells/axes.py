"""One column of a table cut into parts: quantile bins of numbers, or categories."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.cells.columns import is_number, plain
from collapse_guard.cells.state import Parts
from collapse_guard.errors import CellError
from collapse_guard.kernels import class_names, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

OTHER: Final = "(other)"


@dataclass(frozen=True, slots=True)
class NumberAxis:
    """Quantile bins of a numeric column.

    Args:
        column: the column.
        edges: inner edges, ascending; a value on an edge is in the upper bin, values out of range in the outer bins.
        has_null: whether real rows have nulls (or NaN); then they are a part of their own, the last.

    >>> axis = NumberAxis.fit(pa.array([1, 2, 3, 4]), "age", n_bins=2)
    >>> axis.parts(pa.array([0, 3, None])).tolist(), axis.names()
    ([0, 1, -1], ['age < 3', 'age >= 3'])
    """

    column: str
    edges: tuple[float, ...]
    has_null: bool

    @classmethod
    def fit(cls, array: Any, column: str, *, n_bins: int) -> Self:
        """Return the axis over real values; at most ``n_bins`` bins, because equal edges become one."""
        values = _floats(array)
        there = np.sort(values[~np.isnan(values)])
        if not there.size:
            raise CellError(f"column {column!r} holds no number in {values.size} rows; a reference needs values")
        # Edges are values of real rows, so that no rounding stands between an edge and its value.
        edges = np.unique(there[np.arange(1, n_bins) * there.size // n_bins])
        inner = edges[(edges > there[0]) & np.isfinite(edges)]
        return cls(column, tuple(inner.tolist()), bool(there.size < values.size))

    @property
    def n_parts(self) -> int:
        """Bins, and one for nulls if real rows have them."""
        return len(self.edges) + 1 + self.has_null

    def parts(self, array: Any) -> NDArray[np.int64]:
        """Return the part of each row, -1 for a null that real rows do not have."""
        array = plain(array)
        if not (is_number(array.type) or pa.types.is_null(array.type)):
            raise CellError(f"column {self.column!r} must hold numbers as its real rows did, got {array.type}")
        values = _floats(array)
        found = np.searchsorted(np.asarray(self.edges), values, side="right").astype(np.int64)
        return np.where(np.isnan(values), len(self.edges) + 1 if self.has_null else -1, found)

    def names(self) -> list[str]:
        """Return one name per part."""
        name, edges = one_line(self.column), [f"{edge:.6g}" for edge in self.edges]
        if len(set(edges)) < len(edges):  # close together: say them whole
            edges = [repr(edge) for edge in self.edges]
        inner = [f"{name} [{low}, {high})" for low, high in pairwise(edges)]
        bins = [f"{name} < {edges[0]}", *inner, f"{name} >= {edges[-1]}"] if edges else [f"{name} any number"]
        return [*bins, *([f"{name} null"] if self.has_null else [])]

    def state(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"column": self.column, "edges": list(self.edges), "has_null": self.has_null}

    @classmethod
    def from_state(cls, state: Any) -> Self:
        """Return the axis that wrote ``state``; raises CellError for anything malformed."""
        parts = Parts.inside(state, "an axis of numbers", "column", "edges", "has_null")
        edges = parts.floats("edges")
        if any(low >= high for low, high in pairwise(edges)):
            raise parts.fail("its edges do not ascend")
        return cls(parts.text("column"), edges, parts.flag("has_null"))


@dataclass(frozen=True, slots=True)
class CategoryAxis:
    """The most frequent categories of a column.

    Args:
        column: the column.
        categories: the most frequent values of real rows as text, ascending.
        has_other: whether real rows have more; then all else is one part, also what no real row has.
        has_null: whether real rows have nulls; then they are a part of their own, the last.

    >>> axis = CategoryAxis.fit(pa.array(["f", "m", "f", "x"]), "sex", max_categories=2)
    >>> axis.parts(pa.array(["m", "x", "never"])).tolist(), axis.names()
    ([1, 2, 2], ['sex=f', 'sex=m', 'sex=(other)'])
    """

    column: str
    categories: tuple[str, ...]
    has_other: bool
    has_null: bool

    @classmethod
    def fit(cls, array: Any, column: str, *, max_categories: int) -> Self:
        """Return the axis over real values; ties in frequency go by name."""
        texts = class_names(array)
        counted = [(-entry["counts"], entry["values"]) for entry in texts.drop_null().value_counts().to_pylist()]
        if not counted:
            raise CellError(f"column {column!r} holds no value in {len(texts)} rows; a reference needs values")
        kept = sorted(text for _, text in sorted(counted)[:max_categories])
        return cls(column, tuple(kept), len(counted) > max_categories, texts.null_count > 0)

    @property
    def n_parts(self) -> int:
        """Categories, one for all others and one for nulls if real rows have them."""
        return len(self.categories) + self.has_other + self.has_null

    def parts(self, array: Any) -> NDArray[np.int64]:
        """Return the part of each row, -1 for a value or a null that real rows do not have."""
        texts = class_names(plain(array))
        found = pc.index_in(texts, pa.array(self.categories, pa.string())).fill_null(-1).to_numpy(zero_copy_only=False)
        found = np.where(found < 0, len(self.categories) if self.has_other else -1, found).astype(np.int64)
        null = texts.is_null().to_numpy(zero_copy_only=False)
        return np.where(null, self.n_parts - 1 if self.has_null else -1, found)

    def names(self) -> list[str]:
        """Return one name per part; a category that reads like a part of another kind is quoted."""
        name = one_line(self.column)
        texts = [one_line(repr(text) if text.startswith(("(", "'", '"')) else text) for text in self.categories]
        named = [f"{name}={text}" for text in [*texts, *([OTHER] if self.has_other else [])]]
        return [*named, *([f"{name} null"] if self.has_null else [])]

    def state(self) -> dict[str, Any]:
        """Return plain JSON values."""
        flags = {"has_other": self.has_other, "has_null": self.has_null}
        return {"column": self.column, "categories": list(self.categories), **flags}

    @classmethod
    def from_state(cls, state: Any) -> Self:
        """Return the axis that wrote ``state``; raises CellError for anything malformed."""
        parts = Parts.inside(state, "an axis of categories", "column", "categories", "has_other", "has_null")
        flags = (parts.flag("has_other"), parts.flag("has_null"))
        return cls(parts.text("column"), parts.texts("categories"), *flags)


Axis: TypeAlias = NumberAxis | CategoryAxis


def fit_axis(array: Any, column: str, *, n_bins: int, max_categories: int) -> Axis:
    """Return the axis over real values: bins for numbers, categories for all else.

    Numbers behind a dictionary are categories: whoever encoded them said so. So are bools, and dates as text.

    >>> type(fit_axis(pa.array([True, False]), "flag", n_bins=2, max_categories=2)).__name__
    'CategoryAxis'
    """
    if is_number(array.type):
        return NumberAxis.fit(plain(array), column, n_bins=n_bins)
    return CategoryAxis.fit(plain(array), column, max_categories=max_categories)


def axis_from_state(state: Any) -> Axis:
    """Return the axis that wrote ``state``; raises CellError for anything malformed.

    >>> axis_from_state({"column": "x", "edges": [1.5], "has_null": False}).n_parts
    2
    """
    is_numeric = isinstance(state, dict) and "edges" in state
    return NumberAxis.from_state(state) if is_numeric else CategoryAxis.from_state(state)


def _floats(array: Any) -> NDArray[np.float64]:
    """Return numbers as float64, null as NaN; integers beyond 2**53 are rounded, their order stays."""
    values = (
        array.cast(pa.float64(), safe=False) if not pa.types.is_null(array.type) else pa.nulls(len(array), pa.float64())
    )
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)
