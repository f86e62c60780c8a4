"""What was promised about the training data of a run: asked when it begins, and when it is resumed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from collapse_guard.integrations.loading.data_loader import other_data
from collapse_guard.manifest import Manifest, load_manifest
from collapse_guard.monitor import check_contract
from collapse_guard.monitor.given import given_manifest
from collapse_guard.policy import Policy

log = logging.getLogger(__name__)

#: Where the state of a data module speaks of its data.
KEY: Final = "collapse_guard"
_SCHEMA: Final = 1


class DataContract:
    """What was promised about the training data.

    Args:
        policy: the policy.
        manifest: manifest of the training data.
        parent: manifest of the generation before.
        real: manifest of the policy's ``coverage.reference``.
    """

    def __init__(self, policy: Policy, manifest: Manifest, parent: Manifest | None, real: Manifest | None) -> None:
        self.policy = policy
        self.manifest = manifest
        self.parent = parent
        self.real = real

    @classmethod
    def of(cls, policy: Any, manifest: Any, parent: Any) -> DataContract:
        """Return the contract, with what the policy names beside its file; raises PolicyError and ManifestError."""
        folder = Path() if isinstance(policy, (Policy, Mapping)) else Path(str(policy)).parent
        held = Policy.coerce(policy)
        reference = None if held.coverage is None else held.coverage.reference
        before = given_manifest(parent, held.manifests.previous, folder)
        own = manifest if isinstance(manifest, Manifest) else load_manifest(manifest)
        return cls(held, own, before, given_manifest(None, reference, folder))

    def check(self) -> None:
        """Raise ContractError unless the data keeps the policy."""
        check_contract(self.policy, self.manifest, self.parent, self.real)

    def note(self) -> dict[str, Any]:
        """Return what a checkpoint says of the data."""
        return {"schema": _SCHEMA, "manifest_digest": self.manifest.digest}

    def check_resumed(self, state: Mapping[str, Any]) -> None:
        """Raise ContractError if a checkpoint's state names other data; warn if it names none."""
        if KEY not in state:
            log.warning("collapse_guard: the checkpoint does not say what data it was trained on")
        elif state[KEY]["manifest_digest"] != self.manifest.digest:
            raise other_data(state[KEY]["manifest_digest"], self.manifest.digest)
