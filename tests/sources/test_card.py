"""What a dataset card declares: the more synthetic origin stays, and found text is never real."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from collapse_guard.errors import ProvenanceError
from collapse_guard.records import Evidence, Origin
from collapse_guard.sources import declared_origin

WORDS = ("found", "crowdsourced", "expert-generated", "machine-generated", "no-annotation", "other")


@pytest.mark.parametrize(
    ("words", "origin"),
    [
        (["machine-generated"], Origin.SYNTHETIC),
        (["found"], Origin.UNKNOWN),
        (["crowdsourced"], Origin.REAL),
        (["expert-generated"], Origin.REAL),
        (["crowdsourced", "expert-generated"], Origin.REAL),
        (["crowdsourced", "found"], Origin.UNKNOWN),
        (["crowdsourced", "machine-generated"], Origin.MIXED),
        (["found", "machine-generated"], Origin.MIXED),
        (["other"], Origin.UNKNOWN),
        (["something new"], Origin.UNKNOWN),
        ("Machine-Generated", Origin.SYNTHETIC),
        ([], Origin.UNKNOWN),
        (None, Origin.UNKNOWN),
    ],
)
def test_one_key(words: Any, origin: Origin) -> None:
    found = declared_origin({"language_creators": words})
    assert found.origin is origin
    assert found.n_conflicts == 0
    assert found.evidence is (Evidence.NONE if origin is Origin.UNKNOWN else Evidence.DECLARED)


@pytest.mark.parametrize(
    ("text", "labels", "origin", "n_conflicts"),
    [
        ("expert-generated", "expert-generated", Origin.REAL, 0),
        ("expert-generated", "no-annotation", Origin.REAL, 0),
        ("expert-generated", "machine-generated", Origin.SYNTHETIC, 1),
        ("found", "machine-generated", Origin.SYNTHETIC, 1),
        ("found", "expert-generated", Origin.UNKNOWN, 1),
        ("machine-generated", "expert-generated", Origin.SYNTHETIC, 1),
    ],
)
def test_where_keys_disagree_the_more_synthetic_origin_stays(
    text: str, labels: str, origin: Origin, n_conflicts: int
) -> None:
    found = declared_origin({"language_creators": [text], "annotations_creators": [labels]})
    assert (found.origin, found.n_conflicts) == (origin, n_conflicts)


def test_labels_can_be_left_out() -> None:
    card = {"language_creators": ["expert-generated"], "annotations_creators": ["machine-generated"]}
    assert declared_origin(card, keys=("language_creators",)).origin is Origin.REAL


@pytest.mark.parametrize("size", [1, 2, 3])
def test_real_only_if_people_made_all_of_it(size: int) -> None:
    for words in itertools.combinations(WORDS, size):
        said = set(words) - {"no-annotation"}
        is_real = declared_origin({"language_creators": list(words)}).origin is Origin.REAL
        assert is_real == (bool(said) and said <= {"crowdsourced", "expert-generated"})


def test_a_tag_says_synthetic() -> None:
    found = declared_origin({"language_creators": ["crowdsourced"], "tags": ["synthetic", "cats"]})
    assert (found.origin, found.n_conflicts) == (Origin.SYNTHETIC, 1)
    assert "1 conflict" in found.describe()


@pytest.mark.parametrize(
    ("rows", "origin"),
    [
        ({"real": 3}, Origin.REAL),
        ({"synthetic": 3, "real": 0}, Origin.SYNTHETIC),
        ({"synthetic": 3, "real": 1}, Origin.MIXED),
        ({"invented": 1}, Origin.UNKNOWN),
        ({}, Origin.UNKNOWN),
        ("all", Origin.UNKNOWN),
    ],
)
def test_our_own_section_is_read(rows: Any, origin: Origin) -> None:
    assert declared_origin({"collapse_guard": {"origin_rows": rows}}).origin is origin


@pytest.mark.parametrize(("generators", "one"), [(["m@1"], "m@1"), (["a", "b"], None), ([], None), ("m", None)])
def test_a_generator_is_taken_if_there_is_one(generators: Any, one: str | None) -> None:
    card = {"collapse_guard": {"origin_rows": {"synthetic": 1}, "generators": generators}}
    assert declared_origin(card).generator == one


def test_an_empty_card_says_nothing() -> None:
    assert declared_origin({}).describe() == "unknown (the card says nothing)"


@pytest.mark.parametrize("words", [3, [3], {"found": 1}])
def test_what_is_no_list_of_words_is_refused(words: Any) -> None:
    with pytest.raises(ProvenanceError, match="language_creators of the card must be a list of words"):
        declared_origin({"language_creators": words})
