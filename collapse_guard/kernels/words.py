"""Words of texts, and runs of units; all rows at once, and the same in every process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.kernels.canonical import normalised
from collapse_guard.kernels.hashing import mix64, seed_word
from collapse_guard.kernels.ragged import Ragged, ragged

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Name of the rule by which a text falls into words; part of the state of whatever uses it.
WORD_RULE: Final = "nfc-lower/letters-marks-digits/1"

#: Scripts that write no space between words: each character stands for itself.
_UNSPACED: Final = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])"
#: Letters, marks and digits make a word; all else parts two. (RE2's own word class knows ASCII alone.)
_BREAKS: Final = r"[^\p{L}\p{M}\p{N}]+"


def first_words(texts: pa.Array, *, n_words: int) -> Ragged:
    """Return the first ``n_words`` words of each text; a null text has none.

    A word is a run of letters, marks and digits after NFC and lower case, so ``don't`` is two words. A character of a
    script without spaces (Han, Kana, Thai, Lao, Khmer, Myanmar) is a word of its own.

    >>> words = first_words(pa.array(["The cat, the HAT!", "...", None, "日本 x"]), n_words=3)
    >>> words.lengths.tolist(), words.values.to_pylist()
    ([3, 0, 0, 3], ['the', 'cat', 'the', '日', '本', 'x'])
    """
    plain = normalised(pc.utf8_lower(normalised(texts)))
    plain = pc.replace_substring_regex(plain, _UNSPACED, r" \1 ")
    spaced = pc.utf8_trim(pc.replace_substring_regex(plain, _BREAKS, " "), " ")
    wordless = pc.equal(spaced, "")  # a split makes one empty word of it; a null has none
    worded = pc.if_else(wordless, pa.scalar(None, spaced.type), spaced)
    return ragged(pc.list_slice(pc.split_pattern(worded, " ", max_splits=n_words), 0, n_words))


def run_hashes(
    units: NDArray[np.uint64], lengths: NDArray[np.int64], *, size: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return (hash of each run of ``size`` neighbouring units of a row, where the run begins).

    Args:
        units: one 64-bit hash per unit, uint64 of shape (units,).
        lengths: units per row, of shape (rows,), with sum (units,). A row of n units has max(0, n - size + 1) runs.

    >>> units = np.array([7, 8, 7, 8, 9], dtype=np.uint64)
    >>> hashes, starts = run_hashes(units, np.array([3, 2]), size=2)
    >>> starts.tolist(), len(set(hashes.tolist()))
    ([0, 1, 3], 3)
    """
    ends = np.repeat(np.cumsum(lengths), lengths)
    starts = np.flatnonzero(np.arange(units.size) + size <= ends)
    hashes = np.repeat(seed_word(size), starts.size)
    for step in range(size):
        hashes = mix64(hashes + units[starts + step] * np.uint64(0x9E3779B97F4A7C15))
    return hashes, starts
