"""Provenance columns of Hugging Face rows: out of the rows before they are collated, into the batch as one tensor."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from collapse_guard.integrations.loading.counting_collate import bare
from collapse_guard.integrations.loading.row_provenance import provenance_codes
from collapse_guard.records import BATCH_KEY, GENERATION, ORIGIN

if TYPE_CHECKING:
    from collections.abc import Callable

#: The columns that a batch's tensor is made of; the others need not travel to a collator.
CARRIED: Final = (ORIGIN, GENERATION)


class ProvenanceCollator:
    """Collator around another one, which never sees a column of provenance and gets along without knowing of it.

    It runs where the inner one runs, in a worker too. A batch that is no mapping carries no provenance.

    Args:
        inner: the collator of the trainer, from a list of rows to a batch.
        keep: put the provenance of the rows into the batch; False only takes it out, as for evaluation.

    >>> rows = [{"x": 1.0, "cg_origin": 1, "cg_generation": 0, "cg_source": "web"}, {"x": 2.0, "cg_origin": None}]
    >>> ProvenanceCollator(lambda rows: {"x": [row["x"] for row in rows]})(rows)
    {'x': [1.0, 2.0], 'collapse_guard': tensor([[  1,   0],
            [  0, 255]])}
    """

    def __init__(self, inner: Callable[..., Any], *, keep: bool = True) -> None:
        self.inner = inner
        self.keep = keep

    def __call__(self, rows: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        """Return the inner collator's batch of ``rows``, with their provenance under ``records.BATCH_KEY``."""
        batch = self.inner([bare(row) for row in rows], *args, **kwargs)
        codes = provenance_codes(rows) if self.keep and isinstance(batch, MutableMapping) else None
        if codes is not None:
            batch[BATCH_KEY] = codes
        return batch
