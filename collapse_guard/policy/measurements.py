"""The section of a policy that sets limits to what outside measurements of a manifest say."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from collapse_guard.policy.section import Drop, Section, Share

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Measurements(Section):
    """Limits to figures that a manifest cannot hold; null asks nothing, and a limit without its figure stays open.

    A limit is broken when the near end of the figure's interval is beyond it, not the figure alone.
    """

    files: tuple[str, ...] = Field(
        (), description="measurement files (collapse-guard/measurement/1), relative to the policy file"
    )
    max_underived_id_share: Share | None = Field(
        None, description="largest share of rows whose id is not what their content gives (CG006)"
    )
    max_flagged_real_share: Share | None = Field(
        None,
        description="largest share of synthetic rows among those labelled real, after the errors of the detector are"
        " taken out (CG307)",
    )
    max_diversity_drop: Drop | None = Field(
        None, description="largest share of itself that a figure of diversity may lose (CG502)"
    )
    max_near_duplicate_share: Share | None = Field(
        None, description="largest share of synthetic rows that have a near duplicate (CG504)"
    )
    min_variance_ratio: Positive | None = Field(
        None, description="least variance within a class, as a ratio to that of the real reference (CG505)"
    )
    max_synthetic_rise_per_year: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="largest rise of the estimated synthetic share of a corpus, in shares per year (CG601)"
    )
    max_half_width: Annotated[float, Field(ge=1e-6, lt=1, allow_inf_nan=False)] | None = Field(
        None, description="largest half width of the interval of a share: the precision a sample must allow (CG602)"
    )
