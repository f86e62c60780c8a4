"""A waiver: one finding that is accepted for a while, by somebody, for a reason, up to a bound."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from collapse_guard.policy.section import RuleCode, Section

#: What a rule needs to be waived; nobody answers for a waiver that lacks one of them (CG903).
REQUIRED = ("reason", "owner", "expires", "limit")

#: Days before its end from which on a waiver is announced (CG904): a fortnight, by convention.
SOON_DAYS = 14

#: Faults of these are never waived: without them nothing that the gate says could be believed.
UNWAIVABLE = frozenset(
    {"CG001", "CG002", "CG003", "CG004", "CG204", "CG305", "CG901", "CG902", "CG903", "CG904", "CG905"}
)

_SLACK = 1e-9

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Bound = Annotated[str, StringConstraints(pattern=r"^(max|min)(_[a-z]+)?$")]
Figure = Annotated[float, Field(allow_inf_nan=False)]


class Waiver(Section):
    """A finding that is accepted for a while.

    ``limit`` bounds what is accepted: ``max`` or ``min``, alone or with the unit of the finding, such as ``max_share``
    or ``max_rows``. Beyond it the finding fails as if there were no waiver.
    """

    id: Text = Field(description="name of the waiver, once in a policy")
    rule: RuleCode = Field(description="code of the rule")
    where: dict[Literal["source", "class", "generator", "generation", "subject"], str] = Field(
        default_factory=dict, description="the source, class, generator or generation; all findings if left out"
    )
    reason: Text = Field(description="why it is accepted")
    owner: Text = Field(description="who answers for it")
    expires: dt.date = Field(description="last day on which it holds (UTC)")
    limit: dict[Bound, Figure] = Field(
        min_length=1, max_length=1, description="how much is accepted, such as {max_share: 0.24}"
    )

    def accepts(self, measured: float) -> bool:
        """Return whether a figure is within the bound."""
        (figure,) = self.limit.values()
        room = _SLACK * max(
            abs(measured), abs(figure)
        )  # a figure that went through text, or was summed in another order
        return measured <= figure + room if self.is_ceiling else measured >= figure - room

    @property
    def is_ceiling(self) -> bool:
        """Whether the bound is the most that is accepted, and not the least."""
        return next(iter(self.limit)).startswith("max")

    @property
    def unit(self) -> str:
        """Unit that the bound names, empty if it names none."""
        return next(iter(self.limit)).partition("_")[2]
