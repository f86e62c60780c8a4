"""The accumulation proof under a policy: which sources count, and what a manifest lost of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse_guard.manifest import Loss, lost_real_rows
from collapse_guard.plugins import nearest

if TYPE_CHECKING:
    from collapse_guard.manifest import Manifest
    from collapse_guard.policy import Policy


def proven_loss(policy: Policy, previous: Manifest, current: Manifest) -> Loss:
    """Return the real rows that ``current`` lost under the policy's scope; nothing if accumulation is off."""
    if policy.accumulation.mode == "off":
        return Loss()
    exempt = [name for name, source in policy.sources.items() if source.accumulate == "off"]
    return lost_real_rows(previous, current, scope=policy.accumulation.scope, exempt=exempt)


def unknown_scope(policy: Policy, previous: Manifest, current: Manifest) -> str | None:
    """Return what is wrong with a scope that names a source neither manifest has: it would prove nothing."""
    if policy.accumulation.mode == "off":
        return None
    known = {source.name for manifest in (previous, current) for source in manifest.header.sources}
    wrong = [name for name in policy.accumulation.scope or () if name not in known]
    if not wrong:
        return None
    return f"accumulation.scope names {wrong[0]!r}, a source of neither manifest; {nearest(wrong[0], known)}"
