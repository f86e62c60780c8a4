"""CG301, CG302, CG306, CG309: is it known who made each row?"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from collapse_guard.manifest import real_and_generated_ids
from collapse_guard.records import Evidence, Finding, Origin, Severity
from collapse_guard.rules.mix.amounts import is_below, share_of, shown
from collapse_guard.rules.provenance.faults import faulty_rows
from collapse_guard.rules.registry import Subject, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapse_guard.manifest import Manifest
    from collapse_guard.policy import Policy

#: What may be wrong with the origin of a row, and what is said of it.
_FAULTS = {
    "no origin": "have no origin",
    "no evidence": "claim an origin without evidence",
    "statistics alone": "are called real by statistics alone",
}


@rule("CG301", Severity.ERROR, "rows without origin, or without evidence for it", needs=("policy", "manifest", "index"))
def origin_is_known(subject: Subject) -> Iterator[Finding]:
    """Unknown origin outside sources that declare it, and origins that nothing supports: one finding for each fault."""
    assert subject.policy is not None
    assert subject.manifest is not None
    allowed = {name for name, source in subject.policy.sources.items() if source.origin == "unknown"}
    faults: Counter[tuple[str, str]] = Counter()
    for (source, origin, evidence), n_rows in subject.manifest.rows_by(
        "source", "origin", "evidence", limits=subject.limits
    ).items():
        fault = _fault(origin, evidence)
        if fault is not None and not (fault == "no origin" and source in allowed):
            faults[source, fault] += n_rows
    remedy = "tag them with origin and evidence, or declare the source as origin: unknown with a cap"
    yield from faulty_rows("CG301", faults, _FAULTS, partial(_origin_key, subject.policy), remedy)


def _origin_key(policy: Policy, source: str) -> tuple[str, ...]:
    return ("sources", source, "origin") if source in policy.sources else ("sources",)


def _fault(origin: int, evidence: int) -> str | None:
    if not is_known(origin):
        return "no origin"
    if evidence == Evidence.NONE or evidence not in set(Evidence):
        return "no evidence"
    return "statistics alone" if origin == Origin.REAL and evidence == Evidence.STATISTICAL else None


def is_known(origin: int) -> bool:
    """Return whether the code of an origin says who made a row; codes that do not exist say nothing.

    >>> is_known(Origin.REAL), is_known(Origin.UNKNOWN), is_known(77)
    (True, False, False)
    """
    return origin in set(Origin) and origin != Origin.UNKNOWN


@rule("CG302", Severity.ERROR, "synthetic rows without generator", needs=("manifest", "index"))
def generator_is_known(subject: Subject) -> Iterator[Finding]:
    """Synthetic rows whose generator is null or empty."""
    assert subject.manifest is not None
    nameless: Counter[str] = Counter()
    for (source, origin, generator), n_rows in subject.manifest.rows_by(
        "source", "origin", "generator", limits=subject.limits
    ).items():
        if origin == Origin.SYNTHETIC and not generator:
            nameless[source] += n_rows
    for source, n_rows in sorted(nameless.items()):
        yield Finding(
            "CG302",
            Severity.ERROR,
            f"source {source!r}: {n_rows} synthetic rows name no generator",
            evidence={"n_rows": n_rows},
            subject=source,
            where={"source": source},
            measured=n_rows,
            limit=0,
            unit="rows",
            key=("sources",),
            remedy="tag them with generator='model@revision'",
        )


@rule("CG306", Severity.WARNING, "too many rows of unknown origin", needs=("policy", "manifest", "index", "unit"))
def unknown_share(subject: Subject) -> Iterator[Finding]:
    """Share of what is of unknown origin, in the unit of the policy, and that of the parent if it counts the same.

    Codes of origins that do not exist count as unknown, also in sources that declare ``origin: unknown``.
    """
    assert subject.policy is not None
    assert subject.manifest is not None
    limit, unit = subject.policy.provenance.max_unknown_share, subject.policy.unit
    amount, total = _unknown_amount(subject.manifest, subject), subject.manifest.amount
    if limit is None or not is_below(limit * total, amount):
        return
    share, trend = share_of(amount, total), _share_before(subject)
    told = "" if trend is None else f"; in the parent it was {trend:.4f}"
    yield Finding(
        "CG306",
        Severity.WARNING,
        f"{shown(amount)} of {shown(total)} {unit} are of unknown origin, a share of {share:.4f}, the limit is"
        f" {limit:g}{told}",
        evidence={"share": share, "limit": limit, "amount": amount, "unit": unit, "share_before": trend},
        subject="unknown",
        measured=share,
        limit=limit,
        unit="share",
        key=("provenance", "max_unknown_share"),
        remedy="find out who made them, or take them out",
    )


def _unknown_amount(manifest: Manifest, subject: Subject) -> float:
    amounts = manifest.amount_by("origin", limits=subject.limits)
    return sum(amount for (origin,), amount in amounts.items() if not is_known(origin))


def _share_before(subject: Subject) -> float | None:
    """Return the share in the parent, None if there is none that counts in the same unit."""
    assert subject.manifest is not None
    before = subject.previous
    if before is None or before.header.unit != subject.manifest.header.unit:
        return None
    return share_of(_unknown_amount(before, subject), before.amount)


@rule("CG309", Severity.WARNING, "the same content is real and not real", needs=("manifest", "index"))
def content_is_one_of_both(subject: Subject) -> Iterator[Finding]:
    """Ids that stand for a real row and for one of another origin: one of the two claims is wrong."""
    assert subject.manifest is not None
    n_ids, ids = real_and_generated_ids(subject.manifest, limits=subject.limits)
    if n_ids:
        yield Finding(
            "CG309",
            Severity.WARNING,
            f"{n_ids} {'id stands' if n_ids == 1 else 'ids stand'} for a real row and for one that is not;"
            f" ids {', '.join(ids)}",
            evidence={"n_ids": n_ids, "ids": list(ids)},
            subject="origin",
            measured=n_ids,
            limit=0,
            unit="ids",
            key=("identity",),
            remedy="take the generated copies out, or the real ones if the copies came back through a crawl",
        )
