"""Before training: what may enter? Tag -> filter -> keep all real rows -> cap the rest -> manifest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from collapse_guard.curate.classes import cell_map
from collapse_guard.curate.pools import anchor_amounts, plan_shares, planned_rows, pools_of
from collapse_guard.curate.refusals import check_amounts, check_nothing_lost, check_takedowns, nothing_real
from collapse_guard.curate.tagging import check_origins
from collapse_guard.errors import AccumulationError
from collapse_guard.manifest import FilterReceipt, Manifest, ParentLink, build_manifest
from collapse_guard.mixing import Breach, MixPlan, WindowShares, broken, plan_mix

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from collapse_guard.cells import CellMap
    from collapse_guard.manifest import Takedowns
    from collapse_guard.policy import Policy


@dataclass(frozen=True)
class Curated:
    """A training set as row numbers, its manifest, and what it really holds.

    Args:
        plan: which rows train.
        manifest: of all real rows and the chosen synthetic ones; real rows that a budget leaves out have amount 0.
        receipts: what the filter kept of each cell.
        shares: shares of the output, over windows of it as well, by kind of group: origin, source, ...
        breaches: shares that break the policy.
    """

    plan: MixPlan
    manifest: Manifest
    receipts: tuple[FilterReceipt, ...]
    shares: dict[str, WindowShares]
    breaches: tuple[Breach, ...]

    def view(self) -> dict[str, Any]:
        """Return plain figures: rows by kind, why synthetic rows stayed out, keep-rate per cell, shares in windows."""
        plan = self.plan
        return {
            "unit": plan.unit,
            "n_real_rows": int(plan.real.size),
            "n_synthetic_rows": int(plan.chosen.size),
            "n_retained_rows": plan.n_retained_rows,
            "real_amount": plan.real_amount,
            "synthetic_amount": plan.synthetic_amount,
            "real_share": plan.real_share,
            **asdict(plan.left),
            "n_topped_up_rows": plan.n_topped_up_rows,
            "n_repeated_rows": plan.n_repeated_rows,
            "short": [shortage.describe(plan.unit) for shortage in plan.short],
            "weights": {"real": plan.real_weight, "synthetic": plan.synthetic_weight},
            "keep_share_by_cell": {
                receipt.source: {cell.cell: cell.kept_rows / cell.rows for cell in receipt.cells if cell.rows}
                for receipt in self.receipts
            },
            "shares": {kind: found.as_dict() for kind, found in self.shares.items()},
            "breaches": [breach.describe() for breach in self.breaches],
        }


def curate(
    real: pa.Table,
    synthetic: pa.Table,
    policy: Policy,
    *,
    name: str,
    parent: Manifest | None = None,
    cells: CellMap | None = None,
    takedowns: Takedowns | None = None,
    reference: Mapping[str, float] | None = None,
) -> Curated:
    """Decide which rows train.

    Args:
        real: tagged real rows: provenance columns, the columns that the policy's cells read, and ``cg_amount`` if the
            policy counts another unit than rows.
        synthetic: tagged synthetic rows, with ``cg_score`` if the policy filters by quality.
        name: name of the manifest.
        parent: manifest of the generation before.
        cells: the policy's first cell map as earlier generations fitted it; fitted on ``real`` if left out.
        takedowns: lawful deletions: their rows may be missing, and must be.
        reference: real amount per class that ``mix.balance`` and ``mix.budget`` measure against; for balance the
            larger of the parent's and that of ``real``, class by class, if left out.

    Raises AccumulationError if there is no real row, or if a real row of the parent is missing; ContractError for rows
    that were taken down and for plans that the policy refuses; ManifestError for a parent of another id rule.
    """
    if real.num_rows == 0:
        column = None if policy.coverage is None else policy.coverage.class_column
        raise AccumulationError(nothing_real(synthetic, column, parent))
    check_origins(real, synthetic, policy)
    check_amounts((real, synthetic), policy)
    check_takedowns(real, takedowns, "real")
    check_takedowns(synthetic, takedowns, "synthetic")
    if cells is None:
        cells = cell_map(real, policy)
    pools = pools_of(real, synthetic, policy, cells)
    if reference is None and policy.mix.budget is None:
        reference = anchor_amounts(pools, parent)
    plan = plan_mix(pools.real, pools.synthetic, policy, reference=reference)
    manifest = build_manifest(
        planned_rows(pools, plan),
        name=name,
        generation=0 if parent is None else parent.header.generation + 1,
        class_column=pools.class_column,
        parents=() if parent is None else (ParentLink(name=parent.header.name, digest=parent.digest),),
        filters=pools.receipts,
        policy_digest=policy.digest,
        unit=policy.unit,
        unit_column=policy.unit_column,
        id_rule=policy.identity.id_rule().name,
        takedowns=None if takedowns is None else takedowns.entry,
    )
    if parent is not None:
        check_nothing_lost(policy, parent, manifest, takedowns)
    shares = plan_shares(pools, plan, policy)
    return Curated(plan, manifest, pools.receipts, shares, broken(shares, policy))
