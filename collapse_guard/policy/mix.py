"""The sections of a policy that say how much of what goes into a training set, and what makes two rows the same."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from collapse_guard.errors import ProvenanceError
from collapse_guard.identity import IdKind, IdRule
from collapse_guard.policy.section import Section, Share

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SourceRule(Section):
    """What one source may contribute."""

    origin: Literal["real", "synthetic", "mixed", "derived", "simulated", "unknown"] | None = Field(
        None, description="origin that the rows of this source must have"
    )
    share: Share | None = Field(
        None,
        description="wanted share of the training set, of a synthetic source; once one source says it, sources that do"
        " not say it give no synthetic rows",
    )
    min_share: Share | None = Field(None, description="least share of the training set")
    max_share: Share | None = Field(None, description="largest share of the training set")
    accumulate: Literal["strict", "off"] | None = Field(None, description="'off' takes the source out of the proof")
    generator: str | None = Field(None, description="the one generator this source may come from")
    max_depth: int | None = Field(None, ge=0, le=254, description="largest generation of a row of this source")


class Drift(Section):
    """How far the mix may move between generations."""

    metric: Literal["total_variation"] = Field(
        "total_variation", description="half of the sum of the differences between the shares of all sources"
    )
    warn: Share = Field(0.05, description="above it the drift is a warning; a guess, tied to no experiment")
    error: Share = Field(0.10, description="above it the drift is an error; a guess, tied to no experiment")


class Repeat(Section):
    """Rows of what is short are repeated."""

    repeat: int = Field(
        ge=2,
        le=16,
        description="how often a row may stand in the training set; repeating web text up to four times cost little in"
        " Muennighoff et al. 2023 (arXiv 2305.16264), beyond it gained nothing",
    )


def _word_or_mapping(value: object) -> str:
    return SHAPES[1] if isinstance(value, dict | Repeat) else SHAPES[0]


def _one_or_list(value: object) -> str:
    return SHAPES[2] if isinstance(value, list | tuple) else SHAPES[0]


#: Names of the shapes of a value in the place of a fault, which is then told of one shape alone; they are no keys.
SHAPES: Final = ("|value", "|mapping", "|list")

#: What else may stand where a plain value is not what it should be.
OTHER_SHAPES: Final = {
    "mix.when_short": "or {repeat: k} with k from 2 to 16",
    "mix.per_generation_max_share": "or a list of shares, of generation 1, 2, ...",
}

WhenShort = Annotated[
    Annotated[Literal["shrink", "stop", "fail"], Tag("|value")] | Annotated[Repeat, Tag("|mapping")],
    Discriminator(_word_or_mapping),
]
ShareOrShares = Annotated[
    Annotated[Share, Tag("|value")] | Annotated[tuple[Share, ...], Tag("|list")],
    Discriminator(_one_or_list),
]


class Budget(Section):
    """A training set of a fixed size: real rows that do not fit are retained in the manifest with the amount 0."""

    amount: Positive = Field(description="largest amount of the training set, in the unit of the policy")
    min_class_rows: int = Field(
        15,
        ge=0,
        description="real rows that every class keeps, or all it has if it has fewer; a reference given in Python goes"
        " before it. 15 is what a class needs to be guarded alone (coverage.min_alone_rows)",
    )


class Mix(Section):
    """How much of what goes into the training set."""

    real_min_share: Share = Field(
        0.50, description="floor of the real share; at 0.5 drift noise stays under 0.67x of sampling noise"
    )
    synthetic_to_real_max: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="largest ratio of synthetic to real"
    )
    per_generator_max_share: Share | None = Field(None, description="largest share that one generator may supply")
    per_generation_max_share: ShareOrShares | None = Field(
        None,
        description="largest share of the rows of one generation; a list gives those of generation 1, 2, ..., the last"
        " one holds for all deeper and for unknown ones",
    )
    per_class_max_synthetic_share: Share | None = Field(
        None, description="largest synthetic share within a class; needs coverage.cells"
    )
    balance: Literal["none", "anchor"] = Field(
        "none",
        description="anchor: a class with fewer real rows than the reference is topped up with synthetic rows first,"
        " the rest of the synthetic rows follow the class shares of the reference",
    )
    when_short: WhenShort = Field(
        "shrink",
        description="what if a source or class has fewer synthetic rows than wanted. shrink: it gives what it has;"
        " stop: all give less, so that their wanted shares hold among each other; {repeat: k}: its rows stand up to k"
        " times; fail: no plan",
    )
    budget: Budget | None = Field(None, description="a fixed size of the training set; needs coverage.cells")
    weights: Literal["uniform", "golden"] = Field(
        "uniform",
        description="golden: real rows together weigh w with w^2 + k w - k = 0, k the ratio of real to synthetic"
        " (0.618 at k = 1), the optimum of He et al. 2025 (arXiv 2502.18049) for fresh real rows and the last"
        " generation; written as cg_weight",
    )
    window_rows: int = Field(
        1000, ge=1, description="rows of a window, over which the shares of the output are measured as well"
    )
    drift: Drift | None = Field(
        None,
        description="how far the shares of the sources may move from the parent's (CG104); not looked at if left out",
    )
    seed: int = Field(0, ge=0, description="seed of the order in which rows are taken")

    def generation_cap(self, generation: int) -> float | None:
        """Return the largest share of one generation, 1 or more; None for no cap."""
        caps = self.per_generation_max_share
        if isinstance(caps, tuple):
            return caps[min(max(generation, 1), len(caps)) - 1] if caps else None
        return caps


class Identity(Section):
    """What makes two rows the same; manifests of another rule are refused, never compared."""

    rule: IdKind = Field(
        "record",
        description="record: key-sorted JSON of the columns, NFC; text: NFC text of one column; bytes: a column as it"
        " is; pixels, samples: a picture or sound as it decodes",
    )
    columns: tuple[str, ...] = Field((), description="what counts as content; for records all columns if left out")

    @field_validator("columns")
    @classmethod
    def _fits_the_rule(cls, columns: tuple[str, ...], info: Any) -> tuple[str, ...]:
        if "rule" in info.data:
            try:
                IdRule(info.data["rule"], columns)
            except ProvenanceError as error:
                raise ValueError(str(error)) from None
        return columns

    def id_rule(self) -> IdRule:
        """Return the rule as a value."""
        return IdRule(self.rule, self.columns)
