"""Manifests for other tools: Croissant, in-toto, DVC, dataset cards."""

from collapse_guard.report.exports.card import as_card, card_text, write_card
from collapse_guard.report.exports.croissant import Publication, as_croissant
from collapse_guard.report.exports.dvc import as_dvc, recorded_md5
from collapse_guard.report.exports.in_toto import as_in_toto

__all__ = [
    "Publication",
    "as_card",
    "as_croissant",
    "as_dvc",
    "as_in_toto",
    "card_text",
    "recorded_md5",
    "write_card",
]
