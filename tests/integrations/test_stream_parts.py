"""Streams in the holder: planned on what was read once, given again as a stream of the very same rows."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, IterableDataset, IterableDatasetDict

from collapse_guard import GuardedDataset
from collapse_guard.errors import CellError, InputError, ProvenanceError
from collapse_guard.records import ID, ORIGIN, WEIGHT, Origin

PLAIN: dict[str, Any] = {"version": 1}
BOT: dict[str, Any] = {"source": "bot", "generator": "bot@1", "generation": 1}


def rows(prefix: str, n: int, *, label: str = "cat") -> Dataset:
    return Dataset.from_dict({"text": [f"{prefix} {row}" for row in range(n)], "label": [label] * n})


def stream(prefix: str, n: int, **more: Any) -> IterableDataset:
    return rows(prefix, n, **more).to_iterable_dataset(num_shards=2)


def test_streams_give_the_manifest_and_the_rows_that_datasets_give() -> None:
    plain = GuardedDataset(PLAIN).add_real(rows("real", 30), source="web").add_synthetic(rows("made", 60), **BOT)
    lazy = GuardedDataset(PLAIN).add_real(stream("real", 30), source="web").add_synthetic(stream("made", 60), **BOT)
    assert lazy.manifest().digest == plain.manifest().digest
    made = lazy.training_set(streaming=True)
    assert isinstance(made, IterableDataset)
    assert [row["text"] for row in made] == plain.training_set()["text"][:]
    assert lazy.report() == plain.report()


def test_a_shuffled_stream_keeps_the_real_share_in_every_prefix() -> None:
    data = GuardedDataset(PLAIN).add_real(stream("real", 40), source="web").add_synthetic(stream("made", 90), **BOT)
    origins = [row[ORIGIN] for row in data.training_set(shuffle=True, streaming=True)]
    assert origins.count(Origin.REAL) == origins.count(Origin.SYNTHETIC) == 40
    shares = np.cumsum(np.asarray(origins) == Origin.REAL) / np.arange(1, 81)
    assert shares.min() >= 0.5


def test_datasets_and_streams_stand_beside_each_other() -> None:
    data = GuardedDataset(PLAIN).add_real(rows("real", 5), source="web").add_real(stream("more", 5), source="books")
    data.add_synthetic(stream("made", 4), **BOT)
    assert len(list(data.training_set(streaming=True))) == 14
    with pytest.raises(InputError, match="streams were added: pass streaming=True"):
        data.training_set()


def test_a_stream_goes_on_at_its_place() -> None:
    data = GuardedDataset(PLAIN).add_real(stream("real", 20), source="web").add_synthetic(stream("made", 9), **BOT)
    whole = [row["text"] for row in data.training_set(shuffle=True, streaming=True)]
    begun = data.training_set(shuffle=True, streaming=True)
    assert isinstance(begun, IterableDataset)
    reader = iter(begun)
    first = [next(reader)["text"] for _ in range(11)]
    again = data.training_set(shuffle=True, streaming=True)
    assert isinstance(again, IterableDataset)
    again.load_state_dict(begun.state_dict())
    assert first + [row["text"] for row in again] == whole


def test_a_split_of_a_dict_of_streams_is_named() -> None:
    splits = IterableDatasetDict({"train": stream("real", 4)})
    assert GuardedDataset(PLAIN).add_real(splits, source="web", split="train").manifest().n_rows == 4
    with pytest.raises(ProvenanceError, match="it has the splits train; name one with split="):
        GuardedDataset(PLAIN).add_real(splits, source="web")


def test_generations_and_takedowns_work_without_a_save() -> None:
    first = GuardedDataset(PLAIN).add_real(stream("real", 6), source="web")
    gone = first.real[0].rows[ID][2].as_py()
    second = first.next_generation().take_down([gone], reason="erasure 118")
    texts = [row["text"] for row in second.training_set(streaming=True)]
    assert texts == ["real 0", "real 1", "real 3", "real 4", "real 5"]
    assert second.manifest().header.generation == 1


def test_weights_and_amounts_go_with_a_stream() -> None:
    policy = PLAIN | {"unit": "bytes", "unit_column": "text", "mix": {"weights": "golden"}}
    data = GuardedDataset(policy).add_real(stream("real", 10), source="web").add_synthetic(stream("made", 10), **BOT)
    assert (data.plan().real_amount, data.plan().synthetic_amount) == (60.0, 60.0)
    weights = [row[WEIGHT] for row in data.training_set(streaming=True)]
    assert sum(weights[:10]) / sum(weights) == pytest.approx(0.6180339887)


def test_a_stream_is_not_saved_and_says_what_to_do(tmp_path: Any) -> None:
    with pytest.raises(InputError, match="streams are not saved; write the manifest alone"):
        GuardedDataset(PLAIN).add_real(stream("real", 3), source="web").save(tmp_path / "gen0")
    assert list(tmp_path.iterdir()) == []


def test_a_stream_that_gives_other_rows_the_second_time_is_refused() -> None:
    def drawn() -> Any:
        yield from ({"text": str(random.random())} for _ in range(5))

    data = GuardedDataset(PLAIN).add_real(IterableDataset.from_generator(drawn), source="web")
    with pytest.raises(ProvenanceError, match="row 0 of a stream is not the row that it was"):
        list(data.training_set(streaming=True))


@pytest.mark.parametrize(
    ("later", "message"), [(6, "ended after 6 of the 10 rows"), (12, "gives more than the 10 rows")]
)
def test_a_stream_that_is_shorter_or_longer_the_second_time_is_refused(later: int, message: str) -> None:
    sizes = [10, later]

    def shrinking() -> Any:
        n_rows = sizes[0] if len(sizes) == 1 else sizes.pop(0)
        yield from ({"text": f"row {row}"} for row in range(n_rows))

    data = GuardedDataset(PLAIN).add_real(IterableDataset.from_generator(shrinking), source="web")
    sizes[:] = [later]
    with pytest.raises(ProvenanceError, match=message):
        list(data.training_set(streaming=True))


def test_a_plan_that_repeats_rows_is_refused_for_streams() -> None:
    policy = PLAIN | {"mix": {"when_short": {"repeat": 2}}, "sources": {"bot": {"share": 0.4}}}
    data = GuardedDataset(policy).add_real(stream("real", 6), source="web").add_synthetic(stream("made", 2), **BOT)
    with pytest.raises(InputError, match="the plan repeats 2 rows, and a stream gives each of its rows once"):
        data.training_set(streaming=True)


def test_streams_that_cannot_be_used_are_one_clear_error() -> None:
    empty = IterableDataset.from_generator(lambda: iter(()))
    with pytest.raises(ProvenanceError, match="source 'web' has no rows"):
        GuardedDataset(PLAIN).add_real(empty, source="web")
    bare = Dataset.from_dict({"text": ["a"]}).to_iterable_dataset()
    with pytest.raises(CellError, match="source 'web' has no column 'label'"):
        GuardedDataset(PLAIN | {"coverage": {}}).add_real(bare, source="web")
    tagged = GuardedDataset(PLAIN).add_real(stream("real", 3), source="web").training_set(streaming=True)
    with pytest.raises(ProvenanceError, match="the stream is tagged already"):
        GuardedDataset(PLAIN).add_real(tagged, source="web")
