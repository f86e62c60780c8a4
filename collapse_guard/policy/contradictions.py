"""Policies that parse and cannot be kept (CG002)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.policy.schema import Policy

    Contradiction = tuple[tuple[str, ...], str]


#: Without these real rows could leave, a manifest be changed, or its parent be hidden, and the gate would pass.
UNSAFE_TO_LOWER: Final = frozenset({"CG001", "CG002", "CG003", "CG004", "CG201", "CG202", "CG204"})


def contradictions(policy: Policy) -> Iterator[Contradiction]:
    """Yield (path of the key, what it contradicts) for everything that cannot hold at once."""
    yield from _within_sources(policy)
    yield from _between_sources(policy)
    yield from _scope(policy)
    for code, severity in policy.severity.items():
        if code in UNSAFE_TO_LOWER and severity != "error":
            yield (
                ("severity", code),
                f"{code} guards the real rows and the evidence: it cannot be lowered to {severity}",
            )


def _within_sources(policy: Policy) -> Iterator[Contradiction]:
    for name, source in policy.sources.items():
        low, high = source.min_share, source.max_share
        if low is not None and high is not None and low > high:
            yield ("sources", name, "min_share"), f"floor {low:g} is above this source's max_share {high:g}"
        if source.origin == "real" and source.generator is not None:
            yield ("sources", name, "generator"), "a real source has no generator"


def _between_sources(policy: Policy) -> Iterator[Contradiction]:
    sources = policy.sources
    floors = sum(source.min_share or 0 for source in sources.values())
    if floors > 1 + 1e-9:
        yield ("sources",), f"the min_share floors add up to {floors:g}, more than 1"
    caps = [source.max_share for source in sources.values()]
    names_real = any(source.origin == "real" for source in sources.values())  # else real rows come from elsewhere
    if names_real and all(cap is not None for cap in caps) and sum(cap or 0 for cap in caps) < 1 - 1e-9:
        yield ("sources",), f"the max_share caps add up to {sum(cap or 0 for cap in caps):g}, less than 1"
    made = sum(source.min_share or 0 for source in sources.values() if source.origin not in {"real", None})
    if made > 1 - policy.mix.real_min_share + 1e-9:
        text = f"floors of non-real sources add up to {made:g}, real_min_share {policy.mix.real_min_share:g} leaves"
        yield ("mix", "real_min_share"), f"{text} {1 - policy.mix.real_min_share:g}"


def _scope(policy: Policy) -> Iterator[Contradiction]:
    for name in policy.accumulation.scope or ():
        source = policy.sources.get(name)
        if source is not None and source.origin not in {"real", None}:
            yield ("accumulation", "scope"), f"source {name!r} is {source.origin}; only real sources accumulate"
        if source is not None and source.accumulate == "off":
            yield ("accumulation", "scope"), f"source {name!r} is in the scope, and its accumulate is off"
