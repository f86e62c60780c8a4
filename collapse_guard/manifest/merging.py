"""Several manifests of one kind -> one: the shards of all, each content of a source counted once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.errors import ManifestError
from collapse_guard.manifest.header import ParentLink
from collapse_guard.manifest.ladder import refuse_other_rules
from collapse_guard.manifest.making import manifest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapse_guard.manifest.header import FilterReceipt, Header, TakedownEntry
    from collapse_guard.manifest.manifest import Manifest
    from collapse_guard.manifest.shard import Shard

#: What must be the same in all: rows of different ids, units or classes cannot be counted together.
_ALIKE: Final = ("id_rule", "unit", "unit_column", "class_column")


def merge_manifests(
    manifests: Sequence[Manifest], *, name: str, generation: int | None = None, parent: Manifest | None = None
) -> Manifest:
    """Return one manifest of the shards of several; written, it links their parts instead of copying them.

    A shard that stands in two of them (equal digest: the same rows, tags, amounts and source) is counted once. Single
    rows that stand in two shards of different digests are counted twice: ``duplicate_ids`` finds them. Shards of
    different content and equal names get the name of their manifest in front. Parents and filter receipts are those
    of all; the policy digest stays if all agree.

    Args:
        manifests: at least one; each on disk or in memory.
        name: of the result.
        generation: of the result, the highest of the manifests if left out.
        parent: the generation before: the result is the next one and names its digest, and only that.

    Raises ManifestError for no manifest, where id rules, units, class columns or lists of takedowns differ, and for a
    generation beside a parent, which decides it.
    """
    if not manifests:
        raise ManifestError("name at least one manifest to merge")
    if parent is not None and generation is not None:
        raise ManifestError("the generation is 1 + that of the parent; name one of the two")
    if parent is not None:
        refuse_other_rules(parent, manifests[0])
        generation = parent.header.generation + 1
    headers = [manifest.header for manifest in manifests]
    own = (ParentLink(name=parent.header.name, digest=parent.digest),) if parent is not None else None
    for key in _ALIKE:
        _refuse_differences(manifests, key)
    facts: dict[str, Any] = {key: getattr(headers[0], key) for key in _ALIKE}
    policies = {header.policy_digest for header in headers}
    return manifest_of(
        _shards(manifests),
        name=name,
        generation=max(header.generation for header in headers) if generation is None else generation,
        parents=_parents(headers) if own is None else own,
        filters=_filters(headers),
        policy_digest=policies.pop() if len(policies) == 1 else None,
        takedowns=_takedowns(manifests),
        **facts,
    )


def _refuse_differences(manifests: Sequence[Manifest], key: str) -> None:
    first = manifests[0]
    for other in manifests[1:]:
        one, two = getattr(first.header, key), getattr(other.header, key)
        if one != two:
            text = f"{other.name}: {key} is {two!r}, that of {first.name} is {one!r}; write them alike, then merge"
            raise ManifestError(text, path=other.path)


def _shards(manifests: Sequence[Manifest]) -> list[Shard]:
    """Return the shards of all; within one manifest equal shards stay, as they are repeated there on purpose."""
    kept: list[tuple[str, Shard]] = []
    seen: Counter[str] = Counter()
    for manifest in manifests:
        here = Counter(shard.entry.digest for shard in manifest.shards)
        left = here - seen  # those that no manifest before had
        for shard in manifest.shards:
            if left[shard.entry.digest] > 0:
                left[shard.entry.digest] -= 1
                kept.append((manifest.header.name, shard))
        seen |= here
    return _named_apart(kept)


def _named_apart(kept: Sequence[tuple[str, Shard]]) -> list[Shard]:
    """Return shards under names of their own."""
    taken = Counter(shard.entry.name for _, shard in kept)
    used: set[str] = {name for name, times in taken.items() if times == 1}
    named = []
    for owner, shard in kept:
        name = shard.entry.name
        if taken[name] > 1:
            name = _free(f"{owner}/{name}", used)
            used.add(name)
        named.append(replace(shard, entry=shard.entry.model_copy(update={"name": name})))
    return named


def _free(name: str, used: set[str]) -> str:
    number = 2
    tried = name
    while tried in used:
        tried, number = f"{name} ({number})", number + 1
    return tried


def _parents(headers: Sequence[Header]) -> tuple[ParentLink, ...]:
    return tuple({parent.digest: parent for header in headers for parent in header.parents}.values())


def _filters(headers: Sequence[Header]) -> tuple[FilterReceipt, ...]:
    return tuple({receipt.model_dump_json(): receipt for header in headers for receipt in header.filters}.values())


def _takedowns(manifests: Sequence[Manifest]) -> TakedownEntry | None:
    lists = {manifest.header.takedowns for manifest in manifests} - {None}
    if len(lists) > 1:
        text = "the manifests were written under different lists of takedowns; write them under the newest, then merge"
        raise ManifestError(text)
    return lists.pop() if lists else None
