"""The guard that an environment variable puts into a trainer; it gives way to one of the script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collapse_guard._optional import need
from collapse_guard.errors import InputError
from collapse_guard.integrations.lightning.callback import CollapseGuard

rank_zero_info = need("lightning_utilities.core.rank_zero", extra="lightning").rank_zero_info

if TYPE_CHECKING:
    from pytorch_lightning import LightningModule, Trainer


class AutoGuard(CollapseGuard):
    """A CollapseGuard that leaves the trainer if the script has put in one of its own.

    Made by :func:`collapse_guard.integrations.auto.lightning_callbacks`.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the trainer if another guard is in it; else set up as any guard."""
        held: Any = trainer  # its attribute `callbacks` is declared nowhere
        others = [each for each in held.callbacks if isinstance(each, CollapseGuard) and each is not self]
        if not others:
            if stage == "fit":
                self._check_guarded()
                rank_zero_info("collapse_guard: COLLAPSE_GUARD_POLICY has put a guard into this trainer")
            super().setup(trainer, pl_module, stage)
            return
        # A new list: the trainer is going through the old one right now.
        held.callbacks = [each for each in held.callbacks if each is not self]
        names = ", ".join(repr(each.session.name) for each in others)
        rank_zero_info(f"collapse_guard: the guard of COLLAPSE_GUARD_POLICY stands down for the script's own ({names})")

    def _check_guarded(self) -> None:
        """Raise InputError if this guard would check nothing: the script cannot mend that, its environment can."""
        if self.manifest is None and self.policy.batches.missing != "error":
            remedies = "set COLLAPSE_GUARD_MANIFEST, or manifests.current or batches.missing: error in the policy"
            raise InputError(f"the guard of COLLAPSE_GUARD_POLICY has nothing to check; {remedies}")
