"""Pure array functions used by several stages: content ids, seeded hash order, labels as text, words."""

from collapse_guard.kernels.canonical import flat, json_rows, json_values, normalised
from collapse_guard.kernels.content import canonical_bytes, hashed_ids, held_bytes, id_hex, id_words, ids_of, sha256_hex
from collapse_guard.kernels.hashing import hash_order, mix64, seed_word, text_hashes
from collapse_guard.kernels.labels import class_names, one_line
from collapse_guard.kernels.measures import LARGEST_AMOUNT, not_amounts
from collapse_guard.kernels.ragged import Ragged, distinct, is_list, ragged, row_minimum
from collapse_guard.kernels.words import WORD_RULE, first_words, run_hashes

__all__ = [
    "LARGEST_AMOUNT",
    "WORD_RULE",
    "Ragged",
    "canonical_bytes",
    "class_names",
    "distinct",
    "first_words",
    "flat",
    "hash_order",
    "hashed_ids",
    "held_bytes",
    "id_hex",
    "id_words",
    "ids_of",
    "is_list",
    "json_rows",
    "json_values",
    "mix64",
    "normalised",
    "not_amounts",
    "one_line",
    "ragged",
    "row_minimum",
    "run_hashes",
    "seed_word",
    "sha256_hex",
    "text_hashes",
]
