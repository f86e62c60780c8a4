"""Text statistics: shares per document for betting evidence, and figures of a whole look at a fixed token budget."""

from __future__ import annotations

import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard.errors import StatisticError
from collapse_guard.stats.token_stream import TokenStream, encode, ngrams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.stats.token_stream import Documents

#: Level of zlib; another level gives other ratios, so that it is part of the statistic.
ZLIB_LEVEL: Final = 6

_LOOP_SIZE: Final = 4


def hapax_shares(documents: Documents | TokenStream) -> NDArray[np.float64]:
    """Return each document's share of tokens whose word stands in no other document of the look.

    Shape (documents,), in [0, 1]; a word that a document repeats counts as often as it stands there. A document
    without words scores 0: nothing in it is its own, so that empty output lowers the mean and never
    raises it. Scores lean on the other documents: compare looks of one size. Source: the hapax legomena
    of lexical statistics (Baayen, Word Frequency Distributions, 2001), per document.

    Blind: to loss of common words, and to a look whose size changed (more documents, fewer hapaxes).

    >>> hapax_shares(["the cat sat", "the dog", ""]).tolist()
    [0.6666666666666666, 0.5, 0.0]
    """
    return _own_shares(encode(documents))


def novel_ngram_shares(documents: Documents | TokenStream, size: int) -> NDArray[np.float64]:
    """Return each document's share of runs of ``size`` tokens that stand in no other document of the look.

    Shape (documents,), in [0, 1]. A document of fewer than ``size`` tokens has no runs and scores 0, so that a
    loop which shortens its output lowers the mean and never raises it. Raises StatisticError unless
    ``size`` is 1 or more. Source: n-gram novelty as in McCoy et al., arXiv 2111.09509, against the look itself.

    Blind: to loops inside one document (its own runs stay novel), and to looks of another size.

    >>> novel_ngram_shares(["a b c", "b c d", "c"], 2).tolist()
    [0.5, 0.5, 0.0]
    """
    return _own_shares(ngrams(encode(documents), size))


def _own_shares(stream: TokenStream) -> NDArray[np.float64]:
    """Return the share of each document's tokens that no other document holds; 0 where there are none."""
    n_documents = stream.n_documents
    pairs = np.unique(stream.tokens * n_documents + stream.owners)
    n_holders = np.bincount(pairs // n_documents, minlength=stream.n_types)
    is_own = n_holders[stream.tokens] == 1
    n_tokens = np.bincount(stream.owners, minlength=n_documents)
    n_own = np.bincount(stream.owners, weights=is_own, minlength=n_documents)
    return np.asarray(n_own / np.maximum(n_tokens, 1))


def distinct_share(stream: TokenStream, size: int) -> float:
    """Return different runs of ``size`` tokens per run ("distinct-n"), in (0, 1].

    Raises StatisticError when no document holds ``size`` tokens. Source: Li et al., A Diversity-Promoting Objective
    Function (NAACL 2016).

    Blind: to which runs are lost (rare or common), and to meaning; it falls with the size of the text.

    >>> distinct_share(encode(["a b a b"]), 2)
    0.6666666666666666
    """
    runs = _some_runs(stream, size)
    return runs.n_types / runs.tokens.size


def bigram_singleton_share(stream: TokenStream) -> float:
    """Return the share of different bigrams that stand in the text once, in [0, 1].

    Raises StatisticError when no document holds two tokens. Source: the frequency spectrum V(1)/V (Baayen 2001).

    Blind: to loss of common phrases; it falls with the size of the text.

    >>> bigram_singleton_share(encode(["a b a b"]))
    0.5
    """
    runs = _some_runs(stream, 2)
    return float((np.bincount(runs.tokens) == 1).mean())


def duplicate_document_share(stream: TokenStream) -> float:
    """Return the share of documents that repeat another one token by token, the first of each kind not counted.

    In [0, 1). Documents without tokens are equal to each other. Source: exact duplicates as in Lee et al.,
    Deduplicating Training Data Makes Language Models Better (ACL 2022).

    Blind: to near copies that differ in one token, and to repetition within a document.

    >>> duplicate_document_share(encode(["a b", "c", "A, b!", "c d"]))
    0.25
    """
    ends = np.cumsum(np.bincount(stream.owners, minlength=stream.n_documents))
    whole = {stream.tokens[start:end].tobytes() for start, end in pairwise([0, *ends.tolist()])}
    return 1 - len(whole) / stream.n_documents


def compression_ratio(stream: TokenStream) -> float:
    """Return bytes per byte after zlib at level 6, above 0; it rises with repetition.

    Words are joined by a space and documents by a line break, in UTF-8, so that layout and case do not count. Token
    ids are written as four bytes each, numbered as they come: a scale of its own, never compared with text.
    The order of documents matters a little: zlib looks back 32 KiB. Source: Shaib et al., arXiv 2403.00553.

    Blind: to repetition farther apart than 32 KiB; it mixes length and format with diversity.

    >>> compression_ratio(encode(["a b c d"] * 100)) > 10
    True
    """
    raw = _raw_bytes(stream)
    if not raw:
        raise StatisticError("documents hold no token; there is nothing to compress")
    return len(raw) / len(zlib.compress(raw, level=ZLIB_LEVEL))


def loop_share(stream: TokenStream) -> float:
    """Return the mean over documents of 1 - different 4-grams / 4-grams ("rep-4"), in [0, 1).

    Documents of fewer than four tokens cannot loop and do not enter the mean; StatisticError when there are no others.
    Source: Welleck et al., Neural Text Generation with Unlikelihood Training (ICLR 2020).

    Blind: to copies across documents, and it is raised by text that repeats for a reason (code, verse).

    >>> loop_share(encode(["a a a a a", "a b c d e", "a"]))
    0.25
    """
    runs = _some_runs(stream, _LOOP_SIZE)
    n_runs = np.bincount(runs.owners, minlength=runs.n_documents)
    kinds = np.unique(runs.owners * runs.n_types + runs.tokens) // runs.n_types
    n_kinds = np.bincount(kinds, minlength=runs.n_documents)
    held = n_runs > 0
    return float((1 - n_kinds[held] / n_runs[held]).mean())


def _some_runs(stream: TokenStream, size: int) -> TokenStream:
    runs = ngrams(stream, size)
    if runs.tokens.size == 0:
        raise StatisticError(f"no document holds {size} tokens in a row; ask for shorter runs or pass longer documents")
    return runs


def _raw_bytes(stream: TokenStream) -> bytes:
    if not stream.words:
        return stream.tokens.astype("<u4").tobytes()
    words = np.array(stream.words, dtype=object)[stream.tokens]
    starts = np.flatnonzero(np.diff(stream.owners, prepend=-1))
    lines = (" ".join(part) for part in np.split(words, starts[1:]))
    return "\n".join(lines).encode("utf-8", "surrogatepass")
