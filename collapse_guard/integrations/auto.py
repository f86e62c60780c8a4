"""A guard for every Lightning trainer of an environment, through an entry point and without a change to the script.

It is off unless the variable ``COLLAPSE_GUARD_POLICY`` names a policy file. Lightning imports this module whenever a
Trainer is built, so that it loads nothing until then. Fabric has entry points too, but calls no hooks by itself: a
guard that nobody calls would be none, so that nothing is registered there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from collapse_guard.errors import InputError

if TYPE_CHECKING:
    from collapse_guard.integrations.lightning.auto_guard import AutoGuard

POLICY_VARIABLE: Final = "COLLAPSE_GUARD_POLICY"
MANIFEST_VARIABLE: Final = "COLLAPSE_GUARD_MANIFEST"


def lightning_callbacks() -> list[AutoGuard]:
    """Return one guard for the trainer that is being built; none unless ``COLLAPSE_GUARD_POLICY`` names a policy.

    ``COLLAPSE_GUARD_MANIFEST`` names the manifest of the training data; the policy's ``manifests.current`` if it is not
    set. Without a sampler the guard checks the data contract and the batches. It stands down for a CollapseGuard that
    the script has put in.

    Raises InputError, naming the variable, for files that cannot be used: a guard that was asked for is there, or the
    run does not begin.

    >>> lightning_callbacks()
    []
    """
    policy = os.environ.get(POLICY_VARIABLE)
    if not policy:
        return []
    from collapse_guard.integrations.lightning.auto_guard import AutoGuard  # noqa: PLC0415 - loaded only where it was asked for

    manifest = os.environ.get(MANIFEST_VARIABLE) or None
    try:
        return [AutoGuard(policy, manifest=manifest, name="auto")]
    except (InputError, OSError) as error:
        named = {POLICY_VARIABLE: policy} | ({} if manifest is None else {MANIFEST_VARIABLE: manifest})
        said = ", ".join(f"{name}={value}" for name, value in named.items())
        raise InputError(f"the guard of {said} cannot be used: {error}; mend it, or unset {POLICY_VARIABLE}") from error
