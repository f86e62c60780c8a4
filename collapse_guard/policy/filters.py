"""The section of a policy that says what is asked of a synthetic row, and how unevenly filters may remove."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from collapse_guard.policy.section import OpenShare, Section, Share


class FilterTail(Section):
    """How unevenly a filter may remove."""

    by: str = Field(
        "class",
        description="what receipts are counted by: the cells of the filter",
        json_schema_extra={"x-enforced": False},
    )
    quantile: OpenShare = Field(
        0.05, description="the tail: rarest cells that together hold at most this share of the filtered rows; a guess"
    )
    max_removal_ratio: float = Field(
        1.5,
        ge=1,
        allow_inf_nan=False,
        description="largest ratio of the tail's removal rate to that of all other cells (CG402)",
    )


class Quality(Section):
    """The tail-aware quality filter of synthetic rows."""

    score: str = Field(description="column with the score, higher is better; a callable is passed from Python")
    keep_share: float = Field(gt=0, le=1, description="share of each cell that is kept")
    keep_tolerance: Share = Field(
        0.05, description="how far the share that receipts say was kept may lie from keep_share (CG405); a guess"
    )


class Filters(Section):
    """What is asked of a synthetic row before it may enter."""

    quality: Quality | None = Field(None, description="keep the best share within each cell of coverage.cells")
    min_cell_rows: Annotated[int, Field(ge=1)] | None = Field(
        1, description="rows that make a cell count when a filter removes all of them; null asks nothing (CG401)"
    )
    tail: FilterTail | None = Field(None, description="how unevenly a filter may remove; null asks nothing (CG402)")
    max_real_removal_ratio: float | None = Field(
        None,
        ge=1,
        allow_inf_nan=False,
        description="largest ratio of the removal rate of real rows to that of synthetic ones (CG403)",
    )
    level: OpenShare = Field(
        0.95, description="level of the intervals of these ratios: a filter fails when the lower end is above the limit"
    )
    require_reason: bool = Field(
        default=False, description="synthetic rows must come with the receipts of what was filtered out (CG404)"
    )
