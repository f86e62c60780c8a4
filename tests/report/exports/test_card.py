"""Dataset cards: our keys are set, all else stays byte for byte, and what was written reads back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collapse_guard.errors import InputError
from collapse_guard.manifest import Manifest, manifest_of, shard_of, write_manifest
from collapse_guard.policy.yaml_text import front_matter, read_yaml
from collapse_guard.records import Origin
from collapse_guard.report.exports import as_card, card_text, write_card
from collapse_guard.report.exports.card import size_category
from collapse_guard.sources import declared_origin
from tests.report.exports.conftest import index_rows

if TYPE_CHECKING:
    from pathlib import Path

CARD = """\
---
license: cc0-1.0   # as the owner says
tags:
- cats
# who wrote it
language_creators: [found]

size_categories:
  - 1M<n<10M
pretty_name: "Rows: the set"
---
# Rows

---
Text with a rule above.
"""


def test_other_lines_stay_as_they_are(on_disk: Manifest) -> None:
    text = card_text(on_disk, CARD)
    head, body = front_matter(text)
    assert body == CARD.partition('"Rows: the set"\n---\n')[2]
    for line in ("license: cc0-1.0   # as the owner says\n", "# who wrote it\n", 'pretty_name: "Rows: the set"\n'):
        assert line in head
    values = read_yaml(head, file="README.md")
    assert values["tags"] == ["cats", "synthetic"]
    assert values["language_creators"] == ["found", "machine-generated"]
    assert values["size_categories"] == ["n<1K"]
    assert values["source_datasets"] == ["extended|other-gen0"]
    assert values["collapse_guard"]["manifest"] == on_disk.digest
    assert values["collapse_guard"]["origin_rows"] == {"real": 5, "synthetic": 3}


def test_a_second_export_changes_nothing(on_disk: Manifest) -> None:
    once = card_text(on_disk, CARD)
    assert card_text(on_disk, once) == once


def test_a_text_without_front_matter_gets_one(on_disk: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("# Rows\n")
    write_card(on_disk, path)
    head, body = front_matter(path.read_text(encoding="utf-8"))
    assert body == "# Rows\n"
    assert read_yaml(head, file="README.md") == as_card(on_disk)


def test_a_new_card_is_written(on_disk: Manifest, tmp_path: Path) -> None:
    path = write_card(on_disk, tmp_path / "new" / "README.md")
    assert path.read_text(encoding="utf-8").startswith("---\nsize_categories:\n")


def test_what_was_written_is_read_as_declared(on_disk: Manifest) -> None:
    found = declared_origin(as_card(on_disk))
    assert found.origin is Origin.SYNTHETIC  # language_creators and tags say so; the more synthetic origin stays
    assert found.generator == "my model@1"
    assert declared_origin(as_card(on_disk), keys=()).statements[-1] == ("collapse_guard", Origin.MIXED)


def test_nothing_is_said_about_people(tmp_path: Path) -> None:
    shard = shard_of(index_rows([{"id": n} for n in range(3)]), name="web#0")
    manifest = write_manifest(manifest_of([shard], name="gen0", generation=0), tmp_path / "gen0.cgm.json")
    assert set(as_card(manifest)) == {"size_categories", "collapse_guard"}
    assert declared_origin(as_card(manifest)).origin is Origin.REAL


@pytest.mark.parametrize("head", ["a: [\n", "a: 1\na: 2\n", "- a\n"])
def test_a_card_that_is_no_mapping_is_refused(on_disk: Manifest, head: str) -> None:
    with pytest.raises(InputError, match=r"README\.md"):
        card_text(on_disk, f"---\n{head}---\n")


@pytest.mark.parametrize(
    ("n_rows", "name"), [(0, "n<1K"), (999, "n<1K"), (10**6, "1M<n<10M"), (10**12 - 1, "100B<n<1T"), (10**12, "n>1T")]
)
def test_sizes(n_rows: int, name: str) -> None:
    assert size_category(n_rows) == name
