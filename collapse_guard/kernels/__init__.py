"""Pure array functions used by several stages: content ids, seeded hash order, labels as text, words."""

from collapse_guard.kernels.content import ID_RULE, canonical_bytes, content_ids, id_hex, id_words, sha256_hex
from collapse_guard.kernels.hashing import hash_order, mix64, seed_word, text_hashes
from collapse_guard.kernels.labels import class_names, one_line
from collapse_guard.kernels.ragged import Ragged, distinct, is_list, ragged, row_minimum
from collapse_guard.kernels.words import WORD_RULE, first_words, run_hashes

__all__ = [
    "ID_RULE",
    "WORD_RULE",
    "Ragged",
    "canonical_bytes",
    "class_names",
    "content_ids",
    "distinct",
    "first_words",
    "hash_order",
    "id_hex",
    "id_words",
    "is_list",
    "mix64",
    "one_line",
    "ragged",
    "row_minimum",
    "run_hashes",
    "seed_word",
    "sha256_hex",
    "text_hashes",
]
