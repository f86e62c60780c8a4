"""CG206: does every real row that is kept also train?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.manifest.light import light_rows
from collapse_guard.records import Finding, Origin, Severity
from collapse_guard.rules.loss import accumulates
from collapse_guard.rules.mix.amounts import share_of, shown
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator


@rule(
    "CG206",
    Severity.ERROR,
    "real row retained without weight",
    needs=("policy", "manifest", "index", "unit"),
)
def real_rows_weigh(subject: Subject) -> Iterator[Finding]:
    """Real rows in scope whose amount is at or below ``accumulation.require_weight_above``, by source.

    A row that is kept and never trains keeps no class alive; the accumulation proof (CG201) sees no difference.
    """
    assert subject.policy is not None
    assert subject.manifest is not None
    least = subject.policy.accumulation.require_weight_above
    if least is None:
        return
    n_rows = subject.manifest.rows_by("source", "origin", limits=subject.limits)
    light = light_rows(subject.manifest, Origin.REAL, at_most=least, limits=subject.limits)
    for source, n_light in light.items():
        if accumulates(subject.policy, source):
            share = share_of(n_light, n_rows[source, int(Origin.REAL)])
            yield Finding(
                "CG206",
                Severity.ERROR,
                f"source {source!r}: {n_light} real {'row is' if n_light == 1 else 'rows are'} kept with an amount of"
                f" {shown(least)} {subject.policy.unit} or less (a share of {share:.4f} of its real rows)",
                evidence={"n_rows": n_light, "share": share, "at_most": least, "unit": subject.policy.unit},
                subject=source,
                where={"source": source},
                measured=n_light,
                limit=0,
                unit="rows",
                key=("accumulation", "require_weight_above"),
                remedy="let them train, raise mix.budget, or lower accumulation.require_weight_above in review",
            )
