"""What the metadata of a dataset card says about the origin of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.errors import ProvenanceError
from collapse_guard.records import Evidence, Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Who wrote the content, and who wrote the labels.
CREATOR_KEYS: Final = ("language_creators", "annotations_creators")
#: Section that our own export writes.
OWN_KEY: Final = "collapse_guard"

_MACHINE: Final = "machine-generated"
_PEOPLE: Final = frozenset({"crowdsourced", "expert-generated"})
#: Says that there are no labels: nothing about who made anything.
_SILENT: Final = "no-annotation"
#: More synthetic comes later; unknown content may be generated, so it outweighs real.
_WEIGHT: Final = (Origin.REAL, Origin.UNKNOWN, Origin.DERIVED, Origin.MIXED, Origin.SIMULATED, Origin.SYNTHETIC)


@dataclass(frozen=True, slots=True)
class Declared:
    """The origin that a card declares.

    Args:
        origin: the most synthetic one that any statement makes.
        evidence: ``declared``, or ``none`` for an unknown origin.
        generator: the model, if the card names exactly one.
        statements: what each key of the card says by itself.
        n_conflicts: statements that say something else than the origin.
    """

    origin: Origin
    evidence: Evidence
    generator: str | None = None
    statements: tuple[tuple[str, Origin], ...] = ()
    n_conflicts: int = 0

    def describe(self) -> str:
        """Return one line: the origin, and what says so.

        >>> declared_origin({"language_creators": ["found"], "tags": ["synthetic"]}).describe()
        'synthetic (language_creators: unknown, tags: synthetic; 1 conflict, the more synthetic origin stays)'
        """
        said = ", ".join(f"{key}: {origin.name.lower()}" for key, origin in self.statements) or "the card says nothing"
        conflicts = f"{self.n_conflicts} conflict{'' if self.n_conflicts == 1 else 's'}"
        settled = f"; {conflicts}, the more synthetic origin stays" if self.n_conflicts else ""
        return f"{self.origin.name.lower()} ({said}{settled})"


def declared_origin(card: Mapping[str, Any], *, keys: Sequence[str] = CREATOR_KEYS) -> Declared:
    """Return the origin that a card's front matter declares.

    ``machine-generated`` is synthetic, ``crowdsourced`` and ``expert-generated`` are real, ``found`` is unknown and
    never real: what is found today may be generated. A list of several is mixed if one of them is
    ``machine-generated``, else unknown unless all are people. Where keys disagree the more synthetic origin stays.

    Args:
        card: front matter as plain values.
        keys: which keys count: ``("language_creators",)`` if labels are not trained on.

    Raises ProvenanceError for a key that is no list of text. Source: the tags of dataset cards,
    https://github.com/huggingface/hub-docs/blob/main/datasetcard.md.

    >>> declared_origin({"language_creators": ["expert-generated"], "annotations_creators": ["no-annotation"]}).origin
    <Origin.REAL: 1>
    >>> declared_origin({"language_creators": ["found", "machine-generated"]}).origin
    <Origin.MIXED: 3>
    >>> declared_origin({"license": "mit"}).evidence
    <Evidence.NONE: 0>
    """
    read = [(key, _of_creators(_words(card, key))) for key in keys]
    read.append(("tags", Origin.SYNTHETIC if "synthetic" in _words(card, "tags") else None))
    own = card.get(OWN_KEY)
    read.append((OWN_KEY, _of_figures(own)))
    statements = tuple((key, origin) for key, origin in read if origin is not None)
    origin = max((said for _, said in statements), key=_WEIGHT.index, default=Origin.UNKNOWN)
    return Declared(
        origin,
        Evidence.NONE if origin is Origin.UNKNOWN else Evidence.DECLARED,
        _one_generator(own) if origin in {Origin.SYNTHETIC, Origin.MIXED, Origin.DERIVED} else None,
        statements,
        sum(said is not origin for _, said in statements),
    )


def _words(card: Mapping[str, Any], key: str) -> frozenset[str]:
    """Return the words of a key, in small letters; one word may stand without a list."""
    value = card.get(key)
    words: Iterable[Any] = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
        raise ProvenanceError(f"{key} of the card must be a list of words, got {value!r:.60}; correct the card")
    return frozenset(word.strip().lower() for word in words)


def _of_creators(words: frozenset[str]) -> Origin | None:
    """Return what the creators of one key make of the rows, None if it says nothing."""
    stated = words - {_SILENT}
    if not stated:
        return None
    if _MACHINE in stated:
        return Origin.SYNTHETIC if stated == {_MACHINE} else Origin.MIXED
    return Origin.REAL if stated <= _PEOPLE else Origin.UNKNOWN


def _of_figures(own: Any) -> Origin | None:
    """Return the origin that an exported section of ours states."""
    rows = own.get("origin_rows") if isinstance(own, dict) else None
    if not isinstance(rows, dict) or not rows:
        return None
    known = {origin.name.lower(): origin for origin in Origin}
    origins = {known.get(str(name), Origin.UNKNOWN) for name, n_rows in rows.items() if n_rows}
    return origins.pop() if len(origins) == 1 else Origin.MIXED if origins else None


def _one_generator(own: Any) -> str | None:
    found = own.get("generators") if isinstance(own, dict) else None
    if not isinstance(found, list) or len(found) != 1:
        return None
    return found[0] if isinstance(found[0], str) else None
