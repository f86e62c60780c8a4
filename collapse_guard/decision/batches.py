"""What training batches carried + policy -> continue, warn or halt.

Two kinds of fault: rows that cannot be there at all (an origin that the manifest does not hold, a generation beyond the
policy's depth) are acted on at once; a share under its floor is acted on when Hoeffding's bound says that chance alone
would do so too rarely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collapse_guard.records import Action, Decision, Origin, RunReason
from collapse_guard.stats import log_level_of_check, log_p_share_below, units_that_count

if TYPE_CHECKING:
    from collapse_guard.policy import Policy
    from collapse_guard.stats import BatchCounts


@dataclass(frozen=True, slots=True)
class BatchView:
    """What a check of the batches sees.

    Args:
        total: all that was counted since the run began.
        latest: what was counted since the check before.
        number: number of this check, from 1.
        held: origins that the manifest holds; None without a manifest.
        whole: whether this check ends an epoch.
    """

    total: BatchCounts
    latest: BatchCounts
    number: int
    held: frozenset[Origin] | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Floor:
    """A share of real rows that the policy asks for.

    Args:
        what: what the share is of, for people.
        share: the floor.
        among: origins that it is a share of.
        severity: how loud the rule of the same floor is about a manifest; what is a warning there halts nothing here.
    """

    what: str
    share: float
    among: tuple[Origin, ...]
    severity: str = "error"

    def n_parts(self, counts: BatchCounts) -> int:
        """Return the rows or tokens that the share is of."""
        return sum(counts.origins[origin] for origin in self.among)

    def log_p(self, counts: BatchCounts) -> tuple[float, float]:
        """Return the log of the bound on chance, and the share that was seen."""
        n_real, n_parts = counts.origins[Origin.REAL], self.n_parts(counts)
        hits = units_that_count(n_real, n_parts, counts.n_units, largest=counts.largest, floor=self.share)
        return log_p_share_below(hits, counts.n_units, self.share), n_real / max(n_parts, 1)


def decide_batches(policy: Policy, view: BatchView) -> Decision:
    """Return what a run does after a check of its batches.

    Floors are ``mix.real_min_share`` and ``mix.synthetic_to_real_max``; each is tested on all batches and on the
    latest ones, with an equal part of ``batches.false_halt_rate``. With ``batches.order: any`` they are tested on all
    batches, at the ends of epochs.
    """
    wrong = _unexpected(policy, view)
    evidence: dict[str, Any] = {"origins": view.total.by_origin(), "check": view.number}
    if wrong:
        return Decision(_action(policy), RunReason.UNEXPECTED_ROWS, wrong, evidence)
    floors = _floors(policy)
    level = log_level_of_check(policy.batches.false_halt_rate / max(2 * len(floors), 1), view.number)
    found = [(*floor.log_p(part), floor, part, where) for floor in floors for where, part in _asked(policy, view)]
    evidence |= {"log_p": min((each[0] for each in found), default=0.0), "log_level": level}
    broken = [each for each in found if each[0] <= level]
    if not broken:
        return Decision(Action.CONTINUE, RunReason.HEALTHY, "batches keep the mix of the policy", evidence)
    # A floor that only warns must not hide one that halts, however far it is missed.
    _, share, floor, part, where = min(broken, key=lambda each: (each[2].severity != "error", each[0]))
    action = _action(policy) if floor.severity == "error" else Action.WARN
    shown = f"{share:.1%} of {floor.n_parts(part)} rows in {where} are {floor.what}"
    said = f"{shown}, the policy asks for {floor.share:.1%}"
    rate = f"at most {100 * policy.batches.false_halt_rate:g}% of runs with a sound mix ever get there"
    order = "; if rows are not shuffled, say batches.order: any" if policy.batches.order == "random" else ""
    return Decision(action, RunReason.BATCH_MIX, f"{said} ({rate}{order})", evidence)


def _unexpected(policy: Policy, view: BatchView) -> str:
    """Return what is there and cannot be; empty if nothing is."""
    seen = [origin for origin in Origin if view.total.origins[origin]]
    if view.held is not None and (foreign := [origin for origin in seen if origin not in view.held]):
        counted = ", ".join(f"{view.total.origins[origin]} {origin.name.lower()}" for origin in foreign)
        hint = "; null or missing tags count as unknown" if Origin.UNKNOWN in foreign else ""
        return f"batches carry rows that the manifest does not hold: {counted}{hint}"
    deepest, allowed = view.total.deepest(), policy.provenance.max_generation_depth
    if deepest is not None and deepest > allowed:
        return f"batches carry rows of generation {deepest}, provenance.max_generation_depth is {allowed}"
    if policy.batches.missing == "error" and view.total.n_untagged_batches:
        n_untagged, n_batches = view.total.n_untagged_batches, view.total.n_batches
        return f"{n_untagged} of {n_batches} batches do not say where their rows come from (batches.missing: error)"
    return ""


def _asked(policy: Policy, view: BatchView) -> list[tuple[str, BatchCounts]]:
    """Return the batches whose shares are asked now."""
    if policy.batches.order == "random":
        return [("all batches", view.total), ("the latest batches", view.latest)]
    return [("all batches", view.total)] if view.whole else []


def _floors(policy: Policy) -> list[Floor]:
    ratio = policy.mix.synthetic_to_real_max
    floors: list[Floor] = []
    if policy.mix.real_min_share > 0:
        loud = policy.severity.get("CG101", "error")
        floors.append(Floor("real", policy.mix.real_min_share, tuple(Origin), loud))
    if ratio is not None:
        among = (Origin.REAL, Origin.SYNTHETIC)
        loud = policy.severity.get("CG103", "warning")
        floors.append(Floor("real among real and synthetic ones", 1 / (1 + ratio), among, loud))
    return floors


def _action(policy: Policy) -> Action:
    return Action.HALT if policy.batches.on_violation == "halt" else Action.WARN
