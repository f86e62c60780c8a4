"""The accumulation proof against a plain set difference."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collapse_guard.manifest import Loss, Manifest, build_manifest, lost_real_rows, new_rows_by_class
from collapse_guard.manifest.proof import MAX_IDS
from collapse_guard.records import Origin

Entries = list[dict[str, Any]]
Rows = Callable[[Sequence[dict[str, Any]]], pa.Table]

ODD = ["'; DROP TABLE previous; --", "\U0001f408", "two\nlines", "", 'a "quoted" name', "\u00e9"]
NAMES = st.sampled_from(["web", "books", *ODD])
ENTRY = st.fixed_dictionaries(
    {
        "id": st.integers(0, 30),
        "label": st.one_of(st.none(), NAMES),
        "source": NAMES,
        "origin": st.sampled_from([0, 1, 1, 1, 2, 4, 9]),
    }
)
GENERATION = st.lists(ENTRY, min_size=1, max_size=40)


def of(rows: pa.Table) -> Manifest:
    return build_manifest(rows, name="n", generation=0, class_column="label")


def hex_id(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def plain_loss(
    before: list[dict[str, Any]], after: list[dict[str, Any]], scope: list[str] | None, exempt: list[str]
) -> set[tuple[str, str, str | None]]:
    """Return (id, source, class) of every lost row, by sets alone."""
    kept = {hex_id(entry["id"]) for entry in after if entry["origin"] == Origin.REAL}
    asked = {
        (hex_id(entry["id"]), entry["source"], entry["label"])
        for entry in before
        if entry["origin"] == Origin.REAL
        and (scope is None or entry["source"] in scope)
        and entry["source"] not in exempt
    }
    return {row for row in asked if row[0] not in kept}


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=GENERATION,
    after=GENERATION,
    kept=st.lists(st.booleans(), min_size=40, max_size=40),
    scope=st.one_of(st.none(), st.lists(NAMES, max_size=4)),
    exempt=st.lists(NAMES, max_size=3),
)
def test_the_proof_is_a_set_difference(
    tagged: Rows,
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    kept: list[bool],
    scope: list[str] | None,
    exempt: list[str],
) -> None:
    child = after + [entry for entry, keep in zip(before, kept, strict=False) if keep]
    loss = lost_real_rows(of(tagged(before)), of(tagged(child)), scope=scope, exempt=exempt)
    expected = plain_loss(before, child, scope, exempt)
    assert loss.n_rows == len(expected)
    groups = Counter((source, label) for _, source, label in expected)
    assert {(source, label): rows for source, label, rows in loss.by_source_and_class} == groups
    ids = sorted({row[0] for row in expected})
    assert set(loss.ids) <= set(ids)
    assert len(loss.ids) <= MAX_IDS
    assert list(loss.ids) == sorted(loss.ids)
    if len(expected) == len(ids):
        assert list(loss.ids) == ids[:MAX_IDS]


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=GENERATION, after=GENERATION, origin=st.sampled_from([Origin.REAL, Origin.SYNTHETIC]))
def test_new_rows_are_those_whose_id_the_parent_never_had(
    tagged: Rows, before: list[dict[str, Any]], after: list[dict[str, Any]], origin: Origin
) -> None:
    known = {entry["id"] for entry in before}
    expected = Counter(entry["label"] for entry in after if entry["origin"] == origin and entry["id"] not in known)
    assert new_rows_by_class(of(tagged(before)), of(tagged(after)), origin=origin) == expected


def test_a_generation_that_holds_every_real_row_lost_nothing(tagged: Rows) -> None:
    before: Entries = [{"id": n} for n in range(5)]
    after: Entries = [*before, {"id": 9, "origin": 2, "generator": "m"}]
    assert lost_real_rows(of(tagged(before)), of(tagged(after))) == Loss()


def test_a_real_row_that_became_synthetic_is_lost(tagged: Rows) -> None:
    before: Entries = [{"id": 1}, {"id": 2}]
    after: Entries = [{"id": 1}, {"id": 2, "origin": 2, "generator": "m"}]
    loss = lost_real_rows(of(tagged(before)), of(tagged(after)))
    assert (loss.n_rows, loss.ids) == (1, (hex_id(2),))


def test_a_real_row_that_stands_beside_its_synthetic_twin_is_kept(tagged: Rows) -> None:
    before: Entries = [{"id": 1}]
    after: Entries = [{"id": 1, "origin": 2, "source": "made"}, {"id": 1}]
    assert lost_real_rows(of(tagged(before)), of(tagged(after))) == Loss()


def test_a_real_row_that_moved_to_another_source_or_class_is_kept(tagged: Rows) -> None:
    before: Entries = [{"id": 1, "source": "web", "label": "cat"}]
    after: Entries = [{"id": 1, "source": "books", "label": "dog"}]
    assert lost_real_rows(of(tagged(before)), of(tagged(after))) == Loss()


def test_rows_of_the_parent_that_are_not_real_may_go(tagged: Rows) -> None:
    before: Entries = [{"id": 1}, *({"id": 2 + code, "origin": code} for code in (0, 2, 3, 4, 5))]
    assert lost_real_rows(of(tagged(before)), of(tagged([{"id": 1}]))) == Loss()


def test_lost_rows_are_grouped_with_the_largest_group_first(tagged: Rows) -> None:
    before: Entries = [
        *({"id": n, "source": "web", "label": "cat"} for n in range(3)),
        *({"id": n, "source": "web", "label": None} for n in range(3, 5)),
        {"id": 5, "source": "books", "label": "owl"},
    ]
    loss = lost_real_rows(of(tagged(before)), of(tagged([{"id": 99}])))
    assert loss.by_source_and_class == (("web", "cat", 3), ("web", None, 2), ("books", "owl", 1))
    assert loss.n_rows == 6


def test_at_most_ten_ids_are_shown_and_all_are_counted(tagged: Rows) -> None:
    before: Entries = [{"id": n} for n in range(25)]
    loss = lost_real_rows(of(tagged(before)), of(tagged([{"id": 99}])))
    assert loss.n_rows == 25
    assert loss.ids == tuple(sorted(hex_id(n) for n in range(25))[:10])


def test_an_id_that_two_sources_lost_is_shown_once(tagged: Rows) -> None:
    before: Entries = [{"id": 1, "source": "web"}, {"id": 1, "source": "books"}, {"id": 2, "source": "web"}]
    loss = lost_real_rows(of(tagged(before)), of(tagged([{"id": 99}])))
    assert loss.ids == tuple(sorted([hex_id(1), hex_id(2)]))


def test_scope_and_exempt_name_sources_and_an_empty_scope_holds_none(tagged: Rows) -> None:
    before: Entries = [{"id": n, "source": name} for n, name in enumerate(ODD)]
    first, after = of(tagged(before)), of(tagged([{"id": 99}]))
    for n, name in enumerate(ODD):
        assert lost_real_rows(first, after, scope=[name]).ids == (hex_id(n),)
        assert lost_real_rows(first, after, exempt=[name]).n_rows == len(ODD) - 1
        assert lost_real_rows(first, after, scope=[name], exempt=[name]) == Loss()
    assert lost_real_rows(first, after, scope=[]) == Loss()
    assert lost_real_rows(first, after, scope=["nowhere"]) == Loss()


def test_a_loss_is_described_in_one_line_whatever_the_classes_are_called(tagged: Rows) -> None:
    before: Entries = [{"id": n, "label": f"class\n{n}"} for n in range(7)]
    text = lost_real_rows(of(tagged(before)), of(tagged([{"id": 99}]))).describe()
    assert text.startswith("7 real rows lost: ")
    assert " and 2 more groups; ids " in text
    assert "\n" not in text


def test_one_lost_row_is_a_row(tagged: Rows) -> None:
    loss = lost_real_rows(of(tagged([{"id": 1, "label": None}])), of(tagged([{"id": 99}])))
    assert loss.describe() == f"1 real row lost: web/(no class) 1; ids {hex_id(1)}"
