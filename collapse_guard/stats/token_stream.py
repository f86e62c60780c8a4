"""Documents as one flat array of token numbers: the form in which text statistics are counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from collapse_guard.errors import StatisticError
from collapse_guard.kernels import first_words
from collapse_guard.stats.arguments import as_whole

#: Texts, or token ids per document; one kind per call.
Documents = Sequence[str] | Sequence[Sequence[int]] | Sequence[NDArray[np.integer]]

#: More words than a look holds.
_ALL_WORDS: Final = (1 << 31) - 1

_ONE_KIND: Final = "pass texts or token ids, not both"


class TokenStream(NamedTuple):
    """Tokens of all documents, one after the other.

    Args:
        tokens: numbers in [0, n_types), int64 of shape (tokens,).
        owners: the document of each token, ascending, int64 of shape (tokens,).
        n_types: different tokens.
        n_documents: documents, those without tokens too.
        words: the word of each number; empty where tokens are ids or runs.
    """

    tokens: NDArray[np.int64]
    owners: NDArray[np.int64]
    n_types: int
    n_documents: int
    words: tuple[str, ...] = ()


def encode(documents: Documents | TokenStream) -> TokenStream:
    """Return the tokens of ``documents``: their words, or the token ids that they hold.

    Words are those of :func:`collapse_guard.kernels.first_words`. Tokens are numbered as they come, so that only
    their equality matters. Raises StatisticError that names the document which is
    neither text nor a flat list of whole numbers.

    >>> encode(["The cat", "the dog"]).tokens
    array([0, 1, 0, 2])
    """
    if isinstance(documents, TokenStream):
        return documents
    if isinstance(documents, (str, bytes)):
        raise StatisticError("documents must be a list of documents, got one text; pass [text]")
    if len(documents) == 0:
        raise StatisticError("documents are empty; a text statistic needs one document or more")
    return _of_texts(documents) if isinstance(documents[0], str) else _of_ids(documents)


def _of_texts(documents: Documents) -> TokenStream:
    for index, document in enumerate(documents):
        if not isinstance(document, str):
            raise StatisticError(f"documents[{index}] is {type(document).__name__}, documents[0] is text; {_ONE_KIND}")
    try:
        texts = pa.array(documents, type=pa.string())
    except UnicodeEncodeError as error:
        index = list(documents).index(error.object)
        raise StatisticError(f"documents[{index}] is not Unicode text ({error.reason}); mend or drop it") from None
    found = first_words(texts, n_words=_ALL_WORDS)
    coded = found.values.dictionary_encode()  # numbers in order of appearance
    tokens = coded.indices.to_numpy().astype(np.int64)
    return TokenStream(tokens, found.rows, len(coded.dictionary), len(texts), tuple(coded.dictionary.to_pylist()))


def _of_ids(documents: Documents) -> TokenStream:
    parts = [_token_ids(index, document) for index, document in enumerate(documents)]
    owners = np.repeat(np.arange(len(parts)), [part.size for part in parts])
    known: dict[int, int] = {}
    tokens = [known.setdefault(token, len(known)) for token in np.concatenate(parts).tolist()]
    return TokenStream(np.array(tokens, dtype=np.int64), owners, len(known), len(parts))


def _token_ids(index: int, document: object) -> NDArray[np.int64]:
    if isinstance(document, (str, bytes)):
        raise StatisticError(f"documents[{index}] is text, documents[0] is not; {_ONE_KIND}")
    try:
        ids = np.asarray(document)
    except ValueError:
        ids = np.empty((0, 0))
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        what = type(document).__name__ if ids.ndim == 0 else f"an array of {ids.dtype}, shape {ids.shape}"
        raise StatisticError(f"documents[{index}] must be text or a flat list of token ids (whole numbers), got {what}")
    return ids.astype(np.int64)


def token_budget(documents: Documents | TokenStream, *, n_tokens: int) -> TokenStream:
    """Return the first ``n_tokens`` tokens: documents in order until the budget is full, the last one cut.

    Nearly every text statistic depends on the size of the text, so that looks are compared at one budget.
    Raises StatisticError that says how many tokens there are when they are fewer.

    >>> token_budget(["a b c", "d e f", "g"], n_tokens=4).owners
    array([0, 0, 0, 1])
    """
    budget = as_whole(n_tokens, name="n_tokens", least=1)
    stream = encode(documents)
    if stream.tokens.size < budget:
        n_held = stream.tokens.size
        raise StatisticError(f"documents hold {n_held} tokens, n_tokens asks for {budget}; pass more text or lower it")
    tokens, owners = stream.tokens[:budget], stream.owners[:budget]
    n_types = int(tokens.max()) + 1  # tokens are numbered as they come
    return TokenStream(tokens, owners, n_types, int(owners[-1]) + 1, stream.words[:n_types])


def ngrams(stream: TokenStream, size: int) -> TokenStream:
    """Return the runs of ``size`` tokens within each document, numbered like tokens.

    Runs do not cross documents; a document of fewer tokens has none. Exact: nothing is hashed.

    >>> ngrams(encode(["a b a b", "b a"]), 2).tokens
    array([0, 1, 0, 1])
    """
    as_whole(size, name="size", least=1)
    if size == 1:
        return stream
    runs, n_windows = stream.tokens, max(stream.tokens.size - size + 1, 0)
    for step in range(1, min(size, stream.tokens.size)):
        pairs = runs[:-1] * stream.n_types + stream.tokens[step:]
        runs = np.unique(pairs, return_inverse=True)[1]
    owners = stream.owners[:n_windows]
    inside = owners == stream.owners[stream.owners.size - n_windows :]
    kinds, tokens = np.unique(runs[:n_windows][inside], return_inverse=True)
    return TokenStream(tokens.astype(np.int64), owners[inside], kinds.size, stream.n_documents)
