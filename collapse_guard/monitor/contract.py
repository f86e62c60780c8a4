"""The data contract: what must hold before the first step."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from collapse_guard.errors import AccumulationError, ContractError
from collapse_guard.records import Status
from collapse_guard.rules import Subject, Terms, evaluate

if TYPE_CHECKING:
    from collapse_guard.manifest import Manifest
    from collapse_guard.policy import Policy
    from collapse_guard.rules import Evaluation


def check_contract(
    policy: Policy, manifest: Manifest, previous: Manifest | None, reference: Manifest | None = None
) -> Evaluation:
    """Raise unless the training data keeps the policy, less what its waivers accept today (UTC).

    Raises AccumulationError if real rows were lost or replaced, ContractError for any other error finding and for
    rules that could not be evaluated while the policy says ``on_missing_evidence: fail``.
    """
    today = dt.datetime.now(dt.UTC).date()
    found = evaluate(Subject(policy, manifest, previous, reference), terms=Terms(today))
    strict = policy.on_missing_evidence == "fail"
    against = [*found.failed, *(found.inconclusive if strict else ())]
    if not against:
        return found
    lines = "; ".join(f"{finding.code} {finding.message}" for finding in against)
    text = f"{manifest.name} breaks the policy: {lines}"
    if any(finding.code in {"CG201", "CG202"} and finding.status is Status.FAIL for finding in against):
        raise AccumulationError(text)
    raise ContractError(text)
