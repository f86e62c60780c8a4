"""How the training mix of each generation is made: under the policy, under replace, under accumulate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from collapse_guard.errors import PolicyError, Problem
from collapse_guard.mixing import synthetic_limit
from collapse_guard.stats.drift import effective_rows_of_accumulation, effective_rows_of_mix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from collapse_guard.policy import Policy

#: A cap above this is none: no generator makes so many rows.
UNCAPPED: Final = 10**12


@dataclass(frozen=True, slots=True)
class Loop:
    """One way of mixing, repeated in every generation.

    Args:
        name: ``policy``, ``replace`` or ``accumulate``.
        n_rows: generated rows per generation, and rows of a look.
        n_real_rows: real rows, the same in every generation.
        n_synthetic_rows: generated rows of the last generation that enter the next mix, at most ``n_rows``.
        real_share: share of real rows in the mix from the second generation on.
        keeps_everything: every generated set stays in the mix; ``real_share`` is then that of the last mix.
    """

    name: str
    n_rows: int
    n_real_rows: int
    n_synthetic_rows: int
    real_share: float
    keeps_everything: bool = False

    def effective_rows(self, generations: int) -> NDArray[np.float64]:
        """Return the fresh real rows that each generation is worth, shape (generations,)."""
        if self.keeps_everything:
            return effective_rows_of_accumulation(
                n_rows=self.n_rows, n_real_rows=self.n_real_rows, generations=generations
            )
        return effective_rows_of_mix(
            n_rows=self.n_rows,
            n_synthetic_rows=self.n_synthetic_rows,
            real_share=self.real_share,
            generations=generations,
        )

    def with_real_share(self, real_share: float) -> Loop:
        """Return this loop with another real share, and as many generated rows in the mix as before (all, if none)."""
        return replace(self, real_share=real_share, n_synthetic_rows=self.n_synthetic_rows or self.n_rows)


def loops_of(policy: Policy, *, n_real_rows: int, n_rows: int | None, generations: int) -> tuple[Loop, ...]:
    """Return the loops to compare: policy, replace and, unless it does the same as the policy, accumulate.

    Args:
        policy: its caps say how many generated rows enter, as in :mod:`collapse_guard.mixing`.
        n_real_rows: 1 or more.
        n_rows: generated rows per generation, after filters; None for as many as the policy lets in.
        generations: 1 or more.

    Raises PolicyError if the policy counts another unit than rows.
    """
    if policy.unit != "rows":
        text = f"a forecast counts rows, the policy counts {policy.unit}"
        raise PolicyError([Problem("CG001", "policy", None, "unit", text, "set unit: rows")])
    made = plentiful_rows(n_real_rows, policy) if n_rows is None else n_rows
    entering = admitted_rows(made, n_real_rows, policy)
    share = n_real_rows / (n_real_rows + entering)
    under_policy = Loop("policy", made, n_real_rows, entering, share)
    replacing = Loop("replace", made, n_real_rows, made, 0.0)
    last_share = n_real_rows / (n_real_rows + (generations - 1) * made)
    keeping = Loop("accumulate", made, n_real_rows, made, last_share, keeps_everything=True)
    same = np.allclose(keeping.effective_rows(generations), under_policy.effective_rows(generations), rtol=1e-12)
    return (under_policy, replacing) if same else (under_policy, replacing, keeping)


def admitted_rows(n_offered_rows: int, n_real_rows: int, policy: Policy) -> int:
    """Return how many of ``n_offered_rows`` of one generator enter a mix beside ``n_real_rows``.

    The caps of the whole mix, and that of a single generator; caps of named sources are not known here.

    >>> from collapse_guard.policy import policy_from_mapping
    >>> admitted_rows(500, 100, policy_from_mapping({"version": 1, "mix": {"per_generator_max_share": 0.2}}))
    25
    """
    most = math.floor(min(n_offered_rows, synthetic_limit(n_real_rows, policy)) + 1e-9)
    share = policy.mix.per_generator_max_share
    if share is None or share == 1:
        return most
    return min(most, math.floor((share * n_real_rows + 1e-9) / (1 - share)))


def is_capped(n_real_rows: int, policy: Policy) -> bool:
    """Say whether the policy bounds the generated rows of a mix at all."""
    return admitted_rows(2 * UNCAPPED, n_real_rows, policy) <= UNCAPPED


def plentiful_rows(n_real_rows: int, policy: Policy) -> int:
    """Return the generated rows that fill the policy's caps; as many as real rows if it lets in none or any number."""
    return (admitted_rows(UNCAPPED, n_real_rows, policy) if is_capped(n_real_rows, policy) else 0) or n_real_rows
