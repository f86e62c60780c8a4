"""What a policy may say: the only home of thresholds, each with its meaning and source.

Fields marked ``x-enforced: false`` are part of the language but of no check yet; the gate reports a policy that
sets one as inconclusive, so that nothing is silently unguarded.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from collapse_guard.errors import InputError
from collapse_guard.kernels import canonical_bytes, sha256_hex
from collapse_guard.policy.cells import CellsList, Labels, Score
from collapse_guard.policy.filters import Filters
from collapse_guard.policy.measurements import Measurements
from collapse_guard.policy.mix import Identity, Mix, SourceRule
from collapse_guard.policy.section import Drop, OpenShare, Rows, RuleCode, Section, Share
from collapse_guard.policy.waiver import Waiver

ModelName = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]

_LATER: dict[str, Any] = {"x-enforced": False}
#: Keys of the coverage section that manifests are asked for and no look of a run.
_OF_THE_GATE = {
    *("by", "min_class_rows", "max_classes_lost"),
    *("max_entropy_drop_nats", "max_head_share_rise", "head_classes"),
}


class Manifests(Section):
    """Where the manifests lie; not part of the policy digest."""

    current: str | None = Field(None, description="manifest that is checked, relative to the policy file")
    previous: str | None = Field(None, description="manifest of the parent generation")
    parent_digest: Sha256 | None = Field(None, description="pinned digest of the parent manifest (CG204)")


class Accumulation(Section):
    """Real rows stay: the current generation holds every real row of its parent."""

    mode: Literal["superset", "sample", "off"] = Field(
        "superset", description="superset: every real row of the parent stays; off: nothing is asked; sample: not yet"
    )
    scope: tuple[str, ...] | None = Field(
        None, min_length=1, description="sources that must accumulate; all real ones if left out"
    )
    allow_loss: Rows = Field(0, description="real rows that may be missing")
    replace_tolerance: Share = Field(
        0.10,
        description="lost real and new synthetic rows that differ by at most this share count as replaced (CG202);"
        " the default is a judgement",
    )
    takedowns: str | None = Field(
        None, description="list of lawful deletions (JSON lines), relative to the policy file (CG207)"
    )
    require_weight_above: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="every real row in scope trains with more than this amount, in the unit of the policy (CG206); 0"
        " asks that none is only retained, as mix.budget does with rows that do not fit",
    )
    grow_within: int | None = Field(
        None,
        ge=1,
        description="generations within which the real pool in scope must grow (CG205); no experiment says how many may"
        " pass, so that there is no default",
    )


class NearDuplicate(Section):
    """How near counts as a duplicate."""

    method: Literal["minhash"] = "minhash"
    threshold: Share = 0.85


class ProvenanceRules(Section):
    """What must be known about a row."""

    max_generation_depth: int = Field(
        2, ge=0, le=254, description="largest generation of any row (CG303); the default is a judgement"
    )
    forbid_reentry_of: tuple[ModelName, ...] = Field(
        (),
        description="own models whose outputs must not come back, by generator: a name stands for all its revisions,"
        " name@revision for one (CG305)",
    )
    max_unknown_share: Share | None = Field(
        None,
        description="largest share of rows of unknown origin, in the unit of the policy (CG306); what is safe depends"
        " on what they are, so that there is no default",
    )
    near_duplicate: NearDuplicate | None = Field(None, json_schema_extra=_LATER)


class Interval(Section):
    """A stretch of training."""

    epochs: int = Field(1, ge=0)
    steps: int = Field(0, ge=0, description="optimizer steps; alone, no epochs need to have passed")

    @model_validator(mode="before")
    @classmethod
    def _steps_alone(cls, given: Any) -> Any:
        is_alone = isinstance(given, Mapping) and "steps" in given and "epochs" not in given
        return {**given, "epochs": 0} if is_alone else given


class Every(Section):
    """How often to look: every so many epochs, or every so many optimizer steps."""

    epochs: int | None = Field(None, ge=1)
    steps: int | None = Field(None, ge=1, description="looks are then taken in the middle of epochs, and at the end")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("every takes one of epochs and steps")
        return self


class Batches(Section):
    """What training batches really carry, counted as they come and summed over ranks."""

    every_batches: int = Field(
        50, ge=1, description="batches of a rank between two checks; what a check finds is acted on one interval later"
    )
    missing: Literal["error", "warn", "ignore"] = Field(
        "warn", description="what to do when batches do not say where their rows come from"
    )
    order: Literal["random", "any"] = Field(
        "random",
        description="random: rows are shuffled, shares are asked at every check; any: rows may come in blocks, shares"
        " are asked of all batches at the ends of epochs only",
    )
    false_halt_rate: OpenShare = Field(
        0.001,
        description="P(ever halting on a mix that keeps its floors), if rows come in random order; Hoeffding's bound"
        " of the k-th check has the level 6 a / (pi^2 k^2)",
    )
    on_violation: Literal["halt", "warn"] = "halt"


class Coverage(Section):
    """What must stay alive, and how sure the guard must be before it halts."""

    cells: CellsList = Field((Labels(),), description="one cell map, or a list of them, each with its own evidence")
    scores: tuple[Score, ...] = Field((), description="per-row scores whose mean must not fall")
    references: tuple[Literal["real", "first_model"], ...] = Field(
        ("real", "first_model"),
        min_length=1,
        description="real: how far from the truth; first_model: still falling since the chain's first model",
    )
    real_is: Literal["target", "sample"] = Field(
        "target", description="target: the real rows themselves; sample: they stand for a population"
    )
    reference_error: OpenShare = Field(
        0.10, description="part of false_halt_rate that is spent on references being samples (Clopper-Pearson)"
    )
    min_alone_rows: Rows = Field(
        15,
        description="real rows that a class needs to be guarded alone, the rest is guarded together; a class of n rows"
        " drifts by sqrt(1.6/n) of its share even when every row is kept, 33 % at 15",
    )
    min_alone_sampled_rows: Rows = Field(
        100, description="the same where the reference is a sample; the bound of 100 rows is at 0.81 of what was seen"
    )
    max_alone: int = Field(256, ge=1, description="classes guarded alone at most; it bounds the evidence to 64 KiB")
    tail_mass: OpenShare = Field(0.10, description="the tail: rarest cells that together hold at most this share")
    max_mass_drop: Drop = Field(0.10, description="tolerated drop of the tail's mass before it counts as shrinking")
    max_coverage_drop: Drop = Field(0.50, description="tolerated drop of each tail cell in the coverage test")
    max_class_drop: Drop = Field(0.50, description="tolerated drop of each class alone")
    max_unclaimed_rise: Drop | None = Field(
        0.25, description="tolerated rise of the share of rows that no cell claims; null for no such test"
    )
    looks: Literal["fresh", "fixed_set"] = Field(
        "fresh", description="fresh: new rows at every look; fixed_set: predictions on one validation set"
    )
    baseline: Literal["real", "parent", "peak"] = Field(
        "real",
        description="of looks at a fixed set: the real rows, the parent's last look, or the run's own peak; predictions"
        " on validation are measured against the peak unless this is said",
    )
    false_halt_rate: OpenShare = Field(0.01, description="P(ever halting a healthy run)")
    planned_looks: int = Field(50, ge=1, description="looks over the whole chain of generations")
    warmup: Interval = Field(Interval(epochs=1), description="no look before; an untrained model has no tail yet")
    every: Every = Every(epochs=1)
    samples_per_look: int = Field(2000, ge=1, description="generated rows per look")
    advisory_tokens: int = Field(
        20_000, ge=100, description="words of a look that advisory text statistics read; never halting"
    )
    on_violation: Literal["halt", "warn"] = "halt"
    reference: str | None = Field(
        None,
        description="manifest of the real reference; if left out, the real rows that the chain began with",
    )
    by: tuple[str, ...] = Field(
        ("class",),
        description="what must stay alive; an index holds one class per row, so that only [class] can be answered",
        json_schema_extra=_LATER,
    )
    min_class_rows: Rows = Field(1, description="reference rows that make a class count for CG501")
    max_classes_lost: Rows = Field(0, description="classes that may be missing from the training set (CG501)")
    max_entropy_drop_nats: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="how much lower the entropy of the class shares may be than that of the reference (CG503)",
    )
    max_head_share_rise: Share | None = Field(
        None, description="how much larger the share of the largest classes may be than in the reference (CG503)"
    )
    head_classes: int = Field(1, ge=1, description="how many of the largest classes are the head (CG503)")

    @property
    def class_column(self) -> str | None:
        """Column of the class in manifests: that of the first cell map, if it takes labels."""
        first = self.cells[0] if self.cells else None
        return first.column if isinstance(first, Labels) else None

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Columns that the cell maps and scores read, each once; None if a function may read them all."""
        inputs = [cells.inputs() for cells in self.cells]
        if None in inputs:
            return None
        named = [name for columns in inputs if columns is not None for name in columns]
        return tuple(dict.fromkeys([*named, *(score.column for score in self.scores if score.against == "real")]))


class Policy(Section):
    """A checked, frozen policy.

    >>> Policy(version=1).digest == Policy(version=1, name="other").digest
    True
    """

    version: Literal[1] = Field(description="version of the policy language")
    extends: str | None = Field(None, description="preset:NAME@1 or a file beside this one; maps merge, lists replace")
    name: str = Field("unnamed", description="what reports call the policy")
    unit: Literal["rows", "tokens", "bytes", "weight"] = Field("rows", description="what shares are counted in")
    unit_column: str | None = Field(
        None,
        description="column with the amount of a row: a number, a list (tokens) or text (bytes); if left out, tokens"
        " are counted in input_ids, bytes over all content, weights in weight",
    )
    identity: Identity = Identity()
    manifests: Manifests = Manifests()
    sources: dict[str, SourceRule] = Field(default_factory=dict, description="what each source may contribute, by name")
    mix: Mix = Mix()
    batches: Batches = Batches()
    accumulation: Accumulation = Accumulation()
    provenance: ProvenanceRules = ProvenanceRules()
    filters: Filters = Filters()
    coverage: Coverage | None = Field(None, description="leave out to guard the data alone")
    measurements: Measurements = Measurements()
    severity: dict[RuleCode, Literal["error", "warning", "info"]] = Field(
        default_factory=dict, description="severity of a rule instead of its own, by code; some cannot be lowered"
    )
    on_missing_evidence: Literal["fail", "warn"] = Field(
        "fail", description="what a rule that lacks what it needs does: fail exits with 3, warn lets the check pass"
    )
    waivers: tuple[Waiver, ...] = Field((), description="findings that are accepted for a while, up to a bound")
    baseline: str | None = Field(
        None,
        description="list of known findings, relative to the policy file; it is written by 'collapse-guard baseline'"
        " and only ever shrinks",
    )

    @classmethod
    def coerce(cls, policy: Policy | Mapping[str, Any] | str | PathLike[str]) -> Policy:
        """Return ``policy`` as it is, or checked from a mapping or a YAML file; raises PolicyError."""
        from collapse_guard.policy.load import load_policy, policy_from_mapping  # noqa: PLC0415 - load needs this class

        if isinstance(policy, Policy):
            return policy
        if isinstance(policy, Mapping):
            return policy_from_mapping(policy)
        if not isinstance(policy, (str, PathLike)):
            raise InputError(f"a policy is a Policy, a mapping or a path, got {type(policy).__name__}")
        return load_policy(policy)

    @field_validator("version", mode="before")
    @classmethod
    def _is_a_number(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("must be 1")  # noqa: TRY004 - pydantic collects ValueError; True equals 1 for a Literal
        return value

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def digest(self) -> str:
        """SHA-256 over what the policy demands: not its name, file locations, key order or comments."""
        demands = self.model_dump(mode="json", exclude={"name", "manifests", "extends", "baseline"})
        del demands["measurements"]["files"]
        return sha256_hex([canonical_bytes(demands)])

    @property
    def coverage_digest(self) -> str:
        """SHA-256 over what looks depend on: evidence goes on as long as it stays the same."""
        coverage = None if self.coverage is None else self.coverage.model_dump(mode="json", exclude=_OF_THE_GATE)
        return sha256_hex([canonical_bytes({"coverage": coverage})])

    def unenforced(self) -> tuple[str, ...]:
        """Return the keys that this policy sets and that no check reads yet, as dotted paths."""
        sampled = ["accumulation.mode"] if self.accumulation.mode == "sample" else []
        return tuple(sorted([*_unenforced(self, ""), *sampled]))


def _unenforced(section: BaseModel, path: str) -> list[str]:
    found: list[str] = []
    for name in sorted(section.model_fields_set):
        field, value = type(section).model_fields[name], getattr(section, name)
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("x-enforced") is False and value != field.get_default():
            found.append(path + name)
        elif isinstance(value, BaseModel):
            found += _unenforced(value, f"{path}{name}.")
    return found


def policy_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a policy, for editors."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "collapse_guard policy"}
    return Policy.model_json_schema() | head
