"""A mix plan as data: which rows, how often, with which weight. Any loader can replay it."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collapse_guard._atomic import write_bytes
from collapse_guard.errors import InputError
from collapse_guard.kernels import canonical_bytes, mix64, seed_word, sha256_hex
from collapse_guard.mixing.arguments import check_whole
from collapse_guard.mixing.quotas import Shortage

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

SCHEMA: Final = "collapse-guard/mix-plan/1"
_POOLS: Final = ("real", "synthetic")


@dataclass(frozen=True, slots=True)
class Left:
    """Synthetic rows that stayed out, each counted once, by the first reason that holds.

    Args:
        n_filtered_rows: the filter did not keep them.
        n_too_deep_rows: above the generation limit.
        n_unwanted_rows: of a source that asks for no share, where others do; under ``balance: anchor`` of no class of
            the reference.
        n_capped_rows: good enough and over a cap or a quota.
    """

    n_filtered_rows: int = 0
    n_too_deep_rows: int = 0
    n_unwanted_rows: int = 0
    n_capped_rows: int = 0


@dataclass(frozen=True, eq=False)
class MixPlan:
    """Which rows enter: row numbers of the two pools that it was made of. Plans of one digest are equal.

    Args:
        real: row numbers of the real pool, ascending, int64; all of them unless the policy has a budget.
        chosen: row numbers of the synthetic pool, ascending; a repeated row stands in it more than once.
        n_real_rows, n_pool_rows: sizes of the two pools.
        real_amount, synthetic_amount: what trains, in ``unit``.
        real_weight, synthetic_weight: what a row of each kind weighs; 1 unless ``mix.weights`` says otherwise.
        left: synthetic rows that stayed out.
        short: what was wanted and not there, and what caps held back of it.
        n_topped_up_rows: synthetic rows that stand in for real ones that a class lacks of its reference.
        pool_digests: digests of the two pools; a plan fits no others.
    """

    real: NDArray[np.int64]
    chosen: NDArray[np.int64]
    n_real_rows: int
    n_pool_rows: int
    real_amount: float
    synthetic_amount: float
    real_weight: float = 1.0
    synthetic_weight: float = 1.0
    left: Left = Left()
    short: tuple[Shortage, ...] = ()
    n_topped_up_rows: int = 0
    unit: str = "rows"
    seed: int = 0
    policy_digest: str | None = None
    pool_digests: tuple[str, str] = ("", "")

    @property
    def n_rows(self) -> int:
        """Rows of the output."""
        return int(self.real.size + self.chosen.size)

    @property
    def n_retained_rows(self) -> int:
        """Real rows that do not train under a budget; they stay in the manifest."""
        return self.n_real_rows - int(self.real.size)

    @property
    def n_repeated_rows(self) -> int:
        """Rows of the output that stand for a synthetic row that is already in it."""
        return int(self.chosen.size - np.count_nonzero(np.bincount(self.chosen)))

    @property
    def real_share(self) -> float:
        """Share of what trains that is real, in the unit of the plan; 0 for nothing."""
        total = self.real_amount + self.synthetic_amount
        return self.real_amount / total if total else 0.0

    @property
    def facts(self) -> dict[str, Any]:
        """Everything but the row numbers, as plain values."""
        return {
            "schema": SCHEMA,
            "n_real_rows": self.n_real_rows,
            "n_pool_rows": self.n_pool_rows,
            "real_amount": self.real_amount,
            "synthetic_amount": self.synthetic_amount,
            "real_weight": self.real_weight,
            "synthetic_weight": self.synthetic_weight,
            "left": asdict(self.left),
            "short": [shortage.as_dict() for shortage in self.short],
            "n_topped_up_rows": self.n_topped_up_rows,
            "unit": self.unit,
            "seed": self.seed,
            "policy_digest": self.policy_digest,
            "pool_digests": list(self.pool_digests),
        }

    @property
    def digest(self) -> str:
        """Digest over row numbers and facts: equal plans give equal training sets."""
        rows = [part.astype("<i8").tobytes() for part in (self.real, self.chosen)]
        sizes = {"sizes": [int(self.real.size), int(self.chosen.size)]}  # where one part ends is part of it
        return sha256_hex([canonical_bytes(self.facts | sizes), *rows])

    def __eq__(self, other: object) -> bool:
        """Return whether the other is a plan of the same rows and facts."""
        return self.digest == other.digest if isinstance(other, MixPlan) else NotImplemented

    def __hash__(self) -> int:
        """Return the hash of the digest."""
        return hash(self.digest)

    def order(self, seed: int | None = None) -> NDArray[np.int64]:
        """Return the output rows interleaved at random, int64 of shape (rows,).

        Numbers below ``real.size`` are places in ``real``, the others in ``chosen``. The order is the same in every
        process; any stretch of it is a random sample of the output. Raises InputError for a seed that is none.
        """
        if seed is not None:
            check_whole("seed", seed, least=0)
        start = int(seed_word(self.seed if seed is None else seed)[0])
        words = np.arange(self.n_rows, dtype=np.uint64) + np.uint64(start)
        keys: NDArray[np.uint64] = mix64(mix64(words) + words)
        return np.argsort(keys, kind="stable").astype(np.int64)

    def as_table(self) -> pa.Table:
        """Return one row per row of the output, real ones first: ``pool``, ``row`` and ``weight``."""
        sizes = (self.real.size, self.chosen.size)
        pools = pa.DictionaryArray.from_arrays(
            pa.array(np.repeat(np.arange(2, dtype=np.int8), sizes)), pa.array(list(_POOLS))
        )
        weights = np.repeat([self.real_weight, self.synthetic_weight], sizes)
        return pa.table({"pool": pools, "row": np.concatenate([self.real, self.chosen]), "weight": weights})

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the plan as one Parquet file: :meth:`as_table`, the facts in its metadata."""
        sink = io.BytesIO()
        facts = json.dumps(self.facts | {"digest": self.digest}, sort_keys=True)
        pq.write_table(self.as_table().replace_schema_metadata({"collapse_guard": facts}), sink, compression="zstd")
        return write_bytes(path, sink.getvalue())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> MixPlan:
        """Return the plan of a file; raises InputError for a file that is none, or that was changed."""
        try:
            table = pq.read_table(Path(path), partitioning=None)
            facts = json.loads((table.schema.metadata or {})[b"collapse_guard"])
            plan = _plan_of(table, facts)
            is_as_written = plan.digest == facts["digest"] and plan.as_table().column("weight").equals(table["weight"])
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; write it with plan.save") from None
        except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
            said = " ".join(str(error).split())
            raise InputError(f"{path}: not a mix plan ({said}); write it again with plan.save") from None
        if not is_as_written:
            raise InputError(f"{path}: the plan was changed after it was written; write it again with plan.save")
        return plan


def _plan_of(table: pa.Table, facts: dict[str, Any]) -> MixPlan:
    if facts.get("schema") != SCHEMA:
        raise ValueError(f"its schema is {facts.get('schema')!r}, this version reads {SCHEMA!r}")
    is_real = pc.equal(table.column("pool").cast(pa.string()), _POOLS[0]).to_numpy()
    rows = table.column("row").cast(pa.int64()).to_numpy()
    numbers = {key: facts[key] for key in ("real_amount", "synthetic_amount", "real_weight", "synthetic_weight")}
    return MixPlan(
        rows[is_real],
        rows[~is_real],
        facts["n_real_rows"],
        facts["n_pool_rows"],
        **numbers,
        left=Left(**facts["left"]),
        short=tuple(Shortage.of_dict(shortage) for shortage in facts["short"]),
        n_topped_up_rows=facts["n_topped_up_rows"],
        unit=facts["unit"],
        seed=facts["seed"],
        policy_digest=facts["policy_digest"],
        pool_digests=tuple(facts["pool_digests"]),
    )
