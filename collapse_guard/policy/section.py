"""The base of every section of a policy, and the kinds of numbers that stand in one."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
OpenShare = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Drop = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Rows = Annotated[int, Field(ge=0)]
RuleCode = Annotated[str, Field(pattern=r"^CG\d{3}$")]


class Section(BaseModel):
    """Base of every section: unknown keys and other types are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)
