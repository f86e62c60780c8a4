"""How much of what went in, and what became of the real rows of the parent, as plain values for the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from collapse_guard.errors import CollapseGuardError
from collapse_guard.manifest.chain import chain_of
from collapse_guard.manifest.figures import origin_rows
from collapse_guard.manifest.index import origin_name
from collapse_guard.records import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapse_guard.manifest import Limits, Loss, Manifest
    from collapse_guard.policy import Policy
    from collapse_guard.rules.registry import Subject

#: Sources and generators that are listed; the largest ones.
MOST_NAMES: Final = 500


def share_of(part: float, whole: float) -> float:
    """Return a part of a whole, 0 of nothing.

    >>> share_of(1, 4), share_of(1, 0)
    (0.25, 0.0)
    """
    return part / whole if whole > 0 else 0.0


def mix_of(policy: Policy | None, generations: list[tuple[str, Manifest]], limits: Limits | None) -> dict[str, Any]:
    """Return rows and amount by origin of each generation, and by source with the floor and cap of each."""
    sources, n_more = _sources(policy, generations, limits)
    return {
        "unit": generations[-1][1].header.unit,
        "real_min_share": None if policy is None else policy.mix.real_min_share,
        "generations": [_generation(which, each, limits) for which, each in generations],
        "sources": sources,
        "n_more_sources": n_more,
    }


def _generation(which: str, manifest: Manifest, limits: Limits | None) -> dict[str, Any]:
    rows, amounts = (count("origin", limits=limits) for count in (manifest.rows_by, manifest.amount_by))
    n_rows, amount = sum(rows.values()), sum(amounts.values())
    origins = [
        {
            "origin": origin_name(code),
            "rows": rows[code,],
            "amount": amounts[code,],
            "row_share": share_of(rows[code,], n_rows),
            "amount_share": share_of(amounts[code,], amount),
        }
        for (code,) in sorted(rows, key=_real_first)
    ]
    return named(which, manifest) | {"rows": n_rows, "amount": amount, "origins": origins}


def _real_first(group: tuple[Any, ...]) -> tuple[bool, int]:
    (code,) = group
    return (code != Origin.REAL, code)


def named(which: str, manifest: Manifest) -> dict[str, Any]:
    """Return what a manifest is called on the page."""
    return {"which": which, "name": manifest.header.name, "generation": manifest.header.generation}


def _sources(
    policy: Policy | None, generations: list[tuple[str, Manifest]], limits: Limits | None
) -> tuple[list[dict[str, Any]], int]:
    """Return the largest sources of all generations, and how many more there are."""
    declared = {} if policy is None else policy.sources
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in declared}
    origins: dict[str, set[str]] = {name: set() for name in declared}
    for which, manifest in generations:
        rows, amounts = (count("source", limits=limits) for count in (manifest.rows_by, manifest.amount_by))
        for (name,), n_rows in rows.items():
            held = {"rows": n_rows, "amount": amounts[name,], "share": share_of(amounts[name,], manifest.amount)}
            found.setdefault(name, {})[which] = held
        for name, code in manifest.rows_by("source", "origin", limits=limits):
            origins.setdefault(name, set()).add(origin_name(code))
    listed = [
        {
            "source": name,
            "origins": sorted(origins[name]),
            "min_share": declared[name].min_share if name in declared else None,
            "max_share": declared[name].max_share if name in declared else None,
            "generations": held,
        }
        for name, held in sorted(found.items(), key=lambda item: (-item[1].get("this", {}).get("amount", 0), item[0]))
    ]
    return listed[:MOST_NAMES], len(listed[MOST_NAMES:])


def accumulation_of(subject: Subject, manifest: Manifest) -> dict[str, Any] | None:
    """Return the real rows of each source before and now, and the sizes of the chain; None without a parent."""
    if subject.previous is None:
        return None
    proof, policy = subject.proof, subject.policy
    before, now = (_real_rows(each, subject.limits) for each in (subject.previous, manifest))
    lost, taken = ({}, {}) if proof is None else (_by_source(each) for each in (proof.loss, proof.taken_down))
    names = sorted({*before, *now}, key=lambda name: (-before.get(name, 0), name))
    counted = [
        {
            "source": name,
            "in_scope": proof is not None and _is_in_scope(policy, name),
            "before": before.get(name, 0),
            "now": now.get(name, 0),
            "lost": lost.get(name, 0),
            "taken_down": taken.get(name, 0),
        }
        for name in names
    ]
    return {
        "level": None if proof is None else proof.level.value,
        "sources": [_kept(each) if each["in_scope"] else each for each in counted[:MOST_NAMES]],
        "n_more_sources": len(counted[MOST_NAMES:]),
        "chain": _chain(subject, manifest),
    }


def _kept(source: dict[str, Any]) -> dict[str, Any]:
    """Return a source in the scope of the proof with the rows that were kept, and those that came on balance."""
    retained = max(source["before"] - source["lost"] - source["taken_down"], 0)
    return source | {"retained": retained, "added": source["now"] - retained}


def _is_in_scope(policy: Policy | None, name: str) -> bool:
    if policy is None:
        return False
    declared, scope = policy.sources.get(name), policy.accumulation.scope
    return (scope is None or name in scope) and (declared is None or declared.accumulate != "off")


def _real_rows(manifest: Manifest, limits: Limits | None) -> dict[str, int]:
    counted = manifest.rows_by("source", "origin", limits=limits)
    return {name: rows for (name, code), rows in counted.items() if code == Origin.REAL}


def _by_source(loss: Loss) -> dict[str, int]:
    rows: dict[str, int] = {}
    for source, _, n_rows in loss.by_source_and_class:
        rows[source] = rows.get(source, 0) + n_rows
    return rows


def _chain(subject: Subject, manifest: Manifest) -> list[dict[str, Any]]:
    """Return the sizes of all generations that are found on disk, oldest first; those given, if none can be found."""
    if manifest.path is not None:
        beside = subject.previous.path.parent if subject.previous and subject.previous.path else manifest.path.parent
        try:
            headers = [link.header for link in chain_of(manifest.path, [beside])]
        except (CollapseGuardError, OSError):
            headers = []  # a circle or a lost folder is for the rules to tell; here stand the sizes of what was given
        if len(headers) > 1:
            return [_sizes(header.name, header.generation, origin_rows(header)) for header in headers]
    given = [each.header for each in (subject.previous, manifest) if each is not None]
    return [_sizes(header.name, header.generation, origin_rows(header)) for header in given]


def _sizes(name: str, generation: int, rows: Mapping[str, int]) -> dict[str, Any]:
    real = rows.get(origin_name(Origin.REAL), 0)
    return {"name": name, "generation": generation, "rows": sum(rows.values()), "real_rows": real}
