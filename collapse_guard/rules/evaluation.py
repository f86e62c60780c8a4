"""All rules on one subject: first what they find, then what of it is accepted, then whether that may be."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from collapse_guard.errors import InputError
from collapse_guard.plugins import nearest
from collapse_guard.records import Finding, Severity, Status
from collapse_guard.rules.baseline import Baseline, baselined
from collapse_guard.rules.governance import FAMILY, Governance
from collapse_guard.rules.integrity import problems
from collapse_guard.rules.registry import RULES, Rule, Subject
from collapse_guard.rules.waivers import Use, uses_of, waived

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class Choice:
    """Which rules run.

    Args:
        select: codes or their beginnings, such as ``CG2``; all rules if empty.
        ignore: codes or their beginnings that do not run.
        headers_only: leave out what needs to look at rows.

    >>> Choice(select=("CG1",), ignore=("CG103",)).takes("CG103")
    False
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    headers_only: bool = False

    def takes(self, code: str) -> bool:
        """Return whether the rule of a code runs, as far as codes say so."""
        is_selected = not self.select or code.startswith(self.select)
        return is_selected and not code.startswith(self.ignore)

    def check(self, codes: Iterable[str]) -> None:
        """Raise InputError for a code that no rule has."""
        known = list(codes)
        for given in (*self.select, *self.ignore):
            if not given.startswith("CG") or not any(code.startswith(given) for code in known):
                raise InputError(f"no rule is called {given!r}; {nearest(given, known)}; see 'collapse-guard rules'")


@dataclass(frozen=True)
class Terms:
    """What may be accepted in this run.

    Args:
        today: the day for waivers, in UTC; None applies neither waivers nor the baseline.
        baseline: known findings.
        unenforced: policy keys that no check reads.
        is_unsafe_allowed: apply waivers of rules that cannot be waived, too.
    """

    today: dt.date | None = None
    baseline: Baseline | None = None
    unenforced: tuple[str, ...] = ()
    is_unsafe_allowed: bool = False


@dataclass(frozen=True)
class Evaluation:
    """Findings of a run, the codes that were looked at and those that were left out."""

    findings: tuple[Finding, ...]
    codes: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    uses: tuple[Use, ...] = field(default=())

    @property
    def failed(self) -> tuple[Finding, ...]:
        """Findings at error severity that nothing accepts."""
        return tuple(f for f in self.findings if f.status is Status.FAIL and f.severity is Severity.ERROR)

    @property
    def inconclusive(self) -> tuple[Finding, ...]:
        """Rules that lacked what they need."""
        return tuple(found for found in self.findings if found.status is Status.INCONCLUSIVE)


def evaluate(subject: Subject, choice: Choice | None = None, terms: Terms | None = None) -> Evaluation:
    """Run the rules on ``subject``, in the order of their codes.

    Raises InputError for a choice of codes that no rule has.
    """
    chosen, accepted = choice or Choice(), terms or Terms()
    chosen.check(RULES.names())
    rules = _chosen(chosen)
    ignored = tuple(code for code, each in RULES.items() if each not in rules)
    found = [each for check in rules if not check.code.startswith(FAMILY) for each in check(subject)]
    governance = _governance(subject, found, rules, accepted)
    faults = [fault for code in ignored for fault in problems(subject, code)]
    settled = [*faults, *(_accepted(each, governance) for each in found)]
    governed = replace(subject, governance=governance)
    settled += [each for check in rules if check.code.startswith(FAMILY) for each in check(governed)]
    return Evaluation(tuple(settled), tuple(each.code for each in rules), ignored, governance.uses)


def _chosen(choice: Choice) -> list[Rule]:
    """Return the rules that run: as chosen, with the one that says whether rows can be believed where rows are read."""
    rules = [each for _, each in RULES.items()]
    taken = [each for each in rules if choice.takes(each.code) and not (choice.headers_only and each.reads_rows)]
    reads = any(each.reads_rows for each in taken)
    return [each for each in rules if each in taken or (reads and "content" in each.needs)]


def _governance(subject: Subject, found: Sequence[Finding], rules: Sequence[Rule], terms: Terms) -> Governance:
    open_codes = {each.code for each in found if each.status is Status.INCONCLUSIVE}
    evaluated = frozenset() if subject.problems else frozenset(each.code for each in rules) - open_codes
    parent = None if subject.previous is None else subject.previous.digest
    if terms.today is None:
        return Governance(parent_digest=parent, evaluated=evaluated, unenforced=terms.unenforced)
    waivers = () if subject.policy is None else subject.policy.waivers
    prints = {each.fingerprint(parent) for each in found}
    entries = () if terms.baseline is None else terms.baseline.entries
    gone = tuple(entry for entry in entries if entry.rule in evaluated and entry.fingerprint not in prints)
    return Governance(
        uses_of(waivers, found, terms.today, is_unsafe_allowed=terms.is_unsafe_allowed),
        terms.baseline,
        gone,
        parent,
        evaluated,
        terms.unenforced,
    )


def _accepted(found: Finding, governance: Governance) -> Finding:
    if found.status is not Status.FAIL:
        return found
    by_waiver = waived(found, governance.uses)
    if by_waiver.status is not Status.FAIL or governance.baseline is None:
        return by_waiver
    return baselined(by_waiver, governance.baseline, governance.parent_digest)
