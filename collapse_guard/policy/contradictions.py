"""Policies that parse and cannot be kept (CG002)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collapse_guard.policy.waiver import UNWAIVABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.policy.schema import Policy

    Contradiction = tuple[tuple[str | int, ...], str]


#: Without these real rows could leave, a manifest be changed, or its parent be hidden, and the gate would pass.
UNSAFE_TO_LOWER: Final = UNWAIVABLE - {"CG904", "CG905"} | {"CG007", "CG201", "CG202", "CG208"}


def contradictions(policy: Policy) -> Iterator[Contradiction]:
    """Yield (path of the key, what it contradicts) for everything that cannot hold at once."""
    yield from _within_sources(policy)
    yield from _between_sources(policy)
    yield from _wanted(policy)
    yield from _needs(policy)
    yield from _scope(policy)
    yield from _drift_and_origins(policy)
    yield from _waivers(policy)
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


def _wanted(policy: Policy) -> Iterator[Contradiction]:
    """Yield what is wrong with the shares that sources want."""
    wanted, by_generator = 0.0, dict[str, float]()
    for name, source in policy.sources.items():
        if source.share is None:
            continue
        wanted += source.share
        if source.origin not in {"synthetic", None}:
            yield ("sources", name, "share"), f"shares are wanted of synthetic sources, this one is {source.origin}"
        if source.max_share is not None and source.share > source.max_share:
            yield ("sources", name, "share"), f"it is above this source's max_share {source.max_share:g}"
        if source.min_share is not None and source.share < source.min_share:
            yield ("sources", name, "share"), f"it is below this source's min_share {source.min_share:g}"
        if source.generator is not None:
            by_generator[source.generator] = by_generator.get(source.generator, 0.0) + source.share
    yield from _above_generator_cap(by_generator, policy.mix.per_generator_max_share)
    floor, ratio = policy.mix.real_min_share, policy.mix.synthetic_to_real_max
    if wanted > 1 - floor + 1e-9 or wanted >= 1:
        text = f"the wanted shares add up to {wanted:g}, real_min_share {floor:g} leaves {1 - floor:g}"
        yield ("sources",), text if wanted < 1 or floor > 0 else f"the wanted shares add up to {wanted:g}, 1 or more"
    elif ratio is not None and wanted > (1 - wanted) * ratio + 1e-9:
        text = f"the wanted shares add up to {wanted:g}, {ratio:g} synthetic to 1 real leaves {ratio / (1 + ratio):g}"
        yield ("mix", "synthetic_to_real_max"), text
    if policy.mix.balance == "anchor" and any(source.share is not None for source in policy.sources.values()):
        yield ("mix", "balance"), "sources.<name>.share deals the synthetic rows already; use one of the two"


def _above_generator_cap(wanted: dict[str, float], cap: float | None) -> Iterator[Contradiction]:
    for generator, share in wanted.items():
        if cap is not None and share > cap + 1e-9:
            text = f"sources of the generator {generator!r} want shares of {share:g}, which is above it"
            yield ("mix", "per_generator_max_share"), text


def _needs(policy: Policy) -> Iterator[Contradiction]:
    """Yield what is asked of classes where the policy has none, and of weights that are read."""
    has_classes = policy.coverage is not None and bool(policy.coverage.cells)
    asked = {
        "balance": policy.mix.balance == "anchor",
        "budget": policy.mix.budget is not None,
        "per_class_max_synthetic_share": policy.mix.per_class_max_synthetic_share is not None,
    }
    for key, is_asked in asked.items():
        if is_asked and not has_classes:
            yield ("mix", key), "it goes by class, and the policy has no coverage.cells that say what a class is"
    if policy.mix.per_generation_max_share == ():
        yield ("mix", "per_generation_max_share"), "an empty list caps nothing; name shares, or leave it out"
    if policy.mix.weights == "golden" and policy.unit == "weight":
        yield ("mix", "weights"), "unit: weight reads weights from a column, golden makes them; use one of the two"
    if policy.unit_column is not None and policy.unit == "rows":
        yield ("unit_column",), "rows count 1 each; set unit to tokens, bytes or weight, or leave the column out"


def _scope(policy: Policy) -> Iterator[Contradiction]:
    for name in policy.accumulation.scope or ():
        source = policy.sources.get(name)
        if source is not None and source.origin not in {"real", None}:
            yield ("accumulation", "scope"), f"source {name!r} is {source.origin}; only real sources accumulate"
        if source is not None and source.accumulate == "off":
            yield ("accumulation", "scope"), f"source {name!r} is in the scope, and its accumulate is off"
    for name, source in policy.sources.items():
        if source.accumulate == "strict" and policy.accumulation.scope and name not in policy.accumulation.scope:
            yield ("sources", name, "accumulate"), "strict, and accumulation.scope does not name this source"


def _drift_and_origins(policy: Policy) -> Iterator[Contradiction]:
    drift, provenance = policy.mix.drift, policy.provenance
    if drift is not None and drift.warn > drift.error:
        yield ("mix", "drift", "warn"), f"it is above mix.drift.error {drift.error:g}"
    for name, source in policy.sources.items():
        made_by = source.generator
        if made_by is not None and any(
            made_by == own or made_by.startswith(f"{own}@") for own in provenance.forbid_reentry_of
        ):
            yield ("sources", name, "generator"), f"provenance.forbid_reentry_of keeps {made_by!r} out"
    unknown = sum(source.min_share or 0 for source in policy.sources.values() if source.origin == "unknown")
    if provenance.max_unknown_share is not None and unknown > provenance.max_unknown_share + 1e-9:
        text = f"floors of sources of unknown origin add up to {unknown:g}, which is above it"
        yield ("provenance", "max_unknown_share"), text


def _waivers(policy: Policy) -> Iterator[Contradiction]:
    seen: set[str] = set()
    for number, waiver in enumerate(policy.waivers):
        if waiver.id in seen:
            yield ("waivers", number, "id"), f"a waiver called {waiver.id!r} stands above; each has a name of its own"
        seen.add(waiver.id)
