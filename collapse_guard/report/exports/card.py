"""Manifest -> front matter of a dataset card: what the Hub knows tags for, and our figures under ``collapse_guard``.

Source of the tags: https://github.com/huggingface/hub-docs/blob/main/datasetcard.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from collapse_guard._atomic import write_bytes
from collapse_guard.errors import InputError
from collapse_guard.manifest.figures import generators, origin_rows, real_share
from collapse_guard.policy.yaml_text import front_matter, read_yaml, with_keys, yaml_text
from collapse_guard.sources.card import OWN_KEY

if TYPE_CHECKING:
    from pathlib import Path

    from collapse_guard.manifest import Manifest
    from collapse_guard.manifest.header import Header

CARD_SCHEMA: Final = "collapse-guard/card/1"
_MACHINE_MADE: Final = frozenset({"synthetic", "derived", "mixed"})
_SIZES: Final = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
    (10**10, "1B<n<10B"),
    (10**11, "10B<n<100B"),
    (10**12, "100B<n<1T"),
)


def as_card(manifest: Manifest, card: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the keys that a manifest sets in a card's front matter.

    Lists that the ``card`` holds keep their words; ``machine-generated`` and ``synthetic`` are added where a generator
    made rows. Nothing is said about people: that a source is called real does not tell who wrote it.
    """
    header, had = manifest.header, card or {}
    is_made = bool(_MACHINE_MADE & set(origin_rows(header)))
    found: dict[str, Any] = {"size_categories": [size_category(header.index.rows)]}
    if is_made:
        found["language_creators"] = _with(had, "language_creators", ["machine-generated"])
        found["tags"] = _with(had, "tags", ["synthetic"])
    if header.parents:
        found["source_datasets"] = _with(
            had, "source_datasets", [f"extended|other-{parent.name}" for parent in header.parents]
        )
    return found | {OWN_KEY: _figures(manifest)}


def size_category(n_rows: int) -> str:
    """Return the Hub's word for a number of rows.

    >>> size_category(1000)
    '1K<n<10K'
    """
    return next((name for limit, name in _SIZES if n_rows < limit), "n>1T")


def _with(card: dict[str, Any], key: str, words: list[str]) -> list[Any]:
    """Return the list that stands under ``key`` with ``words`` at its end, each once."""
    had = card.get(key)
    kept = [] if had is None else had if isinstance(had, list) else [had]
    return [*kept, *(word for word in words if word not in kept)]


def _figures(manifest: Manifest) -> dict[str, Any]:
    header: Header = manifest.header
    return {
        "schema": CARD_SCHEMA,
        "manifest": manifest.digest,
        "name": header.name,
        "generation": header.generation,
        "parents": [{"name": parent.name, "digest": parent.digest} for parent in header.parents],
        "id_rule": header.id_rule,
        "rows": header.index.rows,
        "unit": header.unit,
        "amount": manifest.amount,
        "real_share": round(real_share(header), 6),
        "origin_rows": origin_rows(header),
        "generators": list(generators(header)),
        "sources": [
            {"name": source.name, "origin": source.origin, "rows": source.rows, "real_rows": source.real_rows}
            for source in header.sources
        ],
    }


def card_text(manifest: Manifest, text: str = "", *, file: str = "README.md") -> str:
    """Return a card's ``text`` with the keys of the manifest set; every other line stays as it is.

    Raises InputError for front matter that is not YAML.
    """
    head, body = front_matter(text)
    keys = as_card(manifest, read_yaml(head, file=file))
    return f"---\n{with_keys(head, keys, file=file) if head else yaml_text(keys)}---\n{body}"


def write_card(manifest: Manifest, path: Path) -> Path:
    """Set the keys of the manifest in the card at ``path``, or write a new one; a reader sees the old or the new."""
    return write_bytes(path, card_text(manifest, read_card_text(path), file=str(path)).encode())


def read_card_text(path: Path) -> str:
    """Return the text of a card, empty if there is none; raises InputError for one that cannot be read."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
