"""Hashes of arrays that are the same in every process: seeded orders, words to numbers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


def mix64(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return words after the SplitMix64 finaliser (Steele, Lea, Flood 2014): a bijection of 64 bits.

    >>> mix64(np.array([0, 1], dtype=np.uint64)).tolist()
    [0, 6238072747940578789]
    """
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def seed_word(seed: int) -> NDArray[np.uint64]:
    """Return a seed as one well-mixed word, uint64 of shape (1,).

    >>> seed_word(0).tolist()
    [16294208416658607535]
    """
    return mix64(np.array([((seed & 0xFFFFFFFFFFFFFFFF) + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64))


def text_hashes(texts: pa.Array) -> NDArray[np.uint64]:
    """Return one 64-bit hash per text, uint64 of shape (rows,): BLAKE2b over UTF-8, the same in every process.

    Each distinct text is hashed once. A null counts as the empty text.

    >>> import pyarrow as pa
    >>> hashes = text_hashes(pa.array(["a", "b", "a"]))
    >>> bool(hashes[0] == hashes[2] != hashes[1])
    True
    """
    coded = texts.dictionary_encode()
    known = (text.encode("utf-8") for text in coded.dictionary.to_pylist())
    raw = b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in known)
    of_null = hashlib.blake2b(b"", digest_size=8).digest()
    hashes = np.frombuffer(raw + of_null, dtype="<u8").astype(np.uint64)
    codes = coded.indices.fill_null(hashes.size - 1).to_numpy(zero_copy_only=False)
    return np.asarray(hashes[codes], dtype=np.uint64)


def hash_order(hi: NDArray[np.uint64], lo: NDArray[np.uint64], *, seed: int) -> NDArray[np.int64]:
    """Return the row numbers in a seeded order that depends on ids alone, shape (rows,).

    A row's rank against another row never changes when rows are added, so that a longer
    prefix always holds a shorter one.

    >>> ids = np.arange(4, dtype=np.uint64)
    >>> sorted(hash_order(ids, ids, seed=1).tolist())
    [0, 1, 2, 3]
    """
    keys = mix64(mix64(hi ^ seed_word(seed)) + lo)
    return np.lexsort((lo, hi, keys)).astype(np.int64)
