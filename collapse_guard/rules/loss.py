"""The accumulation proof under a policy: which sources count, and what a manifest lost of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collapse_guard.kernels import one_line
from collapse_guard.manifest import Loss, prove_accumulation, relabelled
from collapse_guard.plugins import nearest

if TYPE_CHECKING:
    from collections.abc import Collection

    from collapse_guard.manifest import Limits, Manifest, Proof, Relabelled, Takedowns
    from collapse_guard.policy import Policy

#: Letters of a list of sources that a message holds; of more it says nothing.
_LONGEST: Final = 200


def exempt_sources(policy: Policy) -> list[str]:
    """Return the sources that the policy takes out of the proof."""
    return [name for name, source in policy.sources.items() if source.accumulate == "off"]


def proven(
    policy: Policy,
    previous: Manifest,
    current: Manifest,
    *,
    takedowns: Takedowns | None = None,
    limits: Limits | None = None,
) -> Proof | None:
    """Return the accumulation proof under the policy's scope, None if accumulation is off.

    Args:
        takedowns: the list that ``accumulation.takedowns`` names, loaded.
        limits: memory, threads and spill folder.
    """
    if policy.accumulation.mode == "off":
        return None
    scope, exempt = policy.accumulation.scope, exempt_sources(policy)
    return prove_accumulation(previous, current, scope=scope, exempt=exempt, takedowns=takedowns, limits=limits)


def proven_loss(policy: Policy, previous: Manifest, current: Manifest, *, takedowns: Takedowns | None = None) -> Loss:
    """Return the real rows that ``current`` lost under the policy's scope; nothing if accumulation is off."""
    proof = proven(policy, previous, current, takedowns=takedowns)
    return Loss() if proof is None else proof.loss


def changed_classes(
    policy: Policy, previous: Manifest, current: Manifest, *, limits: Limits | None = None
) -> Relabelled:
    """Return the real rows in scope that changed their class under their id."""
    return relabelled(previous, current, scope=policy.accumulation.scope, exempt=exempt_sources(policy), limits=limits)


def accumulates(policy: Policy, source: str) -> bool:
    """Return whether the real rows of a source must stay, as far as scope and exemptions say so."""
    scope, declared = policy.accumulation.scope, policy.sources.get(source)
    is_exempt = declared is not None and declared.accumulate == "off"
    return not is_exempt and (scope is None or source in scope)


def required_sources(policy: Policy) -> dict[str, tuple[str, ...]]:
    """Return the sources whose real rows the policy wants to stay by name, each with the key that says so.

    Those of ``accumulation.scope``, and those that say ``accumulate: strict``; none if accumulation is off.
    """
    if policy.accumulation.mode == "off":
        return {}
    strict = {name: source for name, source in policy.sources.items() if source.accumulate == "strict"}
    named: dict[str, tuple[str, ...]] = {name: ("sources", name, "accumulate") for name in strict}
    return named | dict.fromkeys(policy.accumulation.scope or (), ("accumulation", "scope"))


def unknown_scope(policy: Policy, previous: Manifest, current: Manifest) -> str | None:
    """Return what is wrong with a scope that names a source neither manifest has: it would prove nothing."""
    if policy.accumulation.mode == "off":
        return None
    known = {source.name for manifest in (previous, current) for source in manifest.header.sources}
    wrong = [name for name in policy.accumulation.scope or () if name not in known]
    if not wrong:
        return None
    return f"accumulation.scope names {wrong[0]!r}, a source of neither manifest; {meant(wrong[0], known)}"


def meant(name: str, sources: Collection[str]) -> str:
    r"""Return which source may be meant by a name that none has, as one line; names come from the data.

    >>> meant("boks", ["books", "web"]), meant("x", ["two\nlines"]), meant("x", [])
    ("did you mean 'books'?", 'allowed: two\\nlines', 'correct the name, or leave it out')
    """
    told = one_line(nearest(name, sources)) if sources else ""
    return told if told and len(told) <= _LONGEST else "correct the name, or leave it out"
