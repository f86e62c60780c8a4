"""Advisory statistics by name: what each takes, its scale, and where it is blind. None of them may halt a run."""

from __future__ import annotations

import inspect
import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.errors import StatisticError
from collapse_guard.plugins import Registry
from collapse_guard.stats import divergence, diversity, documents, neighbours, spectrum
from collapse_guard.stats.token_stream import token_budget

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from numpy.typing import ArrayLike

    from collapse_guard.stats.token_stream import Documents


class Takes(StrEnum):
    """What an advisory statistic is computed from."""

    COUNTS = "counts"
    COUNTS_AND_REFERENCE = "counts_and_reference"
    FEATURES = "features"
    DOCUMENTS = "documents"


@dataclass(frozen=True, slots=True)
class Advisory:
    """One advisory statistic; calling it returns one finite float, or raises StatisticError where it is not defined.

    Args:
        name: as it stands in a log, a report and the registry.
        takes: COUNTS is called with (counts), COUNTS_AND_REFERENCE with (counts, reference_counts), FEATURES with
            (real, made) and the keywords in ``options``, DOCUMENTS with a
            :class:`~collapse_guard.stats.token_stream.TokenStream`.
        function: what is called, a function of a module, so that it can be pickled.
        blind: one line, where it says nothing or the wrong thing.
        source: where it is defined.
        low: its least value.
        high: its greatest value, infinity for none.
        fixed: keywords that are part of the statistic, such as the order of a Hill number.
        options: keywords of FEATURES that the caller gives: "k", "n_most", "seed".
        ordered: whether the order of documents matters.

    >>> ADVISORIES.get("distinct_2")(token_budget(["a b a b"], n_tokens=4))
    0.6666666666666666
    """

    name: str
    takes: Takes
    function: Callable[..., float]
    blind: str
    source: str
    low: float
    high: float
    fixed: tuple[tuple[str, float], ...] = ()
    options: tuple[str, ...] = ()
    ordered: bool = False

    def __call__(self, *inputs: Any, **options: Any) -> float:
        """Return the statistic of ``inputs``, see ``takes``; raises StatisticError for input that it cannot take."""
        return self.function(*inputs, **dict(self.fixed), **options)


#: Advisory statistics, found by the conformance test; group ``collapse_guard.advisory_statistics``.
ADVISORIES: Final[Registry[Advisory]] = Registry("advisory_statistic")


def documented(function: Callable[..., Any], mark: str) -> str:
    """Return what the docstring of ``function`` says after ``mark`` and a colon, to the end of its paragraph.

    On one line, without the full stop; "not stated" where it says nothing (or runs under ``python -OO``).

    >>> documented(diversity.chao1, "Blind")
    'to kinds too rare to leave singletons (it is a lower bound), and to shares'
    """
    found = re.search(rf"\b{mark}:\s+(.+?)(?:\n\n|\Z)", inspect.getdoc(function) or "", re.DOTALL)
    return " ".join(found[1].split()).removesuffix(".") if found else "not stated"


def _file(name: str, takes: Takes, function: Callable[..., float], scale: tuple[float, float], **more: Any) -> None:
    """Register a statistic of this package; what its docstring says is said once."""
    said = {"blind": documented(function, "Blind"), "source": documented(function, "Source"), **more}
    ADVISORIES.register(name)(Advisory(name, takes, function, low=scale[0], high=scale[1], **said))


_SHARE: Final = (0.0, 1.0)
_KINDS: Final = (1.0, math.inf)
_POSITIVE: Final = (0.0, math.inf)
_ANY: Final = (-math.inf, math.inf)
_HILL_BLIND: Final = {
    0: "to shares, and it grows with the rows: compare at one size",
    1: "late to drift: the head holds most of the entropy",
    2: "to tails: the commonest cells rule it",
}

for _order, _blind in _HILL_BLIND.items():
    _file(
        f"hill_{_order}", Takes.COUNTS, diversity.hill_number, _KINDS, fixed=(("order", float(_order)),), blind=_blind
    )
_file("missing_mass", Takes.COUNTS, diversity.missing_mass, _SHARE)
_file("sample_coverage", Takes.COUNTS, diversity.sample_coverage, _SHARE)
_file("chao1", Takes.COUNTS, diversity.chao1, _KINDS)

_file("rarefied_types_ratio", Takes.COUNTS_AND_REFERENCE, divergence.rarefied_types_ratio, _POSITIVE)
_file("novel_row_share", Takes.COUNTS_AND_REFERENCE, divergence.novel_row_share, _SHARE)
_file("jensen_shannon_nats", Takes.COUNTS_AND_REFERENCE, divergence.jensen_shannon_nats, (0.0, math.log(2)))
_file("total_variation", Takes.COUNTS_AND_REFERENCE, divergence.total_variation, _SHARE)
_file("pearson_chi2", Takes.COUNTS_AND_REFERENCE, divergence.pearson_chi2, _POSITIVE)
_file("drift_log_bayes_factor", Takes.COUNTS_AND_REFERENCE, divergence.drift_log_bayes_factor, _ANY)

_NEIGHBOURS: Final = ("k", "n_most", "seed")
_file("precision", Takes.FEATURES, neighbours.precision, _SHARE, options=_NEIGHBOURS)
_file("recall", Takes.FEATURES, neighbours.recall, _SHARE, options=_NEIGHBOURS)
_file("density", Takes.FEATURES, neighbours.density, _POSITIVE, options=_NEIGHBOURS)
_file("ball_coverage", Takes.FEATURES, neighbours.ball_coverage, _SHARE, options=_NEIGHBOURS)
_file("vendi_ratio", Takes.FEATURES, spectrum.vendi_ratio, _POSITIVE, options=("n_most", "seed"))
_file("effective_rank_ratio", Takes.FEATURES, spectrum.effective_rank_ratio, _POSITIVE, options=("n_most", "seed"))

for _size in (1, 2, 3, 4):
    _file(f"distinct_{_size}", Takes.DOCUMENTS, documents.distinct_share, _SHARE, fixed=(("size", _size),))
_file("bigram_singleton_share", Takes.DOCUMENTS, documents.bigram_singleton_share, _SHARE)
_file("duplicate_document_share", Takes.DOCUMENTS, documents.duplicate_document_share, _SHARE)
_file("compression_ratio", Takes.DOCUMENTS, documents.compression_ratio, _POSITIVE, ordered=True)
_file("loop_share", Takes.DOCUMENTS, documents.loop_share, _SHARE)


def advise_counts(counts: ArrayLike, reference_counts: ArrayLike) -> dict[str, float]:
    """Return every statistic of counts by name, plain floats.

    ``counts`` and ``reference_counts`` are whole numbers of rows per cell, of one length. Raises StatisticError
    that names the argument which is not. A statistic that these counts do not have is left out.

    >>> advise_counts([4, 0], [2, 2])["total_variation"]
    0.5
    """
    made, reference = divergence.compared(counts, reference_counts)
    figures = _defined(Takes.COUNTS, (made,), {}) | _defined(Takes.COUNTS_AND_REFERENCE, (made, reference), {})
    return dict(sorted(figures.items()))


def advise_features(real: ArrayLike, made: ArrayLike, *, k: int, n_most: int, seed: int) -> dict[str, float]:
    """Return every statistic of feature rows by name, plain floats.

    Arguments and errors of :func:`~collapse_guard.stats.neighbours.neighbour_shares`. Distances are computed once. A
    statistic that these rows do not have (Vendi with a row of zeros) is left out.

    >>> rows = [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    >>> advise_features(rows, rows, k=1, n_most=100, seed=0)["vendi_ratio"]
    1.0
    """
    figures = neighbours.neighbour_shares(real, made, k=k, n_most=n_most, seed=seed)._asdict()
    options = {"k": k, "n_most": n_most, "seed": seed}
    figures |= _defined(Takes.FEATURES, (real, made), options, known=figures)
    return dict(sorted(figures.items()))


def advise_documents(documents: Documents, *, n_tokens: int) -> dict[str, float]:
    """Return every statistic of documents at a budget of ``n_tokens`` tokens by name, plain floats.

    Arguments and errors of :func:`~collapse_guard.stats.token_stream.token_budget`. A statistic that these documents
    do not have (4-grams of two words) is left out.

    >>> figures = advise_documents(["a b", "A b."], n_tokens=4)
    >>> figures["distinct_1"], figures["duplicate_document_share"], "distinct_3" in figures
    (0.5, 0.5, False)
    """
    return _defined(Takes.DOCUMENTS, (token_budget(documents, n_tokens=n_tokens),), {})


def _defined(
    takes: Takes, inputs: tuple[Any, ...], options: dict[str, int], *, known: Container[str] = ()
) -> dict[str, float]:
    """Return the statistics that ``inputs`` have; the inputs themselves are sound."""
    wanted = [advisory for name, advisory in ADVISORIES.items() if advisory.takes is takes and name not in known]
    figures = ((advisory.name, _figure(advisory, inputs, options)) for advisory in wanted)
    return {name: figure for name, figure in figures if figure is not None}


def _figure(advisory: Advisory, inputs: tuple[Any, ...], options: dict[str, int]) -> float | None:
    try:
        return advisory(*inputs, **{name: options[name] for name in advisory.options})
    except StatisticError:
        return None
