"""Training batches of all ranks, window by window: the sums of one are on their way while the next one trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collapse_guard.errors import ContractError
from collapse_guard.integrations.loading.batch_tally import HostTally
from collapse_guard.integrations.training.reduction import Window
from collapse_guard.monitor import REMEDIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from collapse_guard.integrations.loading.batch_tally import BatchTally
    from collapse_guard.integrations.training.reduction import Ranks
    from collapse_guard.policy.schema import Batches
    from collapse_guard.stats import BatchCounts


class BatchWindows:
    """Counts batches, sums a window of them over all ranks, and tells the sums one window later.

    Args:
        tally: counts the batches of this rank.
        policy: section ``batches``: how long a window is, and what batches must say.
        checked: told counts and cells of a window of all ranks, and whether it ends the batches of all of them.
    """

    def __init__(
        self, tally: BatchTally, policy: Batches, checked: Callable[[BatchCounts, tuple[int, ...], bool], object]
    ) -> None:
        self.n_batches = 0
        self._tally, self._policy, self._checked = tally, policy, checked
        self._window: Window | None = None
        self._loaders: list[HostTally] = []

    def forget_loaders(self) -> None:
        """Drop what loaders counted for a run before; those of the next one may be ahead already when it begins."""
        for tally in self._loaders:
            tally.taken()

    def begin(self, loaders: Iterable[Any]) -> None:
        """Start anew, with the counts of these loaders."""
        self._tally.clear()
        self.read_loaders(loaders)
        self._window, self.n_batches = None, 0

    def read_loaders(self, loaders: Iterable[Any]) -> None:
        """Read the counts of these loaders from now on.

        Raises ContractError if only some of them count and the policy asks for provenance.
        """
        given = list(loaders)
        self._loaders = [loader.tally for loader in given if isinstance(getattr(loader, "tally", None), HostTally)]
        if 0 < len(self._loaders) < len(given) and self._policy.missing == "error":
            text = f"{len(given) - len(self._loaders)} of {len(given)} training loaders do not count their rows"
            raise ContractError(f"{text}; make all of them GuardedDataLoader, or say batches.missing: warn")

    def add(self, batch: Any, ranks: Ranks) -> None:
        """Count a batch, and send a window that is full; nothing is read back from the device.

        Raises ContractError at the first batch if the policy asks for provenance and there is none.
        """
        is_tagged = self._tally.add(batch)
        if self.n_batches == 0 and not is_tagged and not self._loaders and self._policy.missing == "error":
            raise ContractError(f"batches do not say where their rows come from (batches.missing: error); {REMEDIES}")
        self.n_batches += 1
        if self._window is not None:
            self._window.poll()
        if self.n_batches % self._policy.every_batches == 0:
            self._read(ranks)
            self._send(ranks, is_training=True)

    def drain(self, ranks: Ranks, *, whole: bool = False) -> None:
        """Take what is left of the batches of all ranks; a rank that is done adds nothing until the others are too."""
        self._read(ranks)
        n_training = ranks.size
        while n_training:
            self._send(ranks, is_training=False)
            n_training = self._read(ranks, whole=whole)

    def flush(self) -> None:
        """Send what is under way before any other message: its moment depends on the device of each rank."""
        if self._window is not None:
            self._window.flush()

    def settle_alone(self, ranks: Ranks) -> None:
        """Count all batches so far, where no other rank has to be waited for."""
        if ranks.size == 1 and self.n_batches:
            self._read(ranks)
            self._send(ranks, is_training=True)
            self._read(ranks)

    def _send(self, ranks: Ranks, *, is_training: bool) -> None:
        host, device = self._tally.taken(self._loaders)
        self._window = Window(ranks, host, device, is_training=is_training)

    def _read(self, ranks: Ranks, *, whole: bool = False) -> int:
        """Take the window that is under way, and return how many ranks still train."""
        if self._window is None:
            return ranks.size
        total, n_training = self._window.read()
        self._window = None
        counts, cells = self._tally.split(total)
        if counts.n_batches or n_training == 0:
            self._checked(counts, tuple(cells), whole and n_training == 0)
        return n_training
