"""What a cell map is, how one is fitted by its declared kind, and how one comes back from its state."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from collapse_guard.cells.state import VERSION, check_head, shown
from collapse_guard.errors import CellError
from collapse_guard.kernels import canonical_bytes, sha256_hex
from collapse_guard.plugins import Registry, load_code, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Rows: TypeAlias = pa.Table | pa.RecordBatch


@runtime_checkable
class CellMap(Protocol):
    """Rows -> cells; a frozen dataclass, fitted on real rows once, that can be pickled and written as JSON.

    Every row is in one cell or in none, so that counts of independent rows are multinomial: all tests rest on that.
    """

    @property
    def n_cells(self) -> int:
        """Number of cells."""

    @property
    def names(self) -> tuple[str, ...]:
        """One name per cell, for reports; no two are equal."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that rows must have."""

    @property
    def digest(self) -> str:
        """Digest of everything that decides which cell a row is in."""

    def cells(self, rows: Rows) -> NDArray[np.int64]:
        """Return the cell of each row in [0, n_cells), or -1 for "cannot say"; shape (rows,)."""

    def state(self) -> dict[str, Any]:
        """Return plain JSON values, ``kind`` and ``version`` among them, from which the map can be made again."""


class Fittable(Protocol):
    """A registered kind of cell map.

    A kind that is declared with functions lists those keys in a class attribute ``code_keys``: by the time that
    ``fit`` and ``from_state`` see them, they are callables, because names of code are resolved in one place.
    """

    def fit(self, rows: Rows, **declared: Any) -> CellMap:
        """Return the map over real ``rows``."""

    def from_state(self, state: Mapping[str, Any]) -> CellMap:
        """Return the map that wrote ``state``; raises CellError for anything malformed."""


#: Cell maps by the ``kind`` of ``coverage.cells``; each is :class:`Fittable`.
CELL_MAPS: Registry[Any] = Registry("cell_map")


def fit_cells(kind: str, rows: Rows, *, allow_code: bool = False, **declared: Any) -> CellMap:
    """Return the cell map of a declared ``kind``, fitted on real rows.

    Args:
        kind: name of a registered kind.
        rows: real rows only.
        allow_code: whether a string ``module:function`` may be imported and run; a callable always may.
        declared: every key that the kind is declared with.

    Raises InputError for an unknown kind, CellError for keys, rows or code that cannot be used.

    >>> import pyarrow as pa
    >>> fit_cells("labels", pa.table({"y": ["b", "a"]}), column="y").names
    ('a', 'b')
    """
    fittable: Fittable = CELL_MAPS.get(kind)
    _check_declared(kind, fittable, declared)
    return fittable.fit(rows, **_with_code(kind, fittable, declared, allow_code=allow_code))


def cells_from_state(state: Mapping[str, Any], *, allow_code: bool = False) -> CellMap:
    """Return the cell map that wrote ``state``, equal to it.

    Args:
        state: what :meth:`CellMap.state` gave, also after a trip through JSON.
        allow_code: whether the code that the state names may be imported and run.

    Raises CellError for anything malformed, an unknown kind, another version, or code that is not allowed.

    >>> import pyarrow as pa
    >>> cells = fit_cells("labels", pa.table({"y": ["b", "a"]}), column="y")
    >>> cells_from_state(cells.state()) == cells
    True
    """
    kind = check_head(state)
    known = dict(CELL_MAPS.items())
    if kind not in known:
        raise CellError(f"a state of cells is of unknown kind {shown(kind)}; {nearest(kind, known)}")
    fittable: Fittable = known[kind]
    return fittable.from_state(_with_code(kind, fittable, state, allow_code=allow_code))


def state_of(kind: str, **parts: Any) -> dict[str, Any]:
    """Return a state: ``kind`` and ``version`` before the parts.

    >>> state_of("labels", column="y")
    {'kind': 'labels', 'version': 1, 'column': 'y'}
    """
    return {"kind": kind, "version": VERSION, **parts}


def digest_of(state: Mapping[str, Any]) -> str:
    """Return the digest of a state.

    >>> digest_of(state_of("labels", column="y"))[:15]
    'sha256:59a4277a'
    """
    return sha256_hex([canonical_bytes(state)])


def _check_declared(kind: str, fittable: Fittable, declared: Mapping[str, Any]) -> None:
    parameters = inspect.signature(fittable.fit).parameters.values()
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return
    wanted = {each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}
    if wanted != set(declared):
        came = ", ".join(sorted(declared)) or "nothing"
        raise CellError(f"cells of kind {kind!r} are declared by {', '.join(sorted(wanted))}; got {came}")


def _with_code(kind: str, fittable: Fittable, given: Mapping[str, Any], *, allow_code: bool) -> dict[str, Any]:
    """Return ``given`` with names of code resolved, where that is allowed."""
    named = {key: given[key] for key in getattr(fittable, "code_keys", ()) if isinstance(given.get(key), str)}
    if named and not allow_code:
        what = ", ".join(f"{key}: {shown(name)}" for key, name in named.items())
        text = f"cells of kind {kind!r} name code to run ({what}), and what a file names is not run by default"
        raise CellError(f"{text}; pass allow_code=True if you trust it, or the function itself")
    return {**given, **{key: load_code(name) for key, name in named.items()}}
