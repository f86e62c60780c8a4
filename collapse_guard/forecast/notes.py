"""What a policy and its rows add to what the model leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.forecast.loops import is_capped, plentiful_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.forecast.loops import Loop
    from collapse_guard.forecast.population import Population
    from collapse_guard.policy import Policy


def notes_on(policy: Policy, loop: Loop, population: Population, generations: int) -> Iterator[str]:
    """Yield a sentence for everything of the policy or the real rows that is forecast otherwise than it is written."""
    yield from _on_rows(policy, loop)
    depth = policy.provenance.max_generation_depth
    if generations - 1 > depth:
        yield (
            f"The policy lets in generated rows of generation {depth} and below (provenance.max_generation_depth); this"
            " forecast lets in those of every generation."
        )
    if any(source.max_share is not None for source in policy.sources.values()):
        yield "Caps of single sources (sources.*.max_share) are not known to the forecast."
    if policy.filters.quality is not None:
        yield "filters.quality keeps the same share of every class: the rows here are those that it lets through."
    n_unclaimed = population.n_rows - int(population.rows.sum())
    if n_unclaimed:
        yield f"{n_unclaimed} real rows carry no class; together they count as one common class."


def _on_rows(policy: Policy, loop: Loop) -> Iterator[str]:
    if not is_capped(loop.n_real_rows, policy):
        yield "The policy does not cap generated rows: with more of them per generation, the real share falls further."
    elif loop.n_synthetic_rows < plentiful_rows(loop.n_real_rows, policy):
        yield "The policy would let in more generated rows than there are: its mix may hold a smaller real share."
