"""Mixes of streams: every real row, caps on every prefix, an exact place, and shards that share the work."""

from __future__ import annotations

import copy
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import datasets.iterable_dataset
import numpy as np
import pytest
import torch
from datasets import Dataset, Features, IterableDataset, Value, interleave_datasets
from datasets.distributed import split_dataset_by_node
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from collapse_guard.errors import InputError, ProvenanceError
from collapse_guard.integrations.hugging_face.stream_mix import MixExamples
from collapse_guard.integrations.hugging_face.stream_reader import is_exact, known_rows
from collapse_guard.integrations.hugging_face.streams import epoch_report, mix_streams, unseen_real
from collapse_guard.integrations.hugging_face.tags import tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HALF = {"version": 1, "mix": {"real_min_share": 0.5}}


def texts(prefix: str, n_rows: int) -> Iterator[dict[str, str]]:
    for row in range(n_rows):
        yield {"text": f"{prefix}{row}"}


def rows(prefix: str, n_rows: int) -> Dataset:
    return Dataset.from_dict({"text": [row["text"] for row in texts(prefix, n_rows)]})


def real(n_rows: int = 50, *, source: str = "web", shards: int = 1) -> IterableDataset:
    return tag(rows(source, n_rows), origin="real", source=source).to_iterable_dataset(num_shards=shards)


def synthetic(n_rows: int = 80, *, source: str = "bot", shards: int = 1, **tags: Any) -> IterableDataset:
    said: dict[str, Any] = {"generator": f"{source}@1", "generation": 1} | tags
    return tag(rows(source, n_rows), origin="synthetic", source=source, **said).to_iterable_dataset(num_shards=shards)


def untagged_names(stream: Iterable[dict[str, Any]]) -> list[str]:
    return [row["text"] for row in stream]


def is_real(row: dict[str, Any]) -> bool:
    return bool(row["cg_origin"] == 1)


# ------------------------------------------------------------------ what comes


def test_a_mix_is_a_stream_of_datasets_with_the_columns_of_its_streams() -> None:
    mixed: Any = mix_streams(real(), synthetic(), HALF)
    assert isinstance(mixed, IterableDataset)
    assert mixed.features == real().features
    assert next(iter(mixed)).keys() == next(iter(real())).keys()
    assert isinstance(mixed, torch.utils.data.IterableDataset)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 60)),
    floor=st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0]),
    ratio=st.none() | st.sampled_from([0.0, 0.25, 1.0]),
    cap=st.none() | st.sampled_from([0.1, 0.34]),
    seed=st.integers(0, 5),
)
def test_every_real_row_comes_once_and_every_prefix_keeps_every_cap(
    sizes: tuple[int, int], floor: float, ratio: float | None, cap: float | None, seed: int
) -> None:
    policy: dict[str, Any] = {"version": 1, "mix": {"real_min_share": floor, "synthetic_to_real_max": ratio}}
    if cap is not None:
        policy["sources"] = {"bot": {"max_share": cap}}
    made = [synthetic(sizes[1]), synthetic(7, source="imp")]
    found = list(mix_streams([real(sizes[0]), real(3, source="books")], made, policy, seed=seed))
    names = untagged_names(found)
    assert len(names) == len(set(names))
    assert {row["text"] for row in found if is_real(row)} == {
        *untagged_names(real(sizes[0])),
        "books0",
        "books1",
        "books2",
    }
    n_real = np.cumsum([is_real(row) for row in found])
    n_rows = np.arange(1, len(found) + 1)
    n_made = n_rows - n_real
    of_bot = np.cumsum([row["cg_source"] == "bot" for row in found])
    assert (n_real / n_rows >= floor - 1e-9).all()
    assert ratio is None or (n_made <= ratio * n_real + 1e-6).all()
    assert cap is None or (of_bot <= cap * n_rows + 1e-6).all()
    # As many as fit: at the end no stream has a row left that every cap has room for.
    room = min(n_real[-1] * (1 - floor) / floor if floor else np.inf, np.inf if ratio is None else ratio * n_real[-1])
    left_of_imp = 7 - sum(row["cg_source"] == "imp" for row in found)
    assert left_of_imp == 0 or n_made[-1] + 1 > room + 1e-6


def test_rows_of_one_stream_keep_their_order() -> None:
    names = untagged_names(mix_streams(real(), synthetic(), HALF))
    assert [name for name in names if name.startswith("web")] == untagged_names(real())
    assert [name for name in names if name.startswith("bot")] == untagged_names(synthetic())[:50]


def test_the_seed_decides_the_order_and_nothing_else() -> None:
    first, again, other = (untagged_names(mix_streams(real(), synthetic(), HALF, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)
    of_policy = mix_streams(real(), synthetic(), {"version": 1, "mix": {"real_min_share": 0.5, "seed": 2}})
    assert untagged_names(of_policy) == other


def test_both_parts_are_spread_over_the_whole_stream() -> None:
    found = [is_real(row) for row in mix_streams(real(400), synthetic(100), HALF)]
    shares = [np.mean(found[start : start + 100]) for start in range(0, 500, 100)]
    assert all(0.7 < share < 0.9 for share in shares)
    without_size = tag(
        IterableDataset.from_generator(texts, gen_kwargs={"prefix": "w", "n_rows": 400}), origin="real", source="web"
    )
    found = [is_real(row) for row in mix_streams(without_size, synthetic(1000), HALF)]
    assert len(found) == 800
    assert all(0.4 < np.mean(found[start : start + 100]) < 0.6 for start in range(0, 800, 100))
    assert found[:20] != [True, False] * 10


def test_several_real_streams_end_together_where_their_sizes_are_known() -> None:
    found = untagged_names(mix_streams([real(300), real(30, source="books")], [], HALF))
    places = [place for place, name in enumerate(found) if name.startswith("books")]
    assert len(places) == 30
    assert max(places) > 250


@pytest.mark.parametrize("cap", ["per_generator_max_share", "per_generation_max_share"])
def test_a_row_waits_until_the_caps_of_its_generator_and_generation_have_room(cap: str) -> None:
    policy = {"version": 1, "mix": {"real_min_share": 0.2, cap: 0.25}}
    found = list(mix_streams(real(30), synthetic(200), policy))
    made = np.cumsum([not is_real(row) for row in found])
    assert made[-1] == 10
    assert (made <= 0.25 * np.arange(1, len(found) + 1) + 1e-6).all()


def test_rows_of_too_deep_generations_are_left_out_and_counted() -> None:
    deep, unknown = synthetic(5, source="deep", generation=3), synthetic(5, source="lost", generation=None)
    mixed = mix_streams(real(20), [deep, unknown, synthetic(4)], HALF)
    assert Counter(row["cg_source"] for row in mixed) == {"web": 20, "bot": 4}
    assert epoch_report(mixed).n_too_deep_rows == 10
    shallow = {"version": 1, "sources": {"bot": {"max_depth": 0}}}
    assert {row["cg_source"] for row in mix_streams(real(20), synthetic(4), shallow)} == {"web"}


def test_missing_columns_are_null() -> None:
    wide = tag(Dataset.from_dict({"text": ["a"], "label": [1]}), origin="real", source="web").to_iterable_dataset()
    found = list(mix_streams([wide, real(2, source="books")], [], HALF))
    assert {row["text"]: row["label"] for row in found} == {"a": 1, "books0": None, "books1": None}


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("mapped_first", [False, True])
def test_pictures_are_decoded(later: bool, mapped_first: bool) -> None:
    pictures = [Image.fromarray(np.full((2, 2), shade, np.uint8)) for shade in (3, 7)]
    data = Dataset.from_dict({"picture": pictures}, features=Features({"picture": datasets.Image()}))
    tags: dict[str, Any] = {"origin": "real", "source": "web"}
    stream = tag(data.to_iterable_dataset(), **tags) if later else tag(data, **tags).to_iterable_dataset()
    stream = stream.map(lambda row: row, features=stream.features) if mapped_first else stream
    found = [np.asarray(row["picture"]) for row in mix_streams(stream, [], HALF)]
    assert [picture.tolist() for picture in found] == [np.asarray(picture).tolist() for picture in pictures]


# ------------------------------------------------------------------ what is refused


def broken(case: str) -> Any:
    plain = rows("web", 3).to_iterable_dataset()
    loose = IterableDataset.from_generator(texts, gen_kwargs={"prefix": "w", "n_rows": 3})
    mixed_up = interleave_datasets([real(3), synthetic(3)])
    cases: dict[str, Callable[[], Any]] = {
        "untagged": lambda: mix_streams(plain, [], HALF),
        "untagged, columns unknown": lambda: mix_streams(loose, [], HALF),
        "swapped": lambda: mix_streams(synthetic(), real(), HALF),
        "a synthetic row among real ones": lambda: list(mix_streams(mixed_up, [], HALF)),
        "no real stream": lambda: mix_streams([], synthetic(), HALF),
        "a dataset": lambda: mix_streams(rows("web", 3), [], HALF),
        "no rows": lambda: mix_streams(real().filter(lambda row: False), [], HALF),
        "another type": lambda: mix_streams(real().cast_column("text", Value("binary")), synthetic(), HALF),
        "null tags": lambda: mix_streams(tag_lost(), [], HALF),
    }
    return cases[case]()


def tag_lost() -> IterableDataset:
    return tag(rows("web", 3), origin="real", source="web").map(lambda row: {"cg_origin": None}).to_iterable_dataset()


REFUSED = {
    "untagged": r"real stream 0 lacks cg_origin, .*; tag it \(collapse_guard.tag\)",
    "untagged, columns unknown": r"real stream 0 lacks cg_origin, .*; tag it",
    "swapped": r"row 0 of real stream 0 is tagged synthetic; pass it in the other list",
    "a synthetic row among real ones": r"row 1 of real stream 0 \(web\) is tagged synthetic",
    "no real stream": r"needs a real stream",
    "a dataset": r"real stream 0: a datasets.IterableDataset is needed, got Dataset; name a split, call",
    "no rows": r"real stream 0 has no rows",
    "another type": r"synthetic stream 0 has 'text' as .*; cast one",
    "null tags": r"row 0 of real stream 0 has no tags; tag its stream",
}


@pytest.mark.parametrize("case", REFUSED)
def test_streams_that_cannot_be_mixed_are_refused_in_one_line(case: str) -> None:
    with pytest.raises(ProvenanceError, match=REFUSED[case]) as caught:
        broken(case)
    assert "\n" not in str(caught.value)


def test_a_policy_that_needs_all_rows_first_is_refused_by_its_keys() -> None:
    policy = {
        "version": 1,
        "unit": "bytes",
        "mix": {"weights": "golden", "when_short": "fail"},
        "sources": {"bot": {"share": 0.2}},
    }
    with pytest.raises(InputError, match=r"cannot keep unit: bytes, mix.weights, mix.when_short, sources.bot.share; "):
        mix_streams(real(), synthetic(), policy)


def test_a_stream_that_is_split_already_is_refused() -> None:
    with pytest.raises(InputError, match="mix first, then split"):
        mix_streams(split_dataset_by_node(real(), rank=0, world_size=2), synthetic(), HALF)


# ------------------------------------------------------------------ the place


def mapped(stream: IterableDataset) -> IterableDataset:
    return stream.map(lambda batch: {"text": [text + "!" for text in batch["text"]]}, batched=True, batch_size=7)


STREAMS: dict[str, Callable[[], tuple[IterableDataset, IterableDataset]]] = {
    "plain": lambda: (real(), synthetic()),
    "shards": lambda: (real(shards=4), synthetic(shards=3)),
    "shuffled": lambda: (real().shuffle(seed=4, buffer_size=9), synthetic().shuffle(seed=5, buffer_size=500)),
    "tagged streams": lambda: (
        tag(rows("web", 50).to_iterable_dataset(), origin="real", source="web"),
        tag(rows("bot", 80).to_iterable_dataset(), origin="synthetic", source="bot", generation=1),
    ),
    "tagged generators": lambda: (
        tag(
            IterableDataset.from_generator(texts, gen_kwargs={"prefix": "w", "n_rows": 50}), origin="real", source="web"
        ),
        tag(
            IterableDataset.from_generator(texts, gen_kwargs={"prefix": "b", "n_rows": 80}),
            origin="synthetic",
            source="bot",
            generation=1,
        ),
    ),
    "mapped": lambda: (mapped(real()), synthetic().map(lambda row: {"text": row["text"].upper()})),
    "filtered": lambda: (
        real().filter(lambda row: not row["text"].endswith("3")),
        mapped(synthetic(shards=2)).filter(lambda row: not row["text"].endswith("5!")),
    ),
    "skipped and taken": lambda: (real().skip(3).take(40), synthetic().take(70)),
    "mixed before": lambda: (interleave_datasets([real(), real(20, source="books")]), synthetic()),
}


def resumed(mixed: IterableDataset, fresh: IterableDataset, stops: list[int]) -> list[dict[str, Any]]:
    """Read a mix in pieces: after each stop another object goes on from the state, through JSON."""
    found: list[dict[str, Any]] = []
    for stop in stops:
        reader = iter(mixed)
        found += [row for _, row in zip(range(stop), reader, strict=False)]
        state = json.loads(json.dumps(mixed.state_dict()))
        mixed = copy.deepcopy(fresh)
        mixed.load_state_dict(state)
    return [*found, *mixed]


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("stops", [[0], [1], [23], [64], [17, 1, 30], [5, 5, 5, 5], [1000]])
def test_a_mix_goes_on_exactly_where_it_was_stopped_however_often(kind: str, stops: list[int]) -> None:
    whole = list(mix_streams(*STREAMS[kind](), HALF))
    assert len(whole) > 70
    fresh = mix_streams(*STREAMS[kind](), HALF)
    assert resumed(mix_streams(*STREAMS[kind](), HALF), fresh, stops) == whole


LONG: dict[str, Callable[[IterableDataset], IterableDataset]] = {
    "plain": lambda stream: stream,
    "mapped": mapped,
    "mapped as arrow": lambda stream: stream.with_format("arrow").map(
        lambda table: table, batched=True, batch_size=300
    ),
    "filtered": lambda stream: stream.filter(lambda row: not row["text"].endswith("9")),
    "formatted": lambda stream: stream.with_format("torch"),
    "shuffled": lambda stream: stream.shuffle(seed=2, buffer_size=700),
    "narrowed": lambda stream: stream.select_columns(stream.column_names[::-1]),
}


@pytest.mark.parametrize("kind", LONG)
@pytest.mark.parametrize("before", [False, True])
def test_the_place_is_exact_across_the_batches_that_datasets_reads(kind: str, before: bool) -> None:
    def one(prefix: str, n_rows: int, **tags: Any) -> IterableDataset:
        data = rows(prefix, n_rows)
        if before:  # tags come from a step of the stream, in batches of their own
            return LONG[kind](tag(data.to_iterable_dataset(num_shards=2), source=prefix, **tags))
        return LONG[kind](tag(data, source=prefix, **tags).to_iterable_dataset(num_shards=2))

    def mixed() -> IterableDataset:
        made = one("bot", 2600, origin="synthetic", generation=1)
        return mix_streams(one("web", 2300, origin="real"), made, HALF)

    whole = untagged_names(mixed())
    assert len(whole) > 4000
    for stops in ([1999, 1, 3], [2047, 1100, 999]):
        assert untagged_names(resumed(mixed(), mixed(), stops)) == whole


def test_a_mix_can_be_read_again_and_by_two_readers_at_once() -> None:
    mixed = mix_streams(real(), synthetic(), HALF)
    whole = list(mixed)
    assert list(mixed) == whole
    first, second = iter(mixed), iter(mixed)
    assert [row for pair in zip(first, second, strict=True) for row in pair][::2] == whole


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda: mix_streams(real(49), synthetic(), HALF), "of a mix of other streams"),
        (lambda: mix_streams([real(), real(3, source="books")], synthetic(), HALF), "of a mix of other streams"),
        (
            lambda: mix_streams(real(), synthetic(), {"version": 1, "mix": {"real_min_share": 0.6}}),
            "under the policy sha256:",
        ),
        (lambda: mix_streams(real(), synthetic(), HALF, seed=3), r"another order \(seed 0\), this is seed 3"),
    ],
)
def test_the_state_of_another_mix_is_refused(other: Callable[[], IterableDataset], said: str) -> None:
    mixed = mix_streams(real(), synthetic(), HALF)
    next(iter(mixed))
    state = mixed.state_dict()
    stranger = other()
    stranger.load_state_dict(state)
    with pytest.raises(InputError, match=said):
        next(iter(stranger))


def test_a_stream_with_a_shuffle_buffer_is_read_from_its_beginning_again_and_others_are_not() -> None:
    assert is_exact(real()._ex_iterable)
    release = tuple(int(number) for number in datasets.__version__.split(".")[:2])
    assert is_exact(mapped(real())._ex_iterable) is (release >= (5, 1))
    assert not is_exact(real().shuffle(seed=1)._ex_iterable)
    mixed = mix_streams(real(3000), synthetic(3000), HALF)
    reader = iter(mixed)
    for _ in range(4100):
        next(reader)
    places = mixed.state_dict()["examples_iterable"]["mix"]["places"]
    assert all(place["before"] is not None and place["rows"] <= 1000 for place in places)


# ------------------------------------------------------------------ epochs, ranks and workers


def test_another_epoch_gives_the_same_real_rows_in_another_order() -> None:
    mixed = mix_streams(real(shards=5), synthetic(shards=5), HALF)
    first = untagged_names(mixed)
    mixed.set_epoch(1)
    second = untagged_names(mixed)
    assert sorted(name for name in second if name.startswith("web")) == sorted(untagged_names(real()))
    if hasattr(datasets.iterable_dataset, "shift_ex_examples_rngs"):  # before, epochs moved shuffled streams only
        assert second != first


def test_the_place_in_a_later_epoch_is_exact() -> None:
    def mixed() -> IterableDataset:
        made = mix_streams(real(shards=5).shuffle(seed=1, buffer_size=8), synthetic(shards=5), HALF)
        made.set_epoch(2)
        return made

    assert resumed(mixed(), mixed(), [13, 30]) == list(mixed())


@pytest.mark.parametrize("shards", [1, 2, 4])
@pytest.mark.parametrize("world", [2, 4])
def test_ranks_are_disjoint_complete_and_have_the_same_mix(shards: int, world: int) -> None:
    def mixed() -> IterableDataset:
        return mix_streams(real(200, shards=shards), synthetic(400, shards=shards), HALF)

    parts = [list(split_dataset_by_node(mixed(), rank=rank, world_size=world)) for rank in range(world)]
    found = [row["text"] for part in parts for row in part]
    assert len(found) == len(set(found))
    assert {name for name in found if name.startswith("web")} == set(untagged_names(real(200)))
    assert len(found) == 400
    for part in parts:
        assert abs(np.mean([is_real(row) for row in part]) - 0.5) < 0.15
        if shards % world == 0:  # a mix of its own
            n_real = np.cumsum([is_real(row) for row in part])
            assert (n_real >= 0.5 * np.arange(1, len(part) + 1)).all()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shards", [1, 3])
def test_loader_workers_share_out_the_rows(workers: int, shards: int) -> None:
    mixed = mix_streams(real(30, shards=shards), synthetic(60, shards=shards), HALF).select_columns(
        ["text", "cg_origin"]
    )
    loader: DataLoader[Any] = DataLoader(mixed, batch_size=4, num_workers=workers)
    batches = list(loader)
    found = [text for batch in batches for text in batch["text"]]
    assert len(found) == len(set(found))
    assert {name for name in found if name.startswith("web")} == set(untagged_names(real(30)))
    assert len(found) == 60
    assert sum(int((batch["cg_origin"] == 1).sum()) for batch in batches) == 30


def test_a_rank_goes_on_where_it_was_stopped() -> None:
    def part() -> IterableDataset:
        mixed = mix_streams(real(40, shards=2), synthetic(80, shards=2), HALF)
        return split_dataset_by_node(mixed, rank=1, world_size=2)

    assert resumed(part(), part(), [7, 3]) == list(part())
    other = split_dataset_by_node(mix_streams(real(40, shards=2), synthetic(80, shards=2), HALF), rank=0, world_size=2)
    state = part().state_dict()
    stopped = part()
    next(iter(stopped))
    other.load_state_dict(stopped.state_dict())
    with pytest.raises(InputError, match=r"shard 1 of 2\), this is seed 0, shard 0 of 2"):
        next(iter(other))
    assert state["examples_iterable"]["mix"] is None


@pytest.mark.parametrize("kind", ["torch", "numpy", "arrow"])
def test_a_format_and_later_steps_work_on_a_mix(kind: str) -> None:
    plain = untagged_names(mix_streams(real(), synthetic(), HALF))
    mixed = mix_streams(real(), synthetic(), HALF).with_format(kind)
    found = [row["text"] if kind != "arrow" else row["text"][0].as_py() for row in mixed]
    assert found == plain
    upper = mix_streams(real(), synthetic(), HALF).map(lambda row: {"text": row["text"].upper()})
    assert untagged_names(upper) == [name.upper() for name in plain]
    batches = list(mix_streams(real(), synthetic(), HALF).iter(batch_size=30))
    assert [text for batch in batches for text in batch["text"]] == plain


# ------------------------------------------------------------------ the report


def test_the_report_says_what_has_come_and_which_real_rows_have_not() -> None:
    mixed = mix_streams([real(30), real(10, source="books")], synthetic(), HALF)
    assert unseen_real(mixed) == {"web": 30, "books": 10}
    assert epoch_report(mixed).real_share == 1.0
    reader = iter(mixed)
    seen = Counter(next(reader)["cg_source"] for _ in range(25))
    report = epoch_report(mixed)
    assert report.rows_by_source == seen
    assert report.unseen_real == unseen_real(mixed) == {"web": 30 - seen["web"], "books": 10 - seen["books"]}
    assert report.n_real_rows == seen["web"] + seen["books"]
    assert report.real_share == report.n_real_rows / 25
    list(reader)
    assert unseen_real(mixed) == {"web": 0, "books": 0}


def test_the_report_reads_through_later_steps_and_ranks() -> None:
    mixed = mix_streams(real(30, shards=2), synthetic(shards=2), HALF)
    later = mixed.map(lambda row: row).filter(lambda row: True)
    next(iter(later))
    assert sum(unseen_real(later).values()) == 29
    rank = split_dataset_by_node(mixed, rank=0, world_size=2)
    assert unseen_real(rank) == {"web": 15}
    list(rank)
    assert unseen_real(rank) == {"web": 0}
    with pytest.raises(InputError, match="a stream of mix_streams is needed"):
        unseen_real(real())
    with pytest.raises(InputError, match=r"shuffled after mixing, .*; shuffle the streams before mixing"):
        unseen_real(mixed.shuffle(seed=0))


def test_sizes_that_are_not_known_are_not_guessed() -> None:
    loose = tag(
        IterableDataset.from_generator(texts, gen_kwargs={"prefix": "w", "n_rows": 5}), origin="real", source="loose"
    )
    mixed = mix_streams([loose, real(6)], [], HALF)
    assert unseen_real(mixed) == {"web": 6}
    sizes = {
        30: real(30),
        29: real(30).skip(1).map(lambda row: row),
        7: real(30).take(7).shuffle(seed=0),
        None: real(30).filter(lambda row: True),
    }
    assert [known_rows(stream._ex_iterable) for stream in sizes.values()] == list(sizes)
    assert known_rows(mapped(real(30))._ex_iterable) is None
    assert known_rows(tag(rows("web", 4).to_iterable_dataset(), origin="real", source="web")._ex_iterable) == 4


# ------------------------------------------------------------------ the private side of `datasets`


def test_the_names_of_datasets_that_a_mix_rests_on_are_there() -> None:
    base = datasets.iterable_dataset._BaseExamplesIterable
    needed = {"_init_state_dict", "load_state_dict", "state_dict", "iter_arrow", "is_typed", "features"}
    needed |= {"shuffle_data_sources", "shard_data_sources", "num_shards", "split_shard_indices_by_worker"}
    gone = needed - set(dir(base))
    assert not gone, f"datasets {datasets.__version__} has moved {sorted(gone)}: look at stream_mix.py"
    stream = real()
    assert isinstance(stream._ex_iterable, base), "IterableDataset._ex_iterable has moved: look at streams.py"
    assert stream._formatting is None
    assert stream._distributed is None
    assert isinstance(stream._token_per_repo_id, dict)
    # What datasets may ask of a part of a stream beyond what it asked when this was written.
    known = needed | {"reshard_data_sources", "sleep_on_threads_shutdown"}
    public = {name for name in vars(base) if not name.startswith("_")}
    assert public <= known, f"datasets {datasets.__version__} asks for {sorted(public - known)}: look at MixExamples"
    assert public <= set(dir(MixExamples))


def test_the_parts_of_streams_are_called_as_the_reader_expects() -> None:
    kinds = {
        type(stream._ex_iterable).__name__
        for stream in (
            real(),
            real().shuffle(seed=0),
            real().take(1),
            real().skip(1),
            mapped(real()),
            real().filter(bool),
        )
    }
    expected = {"ArrowExamplesIterable", "BufferShuffledExamplesIterable", "TakeExamplesIterable"}
    assert kinds == expected | {"SkipExamplesIterable", "MappedExamplesIterable", "FilteredExamplesIterable"}
    assert type(real().select_columns(["text"])._ex_iterable).__name__ == "SelectColumnsIterable"
    generated = IterableDataset.from_generator(texts, gen_kwargs={"prefix": "w", "n_rows": 5})
    assert type(generated._ex_iterable).__name__ == "ExamplesIterable"


@pytest.mark.parametrize("cut", range(0, 43, 3))
def test_a_mix_goes_on_exactly_after_a_stream_of_unknown_size_has_ended(cut: int) -> None:
    def made() -> IterableDataset:
        return mix_streams(
            [real(n, source=name).filter(is_real) for name, n in (("a", 2), ("b", 20), ("c", 20))], [], {"version": 1}
        )

    whole = untagged_names(made())
    begun = made()
    reader = iter(begun)
    first = [next(reader) for _ in range(min(cut, len(whole)))]
    again = made()
    again.load_state_dict(begun.state_dict())
    assert untagged_names(first) + untagged_names(again) == whole
