"""Laws of an advisory statistic: a plain number on its scale, whatever the order, the same in every process."""

from __future__ import annotations

import math
import pickle
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from collapse_guard.stats.advisory import Takes
from collapse_guard.stats.token_stream import encode
from collapse_guard.testing.processes import check_across_processes
from collapse_guard.testing.values import check_frozen

if TYPE_CHECKING:
    from collapse_guard.stats.advisory import Advisory

#: Sums in another order differ by rounding alone.
_ROUNDING: Final = 1e-9


def check_advisory(advisory: Advisory, *inputs: Any, **options: Any) -> None:
    """An advisory statistic says where it is blind, and gives one plain finite number on its scale.

    It gives the same number twice and in another process, and leaves its inputs as they were. The order of cells (in
    both count vectors at once), of feature rows, and of documents does not matter, unless it is ``ordered``.

    Args:
        advisory: the statistic.
        inputs: counts; counts and reference counts; real and made rows; or documents, by what it ``takes``.
        options: the keywords in its ``options``. Give two sets of equally many rows, and an ``n_most`` that is not
            below them: which rows are left out of a larger set may lean on their order.
    """
    check_frozen(advisory)
    _check_words(advisory)
    given = _prepared(advisory, inputs)
    before = pickle.dumps(given)
    value = advisory(*given, **options)
    _check_scale(advisory, value)
    assert advisory(*given, **options) == value, "the same input gives the same value"
    assert pickle.dumps(given) == before, "a statistic leaves its input as it was"
    check_across_processes(partial(advisory, **options), *given)
    other = value if advisory.ordered else advisory(*_prepared(advisory, _reordered(advisory, inputs)), **options)
    close = math.isclose(other, value, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
    assert close, f"order does not matter, got {value} and {other}"


def _check_words(advisory: Advisory) -> None:
    for name in ("name", "blind", "source"):
        text = getattr(advisory, name)
        assert text.strip(), f"{name} is not empty"
        assert text.isprintable(), f"{name} is one line"


def _check_scale(advisory: Advisory, value: float) -> None:
    assert type(value) is float, f"the value is a plain float, got {type(value).__name__}"
    assert math.isfinite(value), f"the value is finite, got {value}"
    assert advisory.low <= value <= advisory.high, f"{value} lies on the scale {advisory.low} to {advisory.high}"


def _prepared(advisory: Advisory, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (encode(inputs[0]),) if advisory.takes is Takes.DOCUMENTS else inputs


def _reordered(advisory: Advisory, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return ``inputs`` in another order: cells alike on both sides, rows of each set on their own."""
    if advisory.takes is Takes.DOCUMENTS:
        order = np.random.default_rng(0).permutation(len(inputs[0]))
        return ([inputs[0][row] for row in order],)
    seeds = (1, 2) if advisory.takes is Takes.FEATURES else (1, 1)
    return tuple(
        np.random.default_rng(seed).permutation(np.asarray(one))
        for seed, one in zip(seeds[: len(inputs)], inputs, strict=True)
    )
