"""What a command that checks is asked for: options over the project's ``pyproject.toml``, over discovery."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collapse_guard.policy.discovery import find_policy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collapse_guard.policy.discovery import Found


class FailOn(StrEnum):
    """Which findings make the exit code 1."""

    ERROR = "error"
    WARNING = "warning"
    NEVER = "never"


PolicyOption = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        "-p",
        help="The policy, a YAML file. Left out: COLLAPSE_GUARD_POLICY, then collapse_guard.yaml here or above, then"
        " tool.collapse_guard in pyproject.toml.",
    ),
]
ManifestOption = Annotated[
    Path | None,
    typer.Option("--manifest", "-m", help="Manifest to check; the policy's manifests.current if left out."),
]
AgainstOption = Annotated[
    Path | None,
    typer.Option("--against", help="Manifest of the parent generation; the policy's manifests.previous if left out."),
]
BaselineOption = Annotated[
    Path | None, typer.Option("--baseline", help="List of known findings; the policy's baseline if left out.")
]
NoConfig = Annotated[
    bool, typer.Option("--no-config", help="Look for no policy and read no pyproject.toml; needs --policy.")
]


@dataclass(frozen=True)
class Asked:
    """The files of a check, and what the project says of the rest.

    Args:
        found: the policy and how it was found.
        manifest: None for the policy's own.
        against: None for the policy's own.
        baseline: None for the policy's own.
    """

    found: Found
    manifest: Path | None = None
    against: Path | None = None
    baseline: Path | None = None

    @property
    def policy(self) -> Path:
        """The policy file."""
        return self.found.path

    @property
    def notes(self) -> list[str]:
        """What the project's table changes, and how the policy was chosen, where that may surprise."""
        project = self.found.project
        said = {"fail_on": project.fail_on, "ignore": ", ".join(project.ignore)}
        told = [f"pyproject.toml sets {key} to {value}" for key, value in said.items() if value]
        return [*told, *self.found.notes]

    def fail_on(self, given: FailOn | None) -> FailOn:
        """Return the severity that fails the check."""
        return given or FailOn(self.found.project.fail_on or FailOn.ERROR)

    def ignore(self, given: Iterable[str] | None) -> tuple[str, ...]:
        """Return the codes that do not run, in capitals."""
        return codes(given) or codes(self.found.project.ignore)


def asked(
    policy: Path | None,
    manifest: Path | None = None,
    against: Path | None = None,
    baseline: Path | None = None,
    *,
    no_config: bool = False,
) -> Asked:
    """Return what is asked for; raises InputError if no policy can be found."""
    return Asked(find_policy(policy, is_isolated=no_config), manifest, against, baseline)


def codes(given: Iterable[str] | None) -> tuple[str, ...]:
    """Return rule codes from options that may hold several each.

    >>> codes(["cg1, CG203", "CG3"])
    ('CG1', 'CG203', 'CG3')
    """
    return tuple(code.strip().upper() for each in given or () for code in each.split(",") if code.strip())
