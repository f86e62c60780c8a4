"""YAML that is no policy: read safely, edited key by key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_guard.errors import InputError
from collapse_guard.policy.yaml_text import front_matter, key_lines, read_front_matter, read_yaml, with_keys, yaml_text

if TYPE_CHECKING:
    from pathlib import Path

names = st.text(alphabet="abcdefghij_", min_size=1, max_size=6).filter(lambda name: name not in {"y", "n"})
texts = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=30)
leaves = st.none() | st.booleans() | st.integers() | texts | st.lists(texts, max_size=3)
values = st.recursive(leaves, lambda inner: st.dictionaries(names, inner, max_size=3), max_leaves=5)
mappings = st.dictionaries(names, values, max_size=5)


@given(mappings, mappings)
def test_setting_keys_is_a_merge(before: dict[str, Any], keys: dict[str, Any]) -> None:
    text = yaml_text(before) if before else ""
    assert read_yaml(with_keys(text, keys, file="x"), file="x") == before | keys


@given(mappings, mappings)
def test_setting_keys_twice_changes_nothing(before: dict[str, Any], keys: dict[str, Any]) -> None:
    once = with_keys(yaml_text(before) if before else "", keys, file="x")
    assert with_keys(once, keys, file="x") == once


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\n# of b\nb: 2\n", "a: 9\n# of b\nb: 2\n"),
        ("a:\n- 1\n\n# of b\nb: 2\n", "a: 9\n\n# of b\nb: 2\n"),
        ("a: {x: 1,\n  y: 2} # end\nb: 2\n", "a: 9\nb: 2\n"),
        ("a: |\n  text\n  # text too\nb: 2\n", "a: 9\nb: 2\n"),
        ("a: >-\n  text\n\n\nb: 2\n", "a: 9\n\n\nb: 2\n"),
        ('a: "one\n  two"\nb: 2\n', "a: 9\nb: 2\n"),
        ("b: 2\na:", "b: 2\na: 9\n"),
        ("a:\nb: 2\n", "a: 9\nb: 2\n"),
        ("b: 2 # last", "b: 2 # last\na: 9\n"),
        ("a: 1\r\nb: 2\r\n", "a: 9\nb: 2\r\n"),
    ],
)
def test_only_the_lines_of_the_key_are_replaced(text: str, expected: str) -> None:
    assert with_keys(text, {"a": 9}, file="x") == expected


def test_a_key_that_stands_twice_is_refused_with_its_line() -> None:
    with pytest.raises(InputError, match=r"x:3: the key 'a' stands twice"):
        read_yaml("a: 1\nb: 2\na: 3\n", file="x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\n", "x:2: not YAML"),
        ("- 1\n", "expected a mapping of keys, got list"),
        ("!!python/object/apply:os.system ['true']\n", "not YAML"),
        ("just text\n", "expected a mapping of keys, got str"),
    ],
)
def test_other_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_yaml(text, file="x")


def test_an_empty_document_is_an_empty_mapping() -> None:
    assert read_yaml("# nothing\n", file="x") == {}
    assert key_lines("", file="x") == {}


def test_shared_values_are_written_out() -> None:
    shared = ["a"]
    assert "&" not in yaml_text({"one": shared, "two": shared})


@pytest.mark.parametrize(
    ("text", "head", "body"),
    [
        ("# Title\n", "", "# Title\n"),
        ("---\na: 1\n", "", "---\na: 1\n"),  # never closed: no front matter
        ("\ufeff---\na: 1\n---\nx", "a: 1\n", "x"),
        ("---\r\na: 1\r\n---\r\nx", "a: 1\r\n", "x"),
        ("---\n---\nx\n---\n", "", "x\n---\n"),
        ("text\n---\na: 1\n---\n", "", "text\n---\na: 1\n---\n"),
    ],
)
def test_front_matter(text: str, head: str, body: str) -> None:
    assert front_matter(text) == (head, body)


def test_the_front_matter_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("---\nlicense: mit\n---\n# Rows\n")
    assert read_front_matter(path) == {"license": "mit"}
    path.write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"README\.md: cannot be read"):
        read_front_matter(path)
    with pytest.raises(InputError, match="name a dataset card"):
        read_front_matter(tmp_path / "none.md")
