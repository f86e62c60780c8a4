"""The accumulation proof on Ray Data, for manifests that one machine should not compare alone.

Ids are cut into ranges by their top bits. A task compares one range, with the function that
:mod:`collapse_guard.manifest.partition` tests against DuckDB; the driver adds up what they lost. Workers open the parts
of both manifests by path, so these lie on a file system that all of them see.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from collapse_guard._optional import need
from collapse_guard.errors import InputError, ManifestError
from collapse_guard.manifest.ladder import Level, step_of
from collapse_guard.manifest.loss import LOST_SCHEMA, tallied
from collapse_guard.manifest.partition import id_range, lost_in_range, n_ranges, without
from collapse_guard.manifest.proof import Proof, proof_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike

    from collapse_guard.manifest import Manifest, Takedowns
    from collapse_guard.manifest.shard import Shard

#: A range reads whole row groups, of which a shard has eight: with more ranges each is read too often.
MOST_RANGES: Final = 64

_FAULT: Final = "fault"
_ANSWER: Final = LOST_SCHEMA.append(pa.field(_FAULT, pa.string()))


@contextmanager
def running(**options: Any) -> Iterator[None]:
    """Give a Ray that runs: the one there is, or a local one (``ray.init(**options)``) that ends with the block."""
    ray: Any = need("ray", extra="ray")
    if ray.is_initialized():
        yield
        return
    ray.init(**({"include_dashboard": False, "log_to_driver": False} | options))
    try:
        yield
    finally:
        ray.shutdown()


def prove_accumulation_on_ray(
    previous: Manifest,
    current: Manifest,
    *,
    scope: Sequence[str] | None = None,
    exempt: Sequence[str] = (),
    takedowns: Takedowns | None = None,
    lost_to: str | PathLike[str] | None = None,
    n_partitions: int | None = None,
) -> Proof:
    """Return what :func:`collapse_guard.manifest.prove_accumulation` returns, with rows compared by Ray tasks.

    Root and shard digests decide on the driver, without Ray; Ray is started if it does not run yet.

    Args:
        previous: manifest of the parent generation, written to disk.
        current: manifest of the generation that is checked, written to disk.
        scope: sources that must accumulate; None for all.
        exempt: sources that need not.
        takedowns: lawful deletions, which are no loss.
        lost_to: Parquet file that gets every lost row; the driver writes it.
        n_partitions: ranges of ids, one task each; about 4 million rows per range, at most 64 ranges, if left out.

    Raises ManifestError for other id rules, for a manifest in memory and for parts that cannot be read;
    MissingExtraError without ``ray[data]``.
    """
    if n_partitions is not None and n_partitions < 1:
        raise InputError(f"n_partitions must be at least 1, got {n_partitions}")
    step = step_of(previous, current, scope=scope, exempt=exempt)
    if step.level is not Level.ROWS:
        return proof_of(step, tallied([], takedowns=takedowns, lost_to=lost_to))
    parts = {"previous": _paths(step.previous), "changed": _paths(step.changed), "unchanged": _paths(step.unchanged)}
    n_rows = max(step.n_rows, sum(shard.entry.real_rows for shard in step.changed))
    n = n_partitions or n_ranges(n_rows, most=MOST_RANGES)
    with running():
        return proof_of(step, tallied(_lost(parts, n), takedowns=takedowns, lost_to=lost_to))


def _paths(shards: Sequence[Shard]) -> list[str]:
    paths = []
    for shard in shards:
        if shard.path is None:
            raise ManifestError(f"shard {shard.entry.name!r} is in memory; write the manifest where all workers see it")
        shard.check_readable()
        paths.append(str(shard.path.resolve()))
    return paths


def _lost(parts: dict[str, list[str]], n: int) -> Iterator[pa.Table]:
    """Yield the lost rows, range after range, in the order of their ids."""
    data: Any = need("ray.data", extra="ray")
    ranges = data.range(n, override_num_blocks=n)
    compared = ranges.map_batches(_compared, batch_format="pyarrow", batch_size=1, fn_kwargs={"parts": parts, "n": n})
    compared.context.execution_options.preserve_order = True
    for batch in compared.iter_batches(batch_format="pyarrow", batch_size=None):
        for fault in batch.column(_FAULT).drop_null().to_pylist():
            raise ManifestError(fault)
        yield batch.drop_columns([_FAULT]).cast(LOST_SCHEMA)


def _compared(batch: pa.Table, *, parts: dict[str, list[str]], n: int) -> pa.Table:
    """Return the rows that a range lost, and what went wrong if something did; runs on a worker.

    Ray hands errors on as text, with its own stack around them: a fault travels as data.
    """
    (number,) = batch.column("id").to_pylist()
    lo, hi = id_range(number, n)
    try:
        missing = lost_in_range(parts["previous"], parts["changed"], lo, hi)
        lost = without(missing, parts["unchanged"], lo, hi)
    except ManifestError as error:
        fault = {"id_hi": [lo], "id_lo": [0], "source": [None], "class": [None], _FAULT: [str(error)]}
        return pa.table(fault, schema=_ANSWER)
    return lost.append_column(_ANSWER.field(_FAULT), pa.nulls(lost.num_rows, pa.string()))
