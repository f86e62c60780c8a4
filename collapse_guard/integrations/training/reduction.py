"""Sums over all ranks without a per-step synchronisation, over a process group of the guard's own.

A window of batches is summed while the next one trains, and read one window late. Every message says how many ranks
still train: a rank that ends early goes on adding nothing until that number is 0, so uneven ranks neither hang nor
disagree.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import distributed

if TYPE_CHECKING:
    from datetime import timedelta

    from numpy.typing import NDArray

T = TypeVar("T")

log = logging.getLogger(__name__)


class Ranks:
    """All processes of a run, and a gloo group of host tensors among them; alone without ``torch.distributed``.

    A group of our own never interleaves with gradient buckets, involves no device stream, and waits no longer than
    the trainer's own group would.

    Args:
        timeout: longest wait for another rank; that of gloo (30 minutes) if left out.
    """

    def __init__(self, timeout: timedelta | None = None) -> None:
        is_several = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank() if is_several else 0
        self.size = distributed.get_world_size() if is_several else 1
        self._timeout = timeout
        self._group: Any = None
        if self.size > 1:
            self._group = self._made()

    @property
    def group(self) -> Any:
        """The group; made anew, by all ranks together, if it was left before."""
        if self._group is None:
            self._group = self._made()
        return self._group

    def _made(self) -> Any:
        return distributed.new_group(backend="gloo", timeout=self._timeout)

    def gathered(self, value: T) -> list[T]:
        """Return ``value`` of every rank, in their order; plain values only, at looks and not at steps."""
        if self.size == 1:
            return [value]
        parts: list[Any] = [None] * self.size
        distributed.all_gather_object(parts, value, group=self.group)
        return parts

    def summed(self, vector: list[int]) -> list[int]:
        """Return the sum over ranks of whole numbers, at once."""
        if self.size == 1:
            return vector
        total = torch.tensor(vector, dtype=torch.int64)
        distributed.all_reduce(total, group=self.group)
        summed: list[int] = total.tolist()
        return summed

    def leave(self) -> None:
        """Wait for all ranks, then give the group back.

        Its threads hold tensors: one that outlives the interpreter aborts the process, and a healthy run with it.
        """
        if self.size == 1:
            return
        distributed.barrier(group=self.group)
        distributed.destroy_process_group(self.group)
        self._group = None


class Window:
    """One vector of counts on its way over all ranks: started at one check, read at the next.

    Args:
        host: counts that lie on the host.
        device: counts that still lie on a device; they are copied without waiting.
        is_training: whether this rank has more batches to come, as far as it knows.
    """

    def __init__(
        self, ranks: Ranks, host: NDArray[np.int64], device: torch.Tensor | None, *, is_training: bool
    ) -> None:
        self._ranks = ranks
        self._total = torch.from_numpy(np.append(host, int(is_training)))
        self._copied: torch.Tensor | None = None
        self._event: Any = None
        self._work: Any = None
        self._is_sent = False
        if device is None:
            self._send()
        elif device.device.type == "cuda":
            self._copied = torch.empty(device.shape, dtype=device.dtype, pin_memory=True)
            self._copied.copy_(device, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()
        else:
            self._copied = device.cpu()
            self._send()

    def poll(self) -> None:
        """Send the counts to the other ranks as soon as they have arrived on the host; never waits."""
        if not self._is_sent and self._event.query():
            self._send()

    def flush(self) -> None:
        """Send the counts now: on every rank they must come before any other message of the same group."""
        if not self._is_sent:
            self._event.synchronize()
            self._send()

    def read(self) -> tuple[list[int], int]:
        """Return the sum over all ranks and how many of them still train; waits for what is not there yet."""
        self.flush()
        if self._work is not None:
            self._work.wait()
        *total, n_training = self._total.tolist()
        return total, n_training

    def _send(self) -> None:
        self._is_sent = True
        if self._copied is not None:
            self._total[:-1] += self._copied
        if self._ranks.size > 1:
            self._work = distributed.all_reduce(self._total, group=self._ranks.group, async_op=True)
