"""What a limit of the section ``measurements`` asks for, and which figures of which files answer it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from collapse_guard.kernels import one_line
from collapse_guard.rules.estimated import WORST, Bound, Item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapse_guard.manifest.measurement import Detector, Figure, Key, Measurement
    from collapse_guard.records import Finding, Severity
    from collapse_guard.rules.registry import Subject
    from collapse_guard.stats.estimates import Estimated

SECTION: Final = "measurements"


@dataclass(frozen=True)
class Ask:
    """A limit and the figures that it is about.

    Args:
        key: key of the section ``measurements``.
        names: figures that answer it.
        unit, remedy, is_floor: as in :class:`~collapse_guard.rules.estimated.Bound`.
    """

    code: str
    severity: Severity
    key: str
    names: tuple[str, ...]
    unit: str
    remedy: str
    is_floor: bool = False

    def bound(self, subject: Subject) -> Bound | None:
        """Return the limit of the policy, None where it asks for none."""
        assert subject.policy is not None
        limit = getattr(subject.policy.measurements, self.key)
        if limit is None:
            return None
        return Bound(self.code, self.severity, (SECTION, self.key), limit, self.unit, self.remedy, self.is_floor)

    def takes(self, figure: Figure) -> bool:
        """Return whether a figure answers it."""
        return figure.name in self.names


@dataclass(frozen=True)
class Taken:
    """A figure, and the measurement that it stands in."""

    figure: Figure
    measurement: Measurement

    @property
    def where(self) -> dict[str, str]:
        """Source and class that it is of."""
        named = {"source": self.figure.source, "class": self.figure.class_}
        return {key: name for key, name in named.items() if name is not None}

    @property
    def subject(self) -> str:
        """What a finding is about: the figure, and its date if it has one."""
        return self.figure.name if self.figure.at is None else f"{self.figure.name} at {self.figure.at}"

    @property
    def of(self) -> str:
        """The same for a message."""
        return "".join(f" of {key} {one_line(name)!r}" for key, name in self.where.items())

    def item(self, what: str, found: Estimated | None = None, *, more: str = "", method: str = "") -> Item:
        """Return the figure as what a limit is held against, or what was made of it."""
        from collapse_guard.stats import estimates  # noqa: PLC0415 - loads only where it is asked

        figure = self.figure
        return Item(
            f"{what}{self.of}{'' if figure.at is None else f' at {figure.at}'}",
            self.subject,
            found or estimates.Estimated(figure.value, *figure.interval),
            figure.n,
            figure.level,
            method or one_line(figure.method),
            self.where,
            {"figure": figure.name, "measurement": self.measurement.name, "made_by": self.measurement.made_by},
            more,
        )


def answers(subject: Subject, ask: Ask, bound: Bound) -> tuple[list[Taken], list[Finding]]:
    """Return the figures that answer, and what leaves the question open.

    Open are measurements of another manifest, figures that two files give, and the lack of any.
    """
    assert subject.manifest is not None
    digest = subject.manifest.digest
    named = [each for each in dict.fromkeys(subject.measurements) if any(map(ask.takes, each.figures))]
    figures: dict[Key, list[Taken]] = {}
    for measurement in named:
        for figure in measurement.figures if measurement.manifest == digest else ():
            if ask.takes(figure):
                figures.setdefault(figure.key, []).append(Taken(figure, measurement))
    others = [each for each in named if each.manifest != digest]
    twice = [each for each in figures.values() if len(each) > 1]
    still_open = [_of_others(bound, others, digest)] if others else []
    still_open += [_told_twice(bound, twice)] if twice else []
    if not named:
        text = f"{SECTION}.{ask.key} is asked, and no measurement of this manifest holds {' or '.join(ask.names)}"
        remedy = f"measure it, and name the file in {SECTION}.files"
        still_open = [bound.open(text, ask.key, remedy=remedy)]
    return [each[0] for each in figures.values() if len(each) == 1], still_open


def _of_others(bound: Bound, others: Sequence[Measurement], digest: str) -> Finding:
    told = ", ".join(f"{one_line(each.name)} is of manifest {each.manifest[:19]}..." for each in others[:WORST])
    remedy = f"measure this manifest again, or take what is old out of {SECTION}.files"
    evidence = {"measured": [each.manifest for each in others[:WORST]], "manifest": digest}
    return bound.open(f"{told}, not of {digest[:19]}...", "other manifests", remedy=remedy, evidence=evidence)


def _told_twice(bound: Bound, twice: Sequence[Sequence[Taken]]) -> Finding:
    first = twice[0]
    files = " and ".join(one_line(each.measurement.name) for each in first)
    more = f", and of {len(twice) - 1} more figures" if twice[1:] else ""
    text = f"{first[0].subject}{first[0].of} has more than one value, of {files}{more}"
    return bound.open(text, "told twice", remedy=f"keep one of them in {SECTION}.files")


def error_rates(detector: Detector) -> str:
    """Return how often a detector errs, as a clause."""
    wrong = f"false positives {detector.false_positive_rate:.4g} of {detector.n_real_rows} real rows"
    missed = f"false negatives {detector.false_negative_rate:.4g} of {detector.n_synthetic_rows} synthetic rows"
    return f"detector {one_line(detector.name)!r}: {wrong}, {missed}"
