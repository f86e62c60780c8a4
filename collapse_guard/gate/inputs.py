"""What the gate reads: policy, manifests, takedowns, baseline, measurements; a fault is kept, not raised."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from collapse_guard.errors import InputError, ManifestError, PolicyError, Problem
from collapse_guard.manifest import Manifest, load_manifest, load_takedowns
from collapse_guard.policy import resolve_policy
from collapse_guard.policy.resolved import refused_waivers
from collapse_guard.rules import Subject
from collapse_guard.rules.baseline import load_baseline

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable
    from os import PathLike

    from collapse_guard.manifest import Limits, Takedowns
    from collapse_guard.manifest.measurement import Measurement
    from collapse_guard.policy import Policy, Resolved
    from collapse_guard.rules.baseline import Baseline

    StrPath = str | PathLike[str]

T = TypeVar("T")
FailOn = Literal["error", "warning", "never"]


@dataclass(frozen=True)
class Governing:
    """What may be accepted.

    Args:
        baseline: list of known findings; the policy's ``baseline`` if left out.
        has_baseline: whether the baseline is applied; waivers are in any case.
        is_strict: apply neither waivers nor the baseline (``--no-waivers``).
        is_unsafe_allowed: take waivers of rules that cannot be waived; every report says so.
        today: day on which waivers are looked at; today in UTC if left out.
    """

    baseline: StrPath | None = None
    has_baseline: bool = True
    is_strict: bool = False
    is_unsafe_allowed: bool = False
    today: dt.date | None = None


@dataclass(frozen=True)
class Given:
    """What a caller names; what is left out comes from the policy, relative to its file.

    Args:
        policy: the policy file.
        manifest: the manifest that is checked.
        against: the manifest of its parent generation.
        signature_key: public key that must have signed the manifest.
        governing: what may be accepted.
    """

    policy: StrPath
    manifest: StrPath | None = None
    against: StrPath | None = None
    signature_key: StrPath | None = None
    governing: Governing = Governing()


@dataclass
class Inputs:
    """Everything that could be read, and why the rest could not.

    Args:
        given: what the caller named.
        resolved: the policy with the place of every value, None if it could not be read.
        subject: what the rules look at.
        baseline: known findings, None if there are none.
        problems: faults, by rule code.
    """

    given: Given
    resolved: Resolved | None = None
    subject: Subject = field(default_factory=Subject)
    baseline: Baseline | None = None
    problems: list[Problem] = field(default_factory=list)

    @property
    def policy(self) -> Policy | None:
        """The policy, None if it could not be read."""
        return None if self.resolved is None else self.resolved.policy

    def files(self) -> tuple[Path, ...]:
        """Return every file and index folder that was named, to be spared by what is written."""
        folder, subject, policy = Path(self.given.policy).parent, self.subject, self.policy
        manifests = [each for each in (subject.manifest, subject.previous, subject.reference) if each is not None]
        written = [path for each in manifests if each.path is not None for path in (each.path, each.folder)]
        extended = () if self.resolved is None else self.resolved.tree.extended
        named = () if policy is None else (policy.accumulation.takedowns, *policy.measurements.files)
        beside = [folder / name for name in named if name is not None]
        single = (self.given.policy, self.given.signature_key, _baseline_path(self, folder))
        listed = [*single, *extended, *beside, *written]
        return tuple(dict.fromkeys(Path(path) for path in listed if path is not None))

    def tried(self, load: Callable[[], T], code: str, path: StrPath) -> T | None:
        """Return what ``load`` returns, or note why it could not."""
        try:
            return load()
        except PolicyError as error:
            self.problems += error.problems
        except ManifestError as error:
            self.problems.append(problem_of(error, code, str(path)))
        except InputError as error:
            self.problems.append(Problem(code, str(path), None, "", str(error)))
        return None


def read_inputs(given: Given, limits: Limits | None, *, headers_only: bool = False) -> Inputs:
    """Return everything that a check looks at; reads headers and the footers of parts, no rows."""
    inputs = Inputs(given)
    # no function that cells name is run here
    inputs.resolved = inputs.tried(lambda: resolve_policy(given.policy, allow_code=True), "CG001", given.policy)
    policy, folder = inputs.policy, Path(given.policy).parent
    named = None if policy is None else policy.manifests
    current = _manifest(inputs, given.manifest, named.current if named else None, folder)
    if given.manifest is None and named is not None and named.current is None:
        remedy = "pass --manifest, or set manifests.current"
        inputs.problems.append(Problem("CG003", "", None, "manifest", "none given", remedy))
    previous = _manifest(inputs, given.against, named.previous if named else None, folder)
    anchor = policy.coverage.reference if policy and policy.coverage else None
    reference = _manifest(inputs, None, anchor, folder)
    for loaded in (current, previous, reference):
        if loaded is not None and not headers_only:
            inputs.tried(loaded.check_readable, "CG004", loaded.name)
    _check_signature(inputs, current)
    if inputs.resolved is not None and not given.governing.is_unsafe_allowed:
        inputs.problems += refused_waivers(inputs.resolved)
    inputs.baseline = _baseline(inputs, folder)
    listed, measured = _takedowns(inputs, folder), _measurements(inputs, folder)
    inputs.subject = Subject(
        policy,
        current,
        previous,
        reference,
        problems=tuple(inputs.problems),
        takedowns=listed,
        limits=limits,
        measurements=measured,
    )
    return inputs


def problem_of(error: ManifestError, code: str, path: str) -> Problem:
    """Return the fault of a file as a problem of a rule."""
    place = f"{error.path}: " if error.line is None else f"{error.path}:{error.line}: "
    return Problem(code, error.path or path, error.line, "", str(error).removeprefix(place))


def _manifest(inputs: Inputs, given: StrPath | None, declared: str | None, folder: Path) -> Manifest | None:
    if given is None and declared is None:
        return None
    path = Path(given) if given is not None else folder / str(declared)
    return inputs.tried(lambda: load_manifest(path), "CG003", path)


def _baseline(inputs: Inputs, folder: Path) -> Baseline | None:
    path = _baseline_path(inputs, folder)
    return None if path is None else inputs.tried(lambda: load_baseline(path), "CG902", path)


def _baseline_path(inputs: Inputs, folder: Path) -> Path | None:
    given, declared = inputs.given.governing, None if inputs.policy is None else inputs.policy.baseline
    if not given.has_baseline or (given.baseline is None and declared is None):
        return None
    return folder / str(declared) if given.baseline is None else Path(given.baseline)


def _takedowns(inputs: Inputs, folder: Path) -> Takedowns | None:
    named = None if inputs.policy is None else inputs.policy.accumulation.takedowns
    if named is None:
        return None
    return inputs.tried(lambda: load_takedowns(folder / named), "CG208", folder / named)


def _measurements(inputs: Inputs, folder: Path) -> tuple[Measurement, ...]:
    if inputs.policy is None or not inputs.policy.measurements.files:
        return ()
    from collapse_guard.manifest.measurement import load_measurement  # noqa: PLC0415 - few policies name one

    paths = [folder / name for name in inputs.policy.measurements.files]
    found = [inputs.tried(partial(load_measurement, path), "CG003", path) for path in paths]
    return tuple(each for each in found if each is not None)


def _check_signature(inputs: Inputs, current: Manifest | None) -> None:
    key = inputs.given.signature_key
    if key is None or current is None or current.path is None:
        return
    from collapse_guard.manifest.signing import require_signature  # noqa: PLC0415 - only with the extra "sign"

    path = current.path
    inputs.tried(lambda: require_signature(path, key, digest=current.digest), "CG004", path)
