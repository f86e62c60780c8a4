"""A fixture for pytest: the data manifest, held to its policy, as one of your tests.

    def test_the_data_keeps_the_policy(collapse_guard_manifest):
        collapse_guard_manifest.assert_kept()

Policy and manifest are found as ``collapse-guard check`` finds them, from the root folder of pytest, unless options or
the ini file say so. Nothing of this package is imported before a test asks for the fixture.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapse_guard.gate import FailOn, GateResult
    from collapse_guard.records import Finding

_OPTIONS: Final = {
    "policy": "policy of the fixture collapse_guard_manifest; found as by 'collapse-guard check' if not given",
    "manifest": "manifest that it holds; the policy's manifests.current if not given",
    "against": "manifest of the parent generation; the policy's manifests.previous if not given",
}


@dataclass(frozen=True)
class GuardedManifest:
    """A manifest and the policy that it is held to.

    Args:
        policy: the policy file.
        manifest: None for the one that the policy names.
        against: manifest of the parent generation, None for the one that the policy names.
    """

    policy: Path
    manifest: Path | None = None
    against: Path | None = None

    def check(
        self, *, fail_on: FailOn = "error", select: Sequence[str] = (), ignore: Sequence[str] = (), waivers: bool = True
    ) -> GateResult:
        """Return what the gate finds: ``exit_code`` 0 kept, 1 violated, 2 unusable, 3 inconclusive.

        Args:
            fail_on: least severity that makes it 1.
            select: rules to run, by code or its beginning; all if empty.
            ignore: rules that do not run.
            waivers: whether waivers and the baseline are applied.
        """
        from collapse_guard import gate  # noqa: PLC0415 - nothing is loaded where no test asks
        from collapse_guard.rules import Choice  # noqa: PLC0415

        choice, terms = Choice(tuple(select), tuple(ignore)), gate.Governing(is_strict=not waivers)
        return gate.check(
            self.policy, self.manifest, against=self.against, fail_on=fail_on, choice=choice, governing=terms
        )

    @property
    def result(self) -> GateResult:
        """What the gate finds with all rules; asked once in a session."""
        return _checked(self)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What fails: neither waived, nor in the baseline, nor unanswered."""
        from collapse_guard.records import Status  # noqa: PLC0415

        return tuple(found for found in self.result.findings if found.status is Status.FAIL)

    def assert_kept(self, *, fail_on: FailOn = "error") -> None:
        """Fail the test unless the policy is kept; what was found is its message.

        What cannot be told fails as well: a rule that lacked what it needs is never a pass.
        """
        __tracebackhide__ = True
        result = self.result if fail_on == "error" else self.check(fail_on=fail_on)
        if result.exit_code == 0:
            return
        from collapse_guard.report.terminal import gate_lines  # noqa: PLC0415

        pytest.fail("\n".join(gate_lines(result.as_dict())), pytrace=False)


@functools.lru_cache(maxsize=8)
def _checked(manifest: GuardedManifest) -> GateResult:
    return manifest.check()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and the keys of the ini file."""
    group = parser.getgroup("collapse-guard", "data manifests under a policy")
    for name, said in _OPTIONS.items():
        group.addoption(f"--collapse-guard-{name}", metavar="FILE", default=None, help=said)
        parser.addini(f"collapse_guard_{name}", f"{said} (relative to the root folder)", default="")


@pytest.fixture(scope="session")
def collapse_guard_manifest(pytestconfig: pytest.Config) -> GuardedManifest:
    """The data manifest and its policy: ``assert_kept()``, ``check()``, ``result``, ``findings``."""
    from collapse_guard.errors import InputError  # noqa: PLC0415
    from collapse_guard.policy.discovery import find_policy  # noqa: PLC0415

    here = Path.cwd()  # tests may stand elsewhere when they use it
    try:
        found = find_policy(_policy(pytestconfig), start=pytestconfig.rootpath)
    except InputError as error:
        pytest.fail(f"collapse_guard_manifest: {error}; or pass --collapse-guard-policy", pytrace=False)
    others = {
        "manifest": _given(pytestconfig, "manifest"),
        "against": _given(pytestconfig, "against"),
    }
    return GuardedManifest(here / found.path, **{name: path and here / path for name, path in others.items()})


def _policy(config: pytest.Config) -> Path | None:
    """Return the policy that an option, the environment or the ini file names, in this order."""
    named = os.environ.get("COLLAPSE_GUARD_POLICY", "")
    option = _option(config, "policy")
    return option or (Path(config.invocation_params.dir, named) if named else _given(config, "policy"))


def _given(config: pytest.Config, name: str) -> Path | None:
    """Return what an option says, else what the ini file says, from the root folder."""
    said = str(config.getini(f"collapse_guard_{name}"))
    return _option(config, name) or (Path(config.rootpath, said) if said else None)


def _option(config: pytest.Config, name: str) -> Path | None:
    """Return what an option says, from where pytest was called."""
    said = config.getoption(f"--collapse-guard-{name}")
    return Path(config.invocation_params.dir, said) if said else None
