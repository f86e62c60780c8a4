"""Every error that this package raises on purpose.

CollapseGuardError
 +- InputError (ValueError)              unusable input; the command line exits with 2
 |   +- PolicyError                      the policy does not parse or contradicts itself
 |   +- ManifestError                    a manifest cannot be read or does not hold together
 |   |   +- SignatureError               it is not signed, signed by another key, or changed since
 |   +- ProvenanceError                  tags are missing, of another type, or impossible
 |   +- CellError                        a row cannot be mapped, or a cell is out of range
 |   +- FilterError                      a score is missing or not a number
 |   +- StatisticError                   counts or parameters that no statistic can take
 +- ContractError (RuntimeError)         a promise about the data is broken; exits with 1
 |   +- AccumulationError                real rows were lost, or nothing real went in
 +- CollapseHalt (RuntimeError)          the guard stopped a training run
 +- MissingExtraError (ImportError)      an optional package is not installed; exits with 2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from collapse_guard.records import Decision


class CollapseGuardError(Exception):
    """Base of every error of this package."""


class InputError(CollapseGuardError, ValueError):
    """Unusable input: the message says what, where and what to do."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of an input file, with the place where it stands.

    >>> str(Problem("CG001", "policy.yaml", 3, "mixx", "unknown key", "did you mean 'mix'?"))
    "policy.yaml:3: CG001 mixx: unknown key; did you mean 'mix'?"
    """

    code: str
    file: str
    line: int | None
    key: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        key = f" {self.key}:" if self.key else ""
        text = f"{place}: {self.code}{key} {self.message}{'; ' if self.remedy else ''}{self.remedy}"
        return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class PolicyError(InputError):
    """A policy that cannot be used; ``problems`` holds one entry per fault."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[PolicyError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


class ManifestError(InputError):
    """A manifest that cannot be read; ``path`` says which file, ``line`` where it has lines."""

    def __init__(self, message: str, *, path: str | Path | None = None, line: int | None = None) -> None:
        self.path = None if path is None else str(path)
        self.line = line
        super().__init__(message)


class SignatureError(ManifestError):
    """A manifest that is not signed, is signed by another key, or was changed since."""


class ProvenanceError(InputError):
    """Provenance tags that are missing, of another type, or impossible."""


class CellError(InputError):
    """A value that no cell map accepts."""


class FilterError(InputError):
    """A quality score that cannot be used."""


class StatisticError(InputError):
    """Counts or parameters that a statistic cannot take."""


class ContractError(CollapseGuardError, RuntimeError):
    """The data breaks a promise of the policy; nothing was trained."""


class AccumulationError(ContractError):
    """Real rows were lost since the parent generation, or nothing real went in."""


class CollapseHalt(CollapseGuardError, RuntimeError):  # noqa: N818 - it is the halt that is raised, as in StopIteration
    """The guard stopped a training run; ``decision`` says why."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        super().__init__(decision.message)

    def __reduce__(self) -> tuple[type[CollapseHalt], tuple[Decision]]:
        return type(self), (self.decision,)


class MissingExtraError(CollapseGuardError, ImportError):
    """An optional package is not installed; the message is the line to type."""
