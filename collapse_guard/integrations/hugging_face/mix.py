"""Mixes of datasets: plan on tags alone, then take the rows; measure what came out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from datasets import Dataset, IterableDataset, concatenate_datasets

from collapse_guard.curate import cell_map, check_origins, is_nested, pools_of
from collapse_guard.errors import AccumulationError, InputError, ProvenanceError
from collapse_guard.integrations.hugging_face.rows import narrow_rows, planned_dataset
from collapse_guard.integrations.hugging_face.tags import arrow_rows
from collapse_guard.kernels import id_words
from collapse_guard.mixing import MixPlan, broken, measured_shares
from collapse_guard.mixing import plan_mix as plan_pools
from collapse_guard.mixing.arguments import check_whole
from collapse_guard.mixing.pool import ids_digest
from collapse_guard.policy import Policy
from collapse_guard.records import ID, PROVENANCE_COLUMNS, SCORE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    import pyarrow as pa


def plan_mix(
    real: Dataset | Sequence[Dataset],
    synthetic: Dataset | Sequence[Dataset],
    policy: Policy | Mapping[str, Any] | str | PathLike[str],
    *,
    seed: int | None = None,
    reference: Mapping[str, float] | None = None,
) -> MixPlan:
    """Return which rows train, as data; no row is copied.

    Args:
        real: one or several tagged datasets; all their rows enter, unless the policy has a budget.
        synthetic: one or several tagged datasets that could enter; with a column ``cg_score`` if the policy filters by
            quality.
        policy: a Policy, a mapping, or the path of a YAML file.
        seed: instead of ``mix.seed``.
        reference: real amount per class for ``mix.balance`` and ``mix.budget``; that of ``real`` if left out.

    Raises AccumulationError for no real row, ProvenanceError for datasets that are not tagged, tagged otherwise or of
    unknown origin; errors of :func:`collapse_guard.mixing.plan_mix`.

    >>> from collapse_guard import tag
    >>> web = tag(Dataset.from_dict({"text": list("abc")}), origin="real", source="web")
    >>> bot = tag(Dataset.from_dict({"text": list("wxyz")}), origin="synthetic", source="bot", generation=1)
    >>> plan = plan_mix(web, bot, {"version": 1, "mix": {"real_min_share": 0.6}})
    >>> len(apply_mix(plan, web, bot)), plan.real_share
    (5, 0.6)
    """
    rules = Policy.coerce(policy)
    if seed is not None:
        check_whole("seed", seed, least=0)
        rules = rules.model_copy(update={"mix": rules.mix.model_copy(update={"seed": seed})})
    tables = [_tagged_rows(given, rules, kind) for given, kind in ((real, "real"), (synthetic, "synthetic"))]
    if tables[0].num_rows == 0:
        raise AccumulationError("there is no real row; add real rows first, generated ones never stand alone")
    check_origins(tables[0], tables[1], rules)
    cells = cell_map(tables[0], rules)
    if rules.filters.quality is not None and tables[1].num_rows and SCORE not in tables[1].column_names:
        raise ProvenanceError(f"the policy filters by quality: add the score of each synthetic row as {SCORE}")
    pools = pools_of(tables[0], tables[1], rules, cells)
    return plan_pools(pools.real, pools.synthetic, rules, reference=reference)


def apply_mix(
    plan: MixPlan,
    real: Dataset | Sequence[Dataset],
    synthetic: Dataset | Sequence[Dataset],
    *,
    shuffle: bool = False,
    streaming: bool = False,
) -> Dataset | IterableDataset:
    """Return the rows of a plan as one dataset.

    Args:
        plan: of :func:`plan_mix` on these datasets, or loaded from its file.
        real, synthetic: the datasets that the plan was made of, in their order.
        shuffle: rows interleaved at random, so that any stretch of them is a sample of the mix; else real rows first.
        streaming: return an IterableDataset over the same rows.

    Raises InputError if the datasets are not those of the plan.
    """
    if not isinstance(plan, MixPlan):
        raise InputError(f"a MixPlan is needed, got {type(plan).__name__}; load a saved one with MixPlan.load")
    held, pool = _listed(real, "real"), _listed(synthetic, "synthetic")
    _check_fits(held, plan.n_real_rows, plan.pool_digests[0], "real")
    _check_fits(pool, plan.n_pool_rows, plan.pool_digests[1], "synthetic")
    made = planned_dataset(plan, held, pool, shuffle=shuffle)
    return made.to_iterable_dataset() if streaming else made


def _check_fits(parts: Sequence[Dataset], size: int, digest: str, kind: str) -> None:
    """Raise InputError unless datasets hold the rows that a plan was made of."""
    n_rows = sum(len(part) for part in parts)
    remedy = "plan again, or pass the datasets that it was made of in their order"
    if n_rows != size:
        raise InputError(f"the plan is of {size} {kind} rows, the datasets have {n_rows}; {remedy}")
    if size and ids_digest(*id_words(_column(parts, ID))) != digest:
        raise InputError(f"the {kind} rows are not those of the plan: their ids differ; {remedy}")


def _column(parts: Sequence[Dataset], name: str) -> pa.ChunkedArray:
    joined = concatenate_datasets([part.select_columns([name]) for part in parts])
    return arrow_rows(joined).column(name)


def _listed(given: Dataset | Sequence[Dataset], kind: str) -> list[Dataset]:
    """Return one or several datasets as a list; raises ProvenanceError for anything else."""
    listed = list(given) if isinstance(given, (list, tuple)) else [given]
    for number, part in enumerate(listed):
        if not isinstance(part, Dataset):
            text = f"{kind} dataset {number}: a datasets.Dataset is needed, got {type(part).__name__}"
            raise ProvenanceError(f"{text}; name a split of a dict, mix streams with mix_streams")
    return listed


def _tagged_rows(given: Dataset | Sequence[Dataset], policy: Policy, kind: str) -> pa.Table:
    """Return the narrow rows of tagged datasets."""
    parts = _listed(given, kind)
    for number, part in enumerate(parts):
        absent = [name for name in PROVENANCE_COLUMNS if name not in part.column_names]
        if absent:
            raise ProvenanceError(f"{kind} dataset {number} lacks {', '.join(absent)}; tag it first")
    return narrow_rows(parts, policy)


def measure_mix(dataset: Dataset, policy: Policy | Mapping[str, Any] | str | PathLike[str]) -> dict[str, Any]:
    """Return what a tagged dataset really holds, over the whole and over windows of it in its order.

    Rows are counted as they stand, whatever made them: a row that is neither real nor synthetic has its own origin.

    Returns ``shares`` by kind of group (origin, source, generator, generation, class; least, whole, largest over
    windows of ``mix.window_rows``) and ``breaches``, one line for each share that breaks the policy: in the whole
    exactly, in a window beyond what chance does in a shuffled order.

    Raises ProvenanceError for a dataset that is not tagged.
    """
    rules = Policy.coerce(policy)
    if not isinstance(dataset, Dataset):
        text = f"a datasets.Dataset is needed, got {type(dataset).__name__}"
        raise ProvenanceError(f"{text}; epoch_report says what a mix of streams has given")
    absent = [name for name in PROVENANCE_COLUMNS if name not in dataset.column_names]
    if absent:
        raise ProvenanceError(f"the dataset lacks {', '.join(absent)}; tag it first")
    rows = narrow_rows([dataset], rules)
    label = None if rules.coverage is None else rules.coverage.class_column
    column = label if label in rows.column_names and not is_nested(rows, str(label)) else None
    shares = measured_shares(rows, class_column=column, window_rows=rules.mix.window_rows)
    return {
        "shares": {kind: found.as_dict() for kind, found in shares.items()},
        "breaches": [breach.describe() for breach in broken(shares, rules)],
    }
