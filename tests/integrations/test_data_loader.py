"""The loader that counts: what it hands out is what a plain one would, in each kind of batch, worker and trainer."""

from __future__ import annotations

import importlib
import json
import pickle
from collections import UserDict
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler

from collapse_guard.errors import ContractError, InputError, ProvenanceError
from collapse_guard.integrations.hugging_face.tags import tag
from collapse_guard.integrations.lightning.callback import CollapseGuard
from collapse_guard.integrations.loading import reading_order
from collapse_guard.integrations.loading.data_loader import GuardedDataLoader
from collapse_guard.records import BATCH_KEY, UNKNOWN_GENERATION, Origin
from collapse_guard.stats import BatchCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from collapse_guard.manifest import Manifest

    Made = Callable[..., Manifest]

N_ROWS = 23


@dataclass
class Item:
    """A row of a user's own kind, which says itself where it comes from."""

    x: torch.Tensor
    y: int
    who: int


def from_item(row: Item) -> int:
    return row.who


def from_packed(row: Any) -> list[int]:
    """Return tokens per origin of a row that was packed from three documents of one real and two synthetic."""
    return [0, len(row[0]) - 2, 2, 0, 0, 0]


def as_columns(rows: list[Item]) -> dict[str, torch.Tensor]:
    return {"x": torch.stack([row.x for row in rows]), "y": torch.tensor([row.y for row in rows])}


def values(row: int) -> tuple[torch.Tensor, int]:
    return torch.arange(32, dtype=torch.float32) + row, row


def codes(n_rows: int = N_ROWS) -> np.ndarray:
    """Return origins 0 to 2 and generations 0 to 2, shape (rows, 2)."""
    return np.stack([np.arange(n_rows) % 3, np.arange(n_rows) % 5 % 3], axis=1)


def kind_of(name: str, n_rows: int = N_ROWS) -> tuple[Any, Any, dict[str, Any]]:
    """Return (rows with provenance, the same rows without, arguments that say where it is) of one kind of batch."""
    said = codes(n_rows)
    bare = [dict(zip(("x", "y"), values(row), strict=True)) for row in range(n_rows)]
    pairs = [values(row) for row in range(n_rows)]
    items = [Item(*values(row), who=int(said[row, 0])) for row in range(n_rows)]
    tags = [
        {"cg_origin": int(a), "cg_generation": int(b), "cg_source": "web", "cg_generator": None, "cg_id": b"16 bytes"}
        for a, b in said
    ]
    kinds: dict[str, tuple[Any, Any, dict[str, Any]]] = {
        "dict": ([row | more for row, more in zip(bare, tags, strict=True)], bare, {}),
        "tuple": (pairs, pairs, {"provenance": said}),
        "list": ([list(pair) for pair in pairs], [list(pair) for pair in pairs], {"provenance": said[:, 0].tolist()}),
        "custom": (items, items, {"provenance_from": from_item, "collate_fn": as_columns}),
        "packed": (pairs, pairs, {"provenance_from": f"{__name__}:from_packed"}),
    }
    return kinds[name]


KINDS = ("dict", "tuple", "list", "custom", "packed")


def same(a: Any, b: Any) -> bool:
    """Return whether two batches are equal in kind, type and value."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def counted(counts: BatchCounts) -> tuple[tuple[int, ...], dict[int, int]]:
    return counts.origins, {code: n_rows for code, n_rows in enumerate(counts.generations) if n_rows}


def order(loader: Any) -> list[list[int]]:
    """Return the row numbers of each batch of one epoch."""
    return [batch["y"].tolist() for batch in loader]


def dict_rows(n_rows: int = N_ROWS) -> Any:
    return kind_of("dict", n_rows)[0]


# ------------------------------------------------------------------ the same batches


@settings(max_examples=60, deadline=None)
@given(
    n_rows=st.integers(0, 17),
    batch_size=st.integers(1, 6),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**31),
)
def test_law_batches_are_those_of_a_plain_loader_and_the_tally_is_a_direct_count(
    n_rows: int, batch_size: int, shuffle: bool, drop_last: bool, kind: str, seed: int
) -> None:
    rows, bare, more = kind_of(kind, n_rows)
    shuffle = shuffle and n_rows > 0  # torch refuses to shuffle nothing
    options: dict[str, Any] = {"batch_size": batch_size, "shuffle": shuffle, "drop_last": drop_last}
    collate = {"collate_fn": more["collate_fn"]} if "collate_fn" in more else {}
    torch.manual_seed(seed)
    plain = list(DataLoader(bare, **options, **collate))
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    loader = GuardedDataLoader(rows, **options, **more)
    assert len(loader) == len(plain)
    assert same(list(loader), plain)
    assert torch.equal(torch.get_rng_state(), state)
    seen = [row for batch in plain for row in (batch["y"] if isinstance(batch, dict) else batch[1]).tolist()]
    assert counted(loader.tally.taken()) == counted(direct_count(kind, rows, seen, n_rows))


def direct_count(kind: str, rows: Any, seen: list[int], n_rows: int) -> BatchCounts:
    said = codes(n_rows)
    each = {
        "dict": said,
        "tuple": said,
        "list": said[:, 0],
        "custom": said[:, 0],
        "packed": np.asarray([from_packed(row) for row in rows] if kind == "packed" else []),
    }[kind]
    return BatchCounts().update(np.asarray(each)[seen]) if seen else BatchCounts()


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("dict", {"num_workers": 2}),
        ("tuple", {"num_workers": 2, "persistent_workers": True}),
        pytest.param("custom", {"num_workers": 2, "prefetch_factor": 3}, marks=pytest.mark.slow),
        pytest.param("packed", {"num_workers": 2, "persistent_workers": True}, marks=pytest.mark.slow),
        pytest.param("tuple", {"num_workers": 2}, marks=pytest.mark.slow),
        pytest.param("dict", {"num_workers": 2, "persistent_workers": True}, marks=pytest.mark.slow),
        pytest.param("dict", {"num_workers": 1, "multiprocessing_context": "spawn"}, marks=pytest.mark.slow),
        pytest.param("tuple", {"num_workers": 1, "multiprocessing_context": "spawn"}, marks=pytest.mark.slow),
    ],
)
def test_workers_hand_out_the_same_batches_in_every_epoch(kind: str, more: dict[str, Any]) -> None:
    rows, bare, said = kind_of(kind)
    collate = {"collate_fn": said["collate_fn"]} if "collate_fn" in said else {}
    torch.manual_seed(3)
    plain = DataLoader(bare, batch_size=4, shuffle=True, **more, **collate)
    wanted, state = [list(plain), list(plain)], torch.get_rng_state()
    torch.manual_seed(3)
    loader = GuardedDataLoader(rows, batch_size=4, shuffle=True, **more, **said)
    assert same([list(loader)], wanted[:1])
    assert counted(loader.tally.taken()) == counted(direct_count(kind, rows, list(range(N_ROWS)), N_ROWS))
    assert same([list(loader)], wanted[1:])
    assert torch.equal(torch.get_rng_state(), state)
    assert loader.tally.taken().n_batches == len(loader)


def test_an_epoch_that_is_left_early_counts_what_came_out_and_the_next_one_is_whole() -> None:
    rows, _, said = kind_of("tuple")
    loader = GuardedDataLoader(rows, batch_size=4, num_workers=2, persistent_workers=True, **said)
    for _batch in loader:
        break
    assert loader.tally.taken().n_rows == 4
    assert sum(len(batch[1]) for batch in loader) == N_ROWS
    assert counted(loader.tally.taken()) == counted(BatchCounts().update(codes()))


@pytest.mark.parametrize(
    "made",
    [
        lambda rows: {"sampler": [5, 1, 1, 7], "batch_size": 2},
        lambda rows: {"sampler": torch.tensor([3, 0, 2]), "batch_size": 2},
        lambda rows: {"sampler": SubsetRandomSampler([2, 4, 8, 9]), "batch_size": 3},
        lambda rows: {"sampler": WeightedRandomSampler([1.0] * N_ROWS, 9), "batch_size": 4},
        lambda rows: {"sampler": RandomSampler(rows, replacement=True, num_samples=40), "batch_size": 7},
        lambda rows: {"batch_sampler": BatchSampler(RandomSampler(rows), 5, drop_last=True)},
        lambda rows: {"batch_sampler": [[1, 2], [3], [4, 4, 5]]},
        lambda rows: {"batch_size": None},
        lambda rows: {"batch_size": None, "sampler": SequentialSampler(rows)},
        lambda rows: {"batch_size": 4, "shuffle": True, "generator": torch.Generator().manual_seed(9)},
    ],
)
@pytest.mark.parametrize("kind", ["dict", "tuple"])
def test_samplers_are_the_users(made: Callable[[Any], dict[str, Any]], kind: str) -> None:
    rows, bare, said = kind_of(kind)
    torch.manual_seed(1)
    plain = list(DataLoader(bare, **made(bare)))
    torch.manual_seed(1)
    loader = GuardedDataLoader(rows, **made(rows), **said)
    assert same(list(loader), plain)
    ys = [batch["y"] if isinstance(batch, dict) else batch[1] for batch in plain]
    seen = [int(row) for y in ys for row in np.atleast_1d(np.asarray(y))]
    counts = loader.tally.taken()
    assert counts.origins == BatchCounts().update(codes()[seen]).origins
    assert counts.n_batches == len(plain)


class Stream(IterableDataset[Any]):
    """Rows that come one after the other, each worker its own."""

    def __init__(self, rows: Any, *, is_sized: bool = False) -> None:
        self.rows, self.is_sized = rows, is_sized

    def __iter__(self) -> Iterator[Any]:
        worker = torch.utils.data.get_worker_info()
        return iter(self.rows) if worker is None else iter(self.rows[worker.id :: worker.num_workers])


@pytest.mark.parametrize("n_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("batch_size", [4, None])
def test_streams(n_workers: int, batch_size: int | None) -> None:
    rows, bare, _ = kind_of("dict")
    plain = list(DataLoader(Stream(bare), batch_size=batch_size, num_workers=n_workers))
    loader = GuardedDataLoader(Stream(rows), batch_size=batch_size, num_workers=n_workers)
    assert same(list(loader), plain)
    assert counted(loader.tally.taken()) == counted(BatchCounts().update(codes()))


def test_rows_of_hugging_face_in_torch_format_lose_every_column_of_provenance() -> None:
    made = Dataset.from_dict({"x": [float(row) for row in range(6)], "text": list("abcdef")})
    rows = tag(made, origin="synthetic", source="bot", generator="bot@1", generation=2).with_format("torch")
    plain = list(DataLoader(made.with_format("torch"), batch_size=4))
    loader = GuardedDataLoader(rows, batch_size=4)
    assert same(list(loader), plain)
    assert counted(loader.tally.taken()) == ((0, 0, 6, 0, 0, 0), {2: 6})


def test_whole_batches_of_hugging_face_are_counted_row_by_row() -> None:
    made = Dataset.from_dict({"x": [float(row) for row in range(6)]})
    rows = tag(made, origin="synthetic", source="bot", generator="bot@1", generation=2).with_format("torch")
    sampler = BatchSampler(SequentialSampler(rows), 4, drop_last=False)
    loader = GuardedDataLoader(rows, batch_size=None, sampler=sampler)
    assert same(list(loader), list(DataLoader(made.with_format("torch"), batch_size=None, sampler=sampler)))
    assert counted(loader.tally.taken()) == ((0, 0, 6, 0, 0, 0), {2: 6})


@pytest.mark.parametrize("wrap", [UserDict, MappingProxyType])
def test_mappings_of_other_kinds_keep_their_kind_and_stay_as_they_are(wrap: Any) -> None:
    rows = [wrap(row) for row in dict_rows(4)]
    seen = next(iter(GuardedDataLoader(rows, batch_size=4, collate_fn=list)))
    assert [type(row) for row in seen] == [wrap] * 4
    assert [sorted(row) for row in seen] == [["x", "y"]] * 4
    assert all("cg_origin" in row for row in rows)


def test_a_collate_function_sees_the_users_own_rows() -> None:
    rows = kind_of("tuple", 4)[0]
    seen = next(iter(GuardedDataLoader(rows, batch_size=4, provenance=[1] * 4, collate_fn=lambda found: found)))
    assert all(a is b for a, b in zip(seen, rows, strict=True))


def test_a_worker_sees_the_users_own_dataset(tmp_path: Path) -> None:
    def noted(_: int) -> None:
        info = torch.utils.data.get_worker_info()
        assert info is not None
        (tmp_path / "kind").write_text(type(info.dataset).__name__)

    rows = Subset(kind_of("tuple")[0], [0, 1])
    list(GuardedDataLoader(rows, provenance=[1, 1], num_workers=1, worker_init_fn=noted))
    assert (tmp_path / "kind").read_text() == "Subset"


@pytest.mark.skipif(torch.accelerator.is_available(), reason="the message is that of a machine without accelerator")
def test_pinning_says_what_a_plain_loader_says() -> None:
    loader = GuardedDataLoader(dict_rows(4), batch_size=4, pin_memory=True)
    with pytest.warns(UserWarning, match="no accelerator is found"):
        assert order(loader) == [[0, 1, 2, 3]]


def test_a_row_may_carry_its_counts_under_the_key_of_batches() -> None:
    rows = [{"x": 1.0, BATCH_KEY: [0, 5, 3, 0, 0, 0]}, {"x": 2.0, BATCH_KEY: None}]
    loader = GuardedDataLoader(rows, batch_size=2)
    assert sorted(next(iter(loader))) == ["x"]
    assert loader.tally.taken().origins == (1, 5, 3, 0, 0, 0)


def test_a_batch_that_fails_does_not_shift_the_counts_of_the_others() -> None:
    class Torn:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, row: int) -> int:
            if row == 1:
                raise OSError("unreadable")
            return row

    batches = iter(GuardedDataLoader(Torn(), provenance=[1, 1, 2, 3]))
    seen = []
    for _ in range(4):
        try:
            seen.append(int(next(batches)))
        except OSError:
            seen.append(-1)
    assert seen == [0, -1, 2, 3]
    # the loader lives on in its iterator
    assert batches._tally.taken().origins == (0, 1, 1, 1, 0, 0)  # type: ignore[attr-defined]


def test_with_batches_out_of_order_an_epoch_is_counted_whole() -> None:
    loader = GuardedDataLoader(kind_of("tuple")[0], batch_size=4, num_workers=2, in_order=False, provenance=codes())
    assert sorted(row for _, ys in loader for row in ys.tolist()) == list(range(N_ROWS))
    assert counted(loader.tally.taken()) == counted(BatchCounts().update(codes()))


# ------------------------------------------------------------------ what it says of provenance


def test_what_is_null_or_no_code_is_unknown() -> None:
    said: list[dict[str, Any]] = [
        {"cg_origin": None, "cg_generation": None},
        {"cg_origin": float("nan"), "cg_generation": 1},
        {"cg_origin": 77, "cg_generation": 999},
        {"cg_origin": torch.tensor(1), "cg_generation": torch.tensor(0)},
        {"x": 1},
    ]
    loader = GuardedDataLoader(said, batch_size=5, collate_fn=len)
    list(loader)
    assert counted(loader.tally.taken()) == ((4, 1, 0, 0, 0, 0), {0: 1, 1: 1, UNKNOWN_GENERATION: 3})


def test_codes_out_of_range_of_an_array_are_unknown() -> None:
    loader = GuardedDataLoader(range(4), batch_size=4, provenance=np.array([[1, 0], [9, 0], [-3, 300], [2, 1]]))
    list(loader)
    assert counted(loader.tally.taken()) == ((2, 1, 1, 0, 0, 0), {0: 2, 1: 1, UNKNOWN_GENERATION: 1})


@pytest.mark.parametrize("as_kind", [list, np.array, torch.tensor, lambda codes: np.array(codes, dtype=np.uint8)])
def test_an_array_of_origins_may_be_of_any_kind(as_kind: Any) -> None:
    loader = GuardedDataLoader(range(3), provenance=as_kind([1, 2, 2]))
    list(loader)
    assert loader.tally.taken().origins == (0, 1, 2, 0, 0, 0)


def test_a_function_may_say_pairs_none_and_whole_batches() -> None:
    said = [Origin.REAL, None, Origin.SYNTHETIC]
    loader = GuardedDataLoader(range(3), batch_size=3, provenance_from=lambda row: said[row])
    list(loader)
    assert loader.tally.taken().origins == (1, 1, 1, 0, 0, 0)
    pairs = GuardedDataLoader(range(3), batch_size=3, provenance_from=lambda row: None if row else (2, 4))
    list(pairs)
    assert counted(pairs.tally.taken()) == ((2, 0, 1, 0, 0, 0), {4: 1, UNKNOWN_GENERATION: 2})
    whole = GuardedDataLoader([torch.zeros(5)], batch_size=None, provenance_from=lambda batch: np.ones((len(batch), 2)))
    with pytest.raises(ProvenanceError, match="integers"):
        list(whole)
    whole = GuardedDataLoader([torch.zeros(5)], batch_size=None, provenance_from=lambda batch: [[1, 0]] * len(batch))
    list(whole)
    assert counted(whole.tally.taken()) == ((0, 5, 0, 0, 0, 0), {0: 5})


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"provenance": [1, 2]}, "has 2 rows and the dataset 3"),
        ({"provenance": [1.0, 2.0, 1.0]}, "integers .*float64"),
        ({"provenance": [True, True, False]}, "integers .*bool"),
        ({"provenance": [1, None, 2]}, "write 0 for rows of unknown origin"),
        ({"provenance": np.ones((3, 3), dtype=int)}, r"shape \(3, 3\)"),
        ({"provenance": np.ones((3, 2, 1), dtype=int)}, r"shape \(3, 2, 1\)"),
        ({"provenance": 1}, r"shape \(\)"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ProvenanceError, match=said):
        GuardedDataLoader(range(3), **more)


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"provenance": [1], "provenance_from": len}, InputError, "say the same twice"),
        ({"provenance_from": "no_such_module:f"}, InputError, "cannot be loaded"),
        ({"provenance_from": "json:nothing"}, InputError, "name it as 'module:function'"),
        ({"missing": "warn"}, InputError, "error or ignore, got 'warn'"),
    ],
)
def test_arguments_that_cannot_be_are_refused(more: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        GuardedDataLoader([1], **more)


def test_a_stream_has_no_row_numbers() -> None:
    with pytest.raises(ProvenanceError, match="pass provenance_from="):
        GuardedDataLoader(Stream([1, 2]), provenance=[1, 1])


@pytest.mark.parametrize(
    "said",
    [lambda row: "real", lambda row: 1.0, lambda row: True, lambda row: (1, 2, 3), lambda row: [1] * (1 + row)],
)
def test_a_function_that_says_something_else_is_refused(said: Any) -> None:
    with pytest.raises(ProvenanceError, match="one origin, a pair of origin and generation, or 6 counts"):
        list(GuardedDataLoader(range(2), batch_size=2, provenance_from=said))


def test_a_sampler_of_names_cannot_be_aligned_with_an_array() -> None:
    rows: Any = {"a": 1, "b": 2}
    assert list(DataLoader(rows, sampler=["a", "b"])) == [torch.tensor([1]), torch.tensor([2])]
    with pytest.raises(ProvenanceError, match="aligned with row numbers; pass provenance_from="):
        list(GuardedDataLoader(rows, sampler=["a", "b"], provenance=[1, 1]))


@pytest.mark.parametrize("n_workers", [0, 1])
@pytest.mark.parametrize("rows", [[{"x": 1}, {"x": 2}], [(1, 2), (3, 4)]])
def test_rows_without_provenance_are_refused_with_the_three_remedies(rows: Any, n_workers: int) -> None:
    with pytest.raises(ProvenanceError, match=r"(?s)collapse_guard\.tag.*provenance=.*provenance_from="):
        list(GuardedDataLoader(rows, num_workers=n_workers))


def test_rows_without_provenance_may_pass_uncounted() -> None:
    rows: Any = [(1, 2), (3, 4)]
    loader = GuardedDataLoader(rows, batch_size=2, missing="ignore")
    assert same(list(loader), list(DataLoader(rows, batch_size=2)))
    assert loader.tally.taken().n_batches == 0


# ------------------------------------------------------------------ Lightning makes loaders again


@pytest.mark.parametrize("in_hook", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_lightning_puts_a_sampler_of_a_rank_into_it(
    namespace: Any, kind: str, in_hook: bool, real_manifest: Made
) -> None:
    data, update = lightning_tools(namespace)
    rows, bare, said = kind_of(kind)
    manifest = real_manifest().path
    if in_hook:
        with data._replace_dunder_methods(DataLoader, "dataset"), data._replace_dunder_methods(BatchSampler):
            loader = GuardedDataLoader(rows, 4, shuffle=True, **said, manifest=manifest)
    else:
        loader = GuardedDataLoader(rows, 4, shuffle=True, **said, manifest=manifest)
    sampler: DistributedSampler[Any] = DistributedSampler(rows, num_replicas=2, rank=1, seed=5)
    again = update(update(loader, sampler), sampler)
    assert type(again) is GuardedDataLoader
    assert again.tally is not loader.tally
    assert again.state_dict()["manifest_digest"] == loader.state_dict()["manifest_digest"] is not None
    collate = {"collate_fn": said["collate_fn"]} if "collate_fn" in said else {}
    assert same(list(again), list(DataLoader(bare, batch_size=4, sampler=sampler, **collate)))
    assert again.dataset is rows
    counts = direct_count(kind, rows, list(sampler), N_ROWS)
    assert counted(again.tally.taken()) == counted(counts)


def lightning_tools(space: Any) -> tuple[Any, Any]:
    """Return what Lightning watches a hook with, and what it makes a loader again with."""
    fabric = "lightning.fabric" if space.name == "lightning.pytorch" else "lightning_fabric"
    watched = importlib.import_module(f"{fabric}.utilities.data")
    return watched, importlib.import_module(f"{space.name}.utilities.data")._update_dataloader


def recorder(space: Any, seen: list[Any], *, stars: bool = False, folder: Path | None = None) -> Any:
    """Return a BoringModel that keeps the batches it gets, and saves a checkpoint after each if given a folder."""

    class Seen(space.boring.BoringModel):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            seen.append(batch)
            x = self.taken(**batch) if stars else batch["x"] if isinstance(batch, dict) else batch[0]
            return super().training_step(x, batch_idx)

        def on_train_batch_end(self, *_: Any) -> None:
            if folder is not None:
                self.trainer.save_checkpoint(folder / f"{self.trainer.global_step}.ckpt")

        def taken(self, *, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return x

    return Seen()


def train(space: Any, model: Any, loader: Any = None, *, ckpt_path: Any = None, dm: Any = None, **options: Any) -> Any:
    defaults: dict[str, Any] = {
        "max_epochs": 1,
        "limit_val_batches": 0,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = space.lightning.Trainer(**(defaults | options))
    trainer.fit(model, loader, datamodule=dm, ckpt_path=ckpt_path)
    return trainer


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
@pytest.mark.parametrize("n_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["dict", "tuple", "list", "custom"])
def test_a_model_gets_what_a_plain_loader_would_have_handed_it(
    namespace: Any, kind: str, n_workers: int, precision: str
) -> None:
    rows, bare, said = kind_of(kind, 6)
    collate = {"collate_fn": said["collate_fn"]} if "collate_fn" in said else {}
    wanted: list[Any] = []
    got: list[Any] = []
    train(namespace, recorder(namespace, wanted), DataLoader(bare, 4, **collate), precision=precision)
    loader = GuardedDataLoader(rows, 4, num_workers=n_workers, **said)
    model = recorder(namespace, got, stars=kind == "dict")
    trainer = train(namespace, model, loader, precision=precision)
    assert same(got, wanted)
    assert trainer.train_dataloader is loader
    assert counted(loader.tally.taken()) == counted(direct_count(kind, rows, list(range(6)), 6))


def test_the_callback_reads_what_the_loader_counted_of_batches_that_say_nothing(
    namespace: Any, real_manifest: Made, tmp_path: Path
) -> None:
    rows = kind_of("tuple", 12)[0]
    loader = GuardedDataLoader(rows, 4, provenance=[1] * 8 + [2] * 4)
    guard = CollapseGuard({"version": 1}, manifest=real_manifest(), mode="warn", report=tmp_path / "run.json")
    train(namespace, recorder(namespace, []), loader, callbacks=[guard], max_epochs=2, default_root_dir=tmp_path)
    told = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["batches"]
    assert {name: n_rows for name, n_rows in told["origins"].items() if n_rows} == {"real": 16, "synthetic": 8}
    assert (told["n_batches"], told["n_untagged_batches"]) == (6, 0)


# ------------------------------------------------------------------ state


def resumable(rows: Any, which: str, seed: int) -> GuardedDataLoader:
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, Any] = {
        "sequential": {},
        "shuffled": {"shuffle": True},
        "generator": {"shuffle": True, "generator": generator},
        "replacement": {"sampler": RandomSampler(rows, replacement=True, generator=generator)},
        "weighted": {"sampler": WeightedRandomSampler([1.0] * len(rows), 20)},
        "subset": {"sampler": SubsetRandomSampler(range(2, 19), generator=generator)},
        "distributed": {"sampler": DistributedSampler(rows, num_replicas=2, rank=1, seed=11)},
        "batches": {"batch_sampler": BatchSampler(RandomSampler(rows), 4, drop_last=False)},
    }
    size: dict[str, Any] = {} if which == "batches" else {"batch_size": 4}
    return GuardedDataLoader(rows, **size, **made[which])


@pytest.mark.parametrize("n_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("n_batches", [1, 2])
@pytest.mark.parametrize(
    "which", ["sequential", "shuffled", "generator", "replacement", "weighted", "subset", "distributed", "batches"]
)
def test_an_epoch_goes_on_where_its_state_was_saved(which: str, n_batches: int, n_workers: int, tmp_path: Path) -> None:
    rows = dict_rows()
    loader = resumable(rows, which, seed=1)
    loader.num_workers, loader.prefetch_factor = n_workers, 2 if n_workers else None
    if which == "distributed":
        loader.sampler.set_epoch(3)  # type: ignore[attr-defined]
    batches = iter(loader)
    for _ in range(n_batches):
        next(batches)
    torch.save(loader.state_dict(), tmp_path / "state.pt")
    wanted = [batch["y"].tolist() for batch in batches]
    following = order(loader)

    again = resumable(rows, which, seed=2)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert again.state_dict()["n_batches"] == n_batches
    assert len(again) == len(loader)
    assert order(again) == wanted
    assert again.tally.taken().n_batches == len(wanted)
    if which in {"generator", "subset", "replacement", "sequential"}:
        assert order(again) == following  # orders of a generator of one's own go on over the end of the epoch
    elif which != "distributed":
        assert order(again) != wanted


def test_going_on_leaves_the_global_random_state_as_a_new_epoch_does() -> None:
    loader, again, plain = (GuardedDataLoader(dict_rows(), 4, sampler=SubsetRandomSampler(range(9))) for _ in range(3))
    next(iter(loader))
    again.load_state_dict(loader.state_dict())
    torch.manual_seed(5)
    order(again)
    state = torch.get_rng_state()
    torch.manual_seed(5)
    torch.empty((), dtype=torch.int64).random_()  # the seed of workers, and nothing for the order
    assert torch.equal(torch.get_rng_state(), state)
    order(plain)
    assert not torch.equal(torch.get_rng_state(), state)


def test_after_a_whole_epoch_the_next_one_is_new_and_drawn_by_the_same_generator() -> None:
    rows = dict_rows()
    loader = resumable(rows, "generator", seed=1)
    order(loader)
    state = loader.state_dict()
    assert state["n_batches"] == 0
    wanted = order(loader)
    again = resumable(rows, "generator", seed=2)
    again.load_state_dict(state)
    assert order(again) == wanted


def test_the_last_batch_of_an_epoch_ends_it() -> None:
    loader = resumable(dict_rows(), "sequential", seed=1)
    batches = iter(loader)
    for _ in range(len(loader)):
        next(batches)
    assert loader.state_dict()["n_batches"] == 0
    loader.epoch_batches = 2
    batches = iter(loader)
    next(batches)
    assert loader.state_dict()["n_batches"] == 1
    next(batches)
    assert loader.state_dict()["n_batches"] == 0


def test_an_epoch_that_the_trainer_has_left_behind_is_not_gone_on_with() -> None:
    rows = dict_rows()
    loader = resumable(rows, "distributed", seed=1)
    next(iter(loader))
    again = resumable(rows, "distributed", seed=1)
    again.load_state_dict(loader.state_dict())
    batches = iter(again)
    again.sampler.set_epoch(1)  # type: ignore[attr-defined]
    plain = DataLoader(kind_of("dict")[1], 4, sampler=again.sampler)
    assert [batch["y"].tolist() for batch in batches] == order(plain)


@pytest.mark.parametrize("n_workers", [0, 1])
def test_a_new_epoch_after_a_checkpoint_is_the_one_that_the_trainer_names(n_workers: int) -> None:
    rows = dict_rows()
    loader = resumable(rows, "distributed", seed=1)
    order(loader)
    sampler: DistributedSampler[Any] = DistributedSampler(rows, num_replicas=2, rank=1, seed=11)
    again = GuardedDataLoader(rows, 4, sampler=sampler, num_workers=n_workers)
    again.load_state_dict(loader.state_dict())
    batches = iter(again)  # Lightning opens the epoch before it names it
    sampler.set_epoch(1)
    assert [batch["y"].tolist() for batch in batches] == order(DataLoader(kind_of("dict")[1], 4, sampler=sampler))


class OwnSampler(RandomSampler):
    """A sampler that may do anything."""


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda rows: GuardedDataLoader(Stream(rows), 4), "order of an iterable dataset is not known"),
        (
            lambda rows: GuardedDataLoader(rows, 4, sampler=OwnSampler(rows)),
            "OwnSampler cannot be drawn again",
        ),
        (lambda rows: GuardedDataLoader(rows, batch_sampler=[[1], [2], [3]]), "list cannot be drawn again"),
    ],
)
def test_where_the_order_is_not_known_it_says_so_and_begins_anew(
    made: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    loader, again = made(dict_rows()), made(dict_rows())
    next(iter(loader))
    again.load_state_dict(loader.state_dict())
    assert said in caplog.text
    assert sum(map(len, order(again))) == sum(map(len, order(loader)))


def test_another_order_than_the_checkpoints_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    loader = GuardedDataLoader(dict_rows(), 4)
    next(iter(loader))
    again = GuardedDataLoader(dict_rows(), 5)
    again.load_state_dict(loader.state_dict())
    assert "saved in the middle of an epoch of another order" in caplog.text
    assert order(again)[0] == [0, 1, 2, 3, 4]


def test_ranks_that_draw_for_themselves_begin_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reading_order, "_n_ranks", lambda: 2)
    loader, again = (resumable(dict_rows(), "shuffled", seed=seed) for seed in (1, 2))
    next(iter(loader))
    again.load_state_dict(loader.state_dict())
    assert "RandomSampler cannot be drawn again for this rank" in caplog.text


def test_other_data_than_the_checkpoints_is_refused(real_manifest: Made) -> None:
    first, second = real_manifest("first"), real_manifest("second", {"0": 50})
    state = GuardedDataLoader(dict_rows(), manifest=first).state_dict()
    GuardedDataLoader(dict_rows(), manifest=first.path).load_state_dict(state)
    for other in (second, None):
        with pytest.raises(ContractError, match="resume on the same data, or start a new generation") as caught:
            GuardedDataLoader(dict_rows(), manifest=other).load_state_dict(state)
        assert first.digest in str(caught.value)
        assert str(other and other.digest) in str(caught.value)


def test_a_loader_is_pickled_with_its_place_and_its_iterator_as_nothing() -> None:
    loader = GuardedDataLoader(kind_of("tuple")[0], 4, shuffle=True, provenance=codes())
    batches = iter(loader)
    next(batches)
    again = pickle.loads(pickle.dumps(loader))
    assert again.tally.taken().n_rows == 4
    assert sum(len(ys) for _, ys in again) == N_ROWS
    assert pickle.loads(pickle.dumps(batches)) is None


@pytest.mark.parametrize("n_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("at_step", [2, 5, 6, 8])
def test_a_lightning_run_goes_on_at_the_right_row(namespace: Any, tmp_path: Path, at_step: int, n_workers: int) -> None:
    def made(seed: int) -> GuardedDataLoader:
        rows = dict_rows()
        generator = torch.Generator().manual_seed(seed)
        return GuardedDataLoader(rows, 4, shuffle=True, generator=generator, num_workers=n_workers)

    whole: list[Any] = []
    train(namespace, recorder(namespace, whole, folder=tmp_path), made(1), max_epochs=2)
    rest: list[Any] = []
    loader = made(2)
    train(namespace, recorder(namespace, rest), loader, ckpt_path=tmp_path / f"{at_step}.ckpt", max_epochs=2)
    assert [batch["y"].tolist() for batch in rest] == [batch["y"].tolist() for batch in whole[at_step:]]
    assert loader.tally.taken().n_batches == 12 - at_step
