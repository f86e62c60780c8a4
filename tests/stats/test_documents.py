"""Text statistics against slow twins, closed forms and outside references.

Outside references: collections.Counter over tuples (slow twins, exact); zlib; the ``diversity`` package
(``ngram_diversity_score`` crosses document borders and rounds to 3 digits: compared on one document to 5e-4;
``compression_ratio`` writes gzip into gzip: only its order is compared).
"""

from __future__ import annotations

import os
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_guard.errors import StatisticError
from collapse_guard.stats.documents import (
    bigram_singleton_share,
    compression_ratio,
    distinct_share,
    duplicate_document_share,
    hapax_shares,
    loop_share,
    novel_ngram_shares,
)
from collapse_guard.stats.token_stream import encode, ngrams, token_budget

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collapse_guard.stats.token_stream import TokenStream

    Ids = list[list[int]]

DOCUMENTS = st.lists(st.lists(st.integers(0, 5), max_size=9), min_size=1, max_size=8)
SIZES = (1, 2, 3, 4, 7)
laws = settings(max_examples=80, derandomize=True, deadline=None)


def grams(document: Sequence[int], size: int) -> list[tuple[int, ...]]:
    return [tuple(document[start : start + size]) for start in range(len(document) - size + 1)]


def as_texts(documents: Ids) -> list[str]:
    return [" ".join(f"w{token}" for token in document) for document in documents]


@laws
@given(documents=DOCUMENTS)
def test_ngrams_agree_with_tuples(documents: Ids) -> None:
    for size in SIZES:
        runs = ngrams(encode(documents), size)
        flat = [(owner, gram) for owner, document in enumerate(documents) for gram in grams(document, size)]
        assert runs.owners.tolist() == [owner for owner, _ in flat]
        pairs = set(zip(runs.tokens.tolist(), (gram for _, gram in flat), strict=True))
        assert len(pairs) == len({gram for _, gram in flat}) == runs.n_types
        assert runs.n_documents == len(documents)


@laws
@given(documents=DOCUMENTS)
def test_shares_per_document_agree_with_sets(documents: Ids) -> None:
    for size in SIZES:
        expected = []
        for index, document in enumerate(documents):
            others = {gram for row, other in enumerate(documents) if row != index for gram in grams(other, size)}
            mine = grams(document, size)
            expected.append(sum(gram not in others for gram in mine) / len(mine) if mine else 0.0)
        assert novel_ngram_shares(documents, size).tolist() == pytest.approx(expected)
        if size == 1:
            assert hapax_shares(documents).tolist() == pytest.approx(expected)


@laws
@given(documents=DOCUMENTS, data=st.data())
def test_shares_follow_their_documents_and_stay_in_range(documents: Ids, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(documents))))
    shares = novel_ngram_shares(documents, 2)
    assert novel_ngram_shares([documents[row] for row in order], 2).tolist() == shares[list(order)].tolist()
    assert shares.dtype == np.float64
    assert ((shares >= 0) & (shares <= 1)).all()


@laws
@given(documents=DOCUMENTS)
def test_words_and_token_ids_give_the_same_figures(documents: Ids) -> None:
    texts = as_texts(documents)
    assert hapax_shares(texts).tolist() == hapax_shares(documents).tolist()
    assert novel_ngram_shares(texts, 3).tolist() == novel_ngram_shares(documents, 3).tolist()
    assert duplicate_document_share(encode(texts)) == duplicate_document_share(encode(documents))


def test_documents_without_words_score_nothing_and_lower_the_mean() -> None:
    assert hapax_shares(["a b", "", "...", "c"]).tolist() == [1, 0, 0, 1]
    assert novel_ngram_shares(["a b c", "a b", ""], 3).tolist() == [1, 0, 0]
    assert hapax_shares([""]).tolist() == [0]
    assert novel_ngram_shares(["a b c"], 10**9).tolist() == [0]
    assert hapax_shares([[], []]).tolist() == [0, 0]


def test_words_do_not_depend_on_case_layout_and_normal_form() -> None:
    assert hapax_shares(["Caf\u00e9!", "CAFE\u0301\n", "tea"]).tolist() == [0, 0, 1]


@laws
@given(documents=DOCUMENTS.filter(lambda rows: any(len(row) >= 4 for row in rows)))
def test_figures_of_a_look_agree_with_counters(documents: Ids) -> None:
    stream = encode(documents)
    for size in (1, 2, 3, 4):
        found = [gram for document in documents for gram in grams(document, size)]
        assert distinct_share(stream, size) == len(set(found)) / len(found)
    bigrams = Counter(gram for document in documents for gram in grams(document, 2))
    assert bigram_singleton_share(stream) == pytest.approx(np.mean([count == 1 for count in bigrams.values()]))
    kinds = {tuple(document) for document in documents}
    assert duplicate_document_share(stream) == pytest.approx(1 - len(kinds) / len(documents))
    runs = [grams(document, 4) for document in documents if len(document) >= 4]
    assert loop_share(stream) == pytest.approx(np.mean([1 - len(set(run)) / len(run) for run in runs]))


def test_compression_is_that_of_zlib_on_words() -> None:
    raw = b"the cat sat\non the mat"
    assert compression_ratio(encode(["The cat; sat!", "", "On the  MAT"])) == len(raw) / len(
        zlib.compress(raw, level=6)
    )
    ids = np.array([0, 1, 0, 2], dtype="<u4").tobytes()
    assert compression_ratio(encode([[70_000, 5, 70_000], [9]])) == len(ids) / len(zlib.compress(ids, level=6))


def test_distinct_shares_agree_with_the_diversity_package_on_one_document() -> None:
    reason = "the diversity package wants transformers below 5 and torch, which the pins exclude"
    diversity = pytest.importorskip("diversity", reason=reason)
    words = np.random.default_rng(0).zipf(1.5, size=2_000) % 200
    text = " ".join(f"w{word}" for word in words)
    stream = encode([text])
    ours = sum(distinct_share(stream, size) for size in (1, 2, 3, 4))
    assert diversity.ngram_diversity_score([text], num_n=4) == pytest.approx(ours, abs=5.1e-4)
    looped = " ".join(["w1 w2 w3 w4"] * 500)
    theirs = [diversity.compression_ratio([one], "gzip") for one in (text, looped)]
    assert theirs[0] < theirs[1]
    assert compression_ratio(stream) < compression_ratio(encode([looped]))


def test_a_budget_takes_documents_in_order_and_cuts_the_last() -> None:
    documents = ["a b c", "", "d e f", "g", "h"]
    stream = token_budget(documents, n_tokens=5)
    assert (stream.owners.tolist(), stream.words, stream.n_documents) == ([0, 0, 0, 2, 2], ("a", "b", "c", "d", "e"), 3)
    assert token_budget(documents, n_tokens=8).n_documents == 5
    assert token_budget(["x y", "x x"], n_tokens=4).n_types == 2
    assert token_budget(stream, n_tokens=1).words == ("a",)


@laws
@given(documents=DOCUMENTS.filter(any), data=st.data())
def test_a_budget_gives_what_cutting_the_documents_by_hand_gives(documents: Ids, data: st.DataObject) -> None:
    n_tokens = data.draw(st.integers(1, sum(map(len, documents))))
    cut, left = [], n_tokens
    for document in documents:
        if left == 0:
            break
        cut.append(document[:left])
        left -= len(cut[-1])
    found, expected = token_budget(documents, n_tokens=n_tokens), encode(cut)
    assert found.tokens.tolist() == expected.tokens.tolist()
    assert found.owners.tolist() == expected.owners.tolist()
    assert (found.n_types, found.n_documents) == (expected.n_types, expected.n_documents)
    assert np.array_equal(hapax_shares(found), hapax_shares(cut))


def test_fewer_tokens_than_the_budget_is_an_error_that_counts_them() -> None:
    with pytest.raises(
        StatisticError, match="documents hold 3 tokens, n_tokens asks for 4; pass more text or lower it"
    ):
        token_budget(["a b", "c"], n_tokens=4)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ("one text", r"documents must be a list of documents, got one text; pass \[text\]"),
        (b"bytes", "documents must be a list of documents"),
        ([], "documents are empty"),
        (["a", 3], r"documents\[1\] is int, documents\[0\] is text; pass texts or token ids, not both"),
        (["a", None], r"documents\[1\] is NoneType, documents\[0\] is text"),
        ([[1], "a"], r"documents\[1\] is text, documents\[0\] is not"),
        ([[1], [0.5]], r"documents\[1\] must be text or a flat list of token ids .* an array of float64, shape \(1,\)"),
        ([[1], [float("nan")]], r"documents\[1\] must be text or a flat list"),
        ([[1], 2], r"documents\[1\] must be text or a flat list of token ids \(whole numbers\), got int"),
        ([None], r"documents\[0\] must be text or a flat list of token ids \(whole numbers\), got NoneType"),
        ([[[1, 2]]], r"documents\[0\] must be text or a flat list"),
        ([[[1], [1, 2]]], r"documents\[0\] must be text or a flat list"),
        (["a", "b\ud800"], r"documents\[1\] is not Unicode text \(surrogates not allowed\)"),
    ],
)
def test_documents_that_are_none_are_refused_with_their_place(documents: Any, message: str) -> None:
    for call in (hapax_shares, lambda rows: novel_ngram_shares(rows, 2), lambda rows: token_budget(rows, n_tokens=1)):
        with pytest.raises(StatisticError, match=message) as caught:
            call(documents)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [0, -1, 2.0, True, None])
def test_a_size_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(StatisticError, match="size must be a whole number, 1 or more"):
        novel_ngram_shares(["a b"], size)


@pytest.mark.parametrize("n_tokens", [0, -1, 2.0, True, None])
def test_a_budget_that_is_none_is_refused(n_tokens: Any) -> None:
    with pytest.raises(StatisticError, match="n_tokens must be a whole number, 1 or more"):
        token_budget(["a b"], n_tokens=n_tokens)


UNDEFINED: list[Callable[[TokenStream], float]] = [
    lambda stream: distinct_share(stream, 3),
    bigram_singleton_share,
    loop_share,
    compression_ratio,
]


@pytest.mark.parametrize("figure", UNDEFINED)
def test_a_figure_that_documents_do_not_have_is_an_error(figure: Callable[[TokenStream], float]) -> None:
    with pytest.raises(StatisticError, match=r"no document holds . tokens in a row|documents hold no token"):
        figure(encode(["", "..."]))


@pytest.mark.skipif("COLLAPSE_GUARD_DATA" not in os.environ, reason="COLLAPSE_GUARD_DATA is not set: no real data here")
@pytest.mark.science
def test_real_sentences_have_the_shares_that_the_note_measured() -> None:
    lines = (Path(os.environ["COLLAPSE_GUARD_DATA"]) / "text" / "wikitext-2-valid.txt").read_text("utf-8").splitlines()
    prose = [line.strip() for line in lines if line.strip() and not line.strip().startswith("=")]
    look = [sentence for line in prose for sentence in line.split(" . ") if len(sentence.split()) > 2][:1_500]
    hapax, novel = hapax_shares(look), novel_ngram_shares(look, 3)
    print(f"\n{len(look)} sentences: hapax share {hapax.mean():.3f}, novel trigrams {novel.mean():.3f}")  # noqa: T201
    assert hapax.mean() == pytest.approx(0.08, abs=0.02)
    assert novel.mean() == pytest.approx(0.80, abs=0.05)
