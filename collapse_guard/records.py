"""The shared words: origin and evidence of a row, verdicts, findings, decisions.

A *verdict* is about a row, a *finding* about a manifest, a *decision* about a run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from enum import Enum, IntEnum
from typing import Any, Final

UNKNOWN_GENERATION: Final = 255
UNKNOWN_DATE: Final = 65535


class Origin(IntEnum):
    """Who made a row. 0 is unknown so that a null or zero fill fails closed."""

    UNKNOWN = 0
    REAL = 1
    SYNTHETIC = 2
    MIXED = 3
    DERIVED = 4
    SIMULATED = 5


class Evidence(IntEnum):
    """How the origin of a row is known."""

    NONE = 0
    DECLARED = 1
    DATED = 2
    EMBEDDED_LABEL = 3
    SIGNED_MANIFEST = 4
    OWN_OUTPUT = 5
    WATERMARK = 6
    GENERATED_HERE = 7
    STATISTICAL = 8


ORIGIN: Final = "cg_origin"
EVIDENCE: Final = "cg_evidence"
GENERATION: Final = "cg_generation"
SOURCE: Final = "cg_source"
GENERATOR: Final = "cg_generator"
DATE: Final = "cg_date"
ID: Final = "cg_id"

#: Quality score of a row in a saved pool of synthetic rows; not part of a training set.
SCORE: Final = "cg_score"

#: How much of a row trains, in the unit of the manifest, while one is made: 1 in rows, 0 if it is only retained.
AMOUNT: Final = "cg_amount"

#: Name of the cell of a row while a manifest is made, where classes are computed and not read.
CELL: Final = "cg_cell"

#: What a row weighs in the loss, where the policy weighs real and synthetic rows apart.
WEIGHT: Final = "cg_weight"

#: Key of a batch that holds the provenance of its rows, integers of shape (rows, 2): origin and generation.
BATCH_KEY: Final = "collapse_guard"

#: Provenance columns in their order, with the name of their Arrow type.
PROVENANCE_COLUMNS: Final[dict[str, str]] = {
    ORIGIN: "uint8",
    EVIDENCE: "uint8",
    GENERATION: "uint8",
    SOURCE: "string",
    GENERATOR: "string",
    DATE: "uint16",
    ID: "fixed_size_binary[16]",
}


class RowReason(Enum):
    """Why a filter keeps or drops a row."""

    KEPT = "kept"
    BELOW_CELL_SHARE = "below_cell_share"
    NO_CELL = "no_cell"


class Severity(Enum):
    """How loud a finding is."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Status(Enum):
    """What became of a rule.

    It failed; it failed and a waiver or the baseline accepts that; or it could not be evaluated, which is never a pass.
    """

    FAIL = "fail"
    WAIVED = "waived"
    BASELINED = "baselined"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Finding:
    """One statement of a rule about a manifest.

    Args:
        code: rule code such as ``CG201``.
        message: one sentence with the measured figure and the limit.
        evidence: contributors and figures behind it; plain values only.
        subject: what the finding is about (a source, a class); part of the fingerprint.
        where: the source, class, generator or generation that it is about; part of the fingerprint, and what a waiver
            narrows itself to.
        measured: the figure that the rule holds against ``limit``, in ``unit``; a waiver and a baseline bound it.
        limit: the bound of the policy; ``measured`` above it if more is worse, below it if less is.
        unit: what both are counted in: ``rows``, ``share``, ``ratio``, ``ids``, ...
        extent: how many classes, rows or others it is about, where ``measured`` is the furthest of them; a baseline
            bounds it too.
        mark: which rows or classes it is about, as a digest, where others of the same number would be another fault.
        n: rows (or what the method counts) that an estimate rests on; None where ``measured`` is exact.
        interval: lowest and highest value of an estimate.
        method: how an estimate was made, with its level.
        key: path of the policy key that asks for it, such as ``("mix", "real_min_share")``.
        remedy: one line of what to do.
        accepted_by: the waiver (``W-012``) or baseline that accepts it, and until when.
    """

    code: str
    severity: Severity
    message: str
    status: Status = Status.FAIL
    evidence: dict[str, Any] = field(default_factory=dict)
    subject: str = ""
    where: dict[str, str] = field(default_factory=dict)
    measured: float | None = None
    limit: float | None = None
    unit: str = ""
    extent: int | None = None
    mark: str = ""
    n: int | None = None
    interval: tuple[float, float] | None = None
    method: str = ""
    key: tuple[str | int, ...] = ()
    remedy: str = ""
    accepted_by: str = ""
    file: str | None = None
    line: int | None = None

    def fingerprint(self, parent_digest: str | None) -> str:
        """Return 16 hexadecimal digits that name the finding from run to run.

        They cover the rule, what it is about and the parent; never counts or the message, which change.

        >>> first, second = (Finding("CG102", Severity.ERROR, text, subject="web") for text in ("30 %", "31 %"))
        >>> first.fingerprint(None) == second.fingerprint(None)
        True
        """
        named = json.dumps([self.code, self.subject, self.where, parent_digest], sort_keys=True)
        return hashlib.sha256(named.encode()).hexdigest()[:16]

    def is_worse_than(self, measured: float) -> bool:
        """Return whether the figure lies beyond ``measured``, on the side on which the limit is broken."""
        if self.measured is None:
            return False
        return self.measured < measured if self.is_floor else self.measured > measured

    @property
    def is_floor(self) -> bool:
        """Whether less is worse: the figure is below its limit."""
        return self.limit is not None and self.measured is not None and self.measured < self.limit

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self) | {
            "severity": self.severity.value,
            "status": self.status.value,
            "key": ".".join(map(str, self.key)),
            "interval": None if self.interval is None else list(self.interval),
        }


#: First three characters of a rule's code -> its family.
FAMILIES: Final = {
    "CG0": "integrity",
    "CG1": "mix",
    "CG2": "accumulation",
    "CG3": "provenance",
    "CG4": "filters",
    "CG5": "coverage",
    "CG6": "audits",
    "CG9": "governance",
}

#: Subject of a finding that stands for all that are too many to be told one by one.
REST: Final = "more of them"


def mark_of(*parts: Any) -> str:
    """Return 16 hexadecimal digits over plain values, for :attr:`Finding.mark`."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class Action(Enum):
    """What a run does next."""

    CONTINUE = "continue"
    WARN = "warn"
    HALT = "halt"


class RunReason(Enum):
    """Which evidence weighs most in a decision."""

    HEALTHY = "healthy"
    TAIL_MASS = "tail_mass"
    TAIL_COVERAGE = "tail_coverage"
    CLASS_LOSS = "class_loss"
    OFF_MANIFOLD = "off_manifold"
    SCORE_DROP = "score_drop"
    BATCH_MIX = "batch_mix"
    UNEXPECTED_ROWS = "unexpected_rows"


@dataclass(frozen=True, slots=True)
class Decision:
    """What the guard says about a run after a look.

    Args:
        action: continue, warn or halt.
        reason: the test that weighs most.
        message: one sentence for people.
        evidence: figures behind it; plain values only.
    """

    action: Action
    reason: RunReason
    message: str
    evidence: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON and checkpoints.

        >>> Decision(Action.CONTINUE, RunReason.HEALTHY, "fine").as_dict()["action"]
        'continue'
        """
        return asdict(self) | {"action": self.action.value, "reason": self.reason.value}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Decision:
        """Return the decision that :meth:`as_dict` wrote."""
        return cls(Action(data["action"]), RunReason(data["reason"]), data["message"], dict(data["evidence"]))
