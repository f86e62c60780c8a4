"""Content ids against their definition, written row by row with the standard library."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import unicodedata
import wave
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from collapse_guard.errors import InputError, ProvenanceError
from collapse_guard.identity import RECORD_IDS, IdRule, content_ids
from collapse_guard.kernels import canonical_bytes, json_rows
from collapse_guard.readers.decode import picture_digest, sound_digest

TEXT = IdRule("text", ("text",))


def half(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:16]


def by_rows(rows: pa.Table | pa.RecordBatch) -> list[bytes]:
    """Return record ids as they are defined: canonical bytes of each row, its null fields left out."""
    plain = ({name: value for name, value in row.items() if value is not None} for row in rows.to_pylist())
    return [half(canonical_bytes(row)) for row in plain]


def same(rows: pa.Table) -> bool:
    return bool(content_ids(rows).to_pylist() == by_rows(rows))


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.text(
    'ab"\\\n\x00\x1f\x7fé\u0301\u1100\u1161\u2126', max_size=8
)
SCALARS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.string_view(), TEXTS),
    (pa.binary(), st.binary(max_size=5)),
    (pa.binary(3), st.binary(min_size=3, max_size=3)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.int8(), st.integers(-128, 127)),
    (pa.float64(), st.floats()),
    (pa.float32(), st.floats(width=32)),
    (pa.float16(), st.floats(width=16)),
    (pa.bool_(), st.booleans()),
    (pa.null(), st.none()),
    (pa.date32(), st.dates()),
    (pa.timestamp("us", "UTC"), st.integers(0, 2**40).map(lambda us: dt.datetime.fromtimestamp(us / 1e6, dt.UTC))),
    (pa.duration("s"), st.timedeltas(dt.timedelta(0), dt.timedelta(99)).map(lambda d: dt.timedelta(seconds=d.seconds))),
    (pa.decimal128(9, 2), st.decimals(-999, 999, places=2)),
]


def deeper(
    of: st.SearchStrategy[tuple[pa.DataType, st.SearchStrategy[Any]]],
) -> st.SearchStrategy[tuple[pa.DataType, st.SearchStrategy[Any]]]:
    """Return types of lists and structs over ``of``, each with a strategy of its values."""

    def lists(inner: tuple[pa.DataType, st.SearchStrategy[Any]]) -> tuple[pa.DataType, st.SearchStrategy[Any]]:
        return pa.list_(inner[0]), st.lists(st.none() | inner[1], max_size=3)

    def pairs(inner: tuple[pa.DataType, st.SearchStrategy[Any]]) -> tuple[pa.DataType, st.SearchStrategy[Any]]:
        value = st.none() | inner[1]
        return pa.list_(inner[0], 2), st.lists(value, min_size=2, max_size=2)

    def structs(inner: tuple[pa.DataType, st.SearchStrategy[Any]]) -> tuple[pa.DataType, st.SearchStrategy[Any]]:
        kind = pa.struct([pa.field("z", inner[0]), pa.field("a\u0301", pa.int32())])
        return kind, st.fixed_dictionaries({"z": st.none() | inner[1], "a\u0301": st.none() | st.integers(0, 9)})

    return of.map(lists) | of.map(pairs) | of.map(structs)


COLUMNS = st.recursive(st.sampled_from(SCALARS), deeper, max_leaves=3)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    n_rows = draw(st.integers(1, 5))
    names = draw(st.lists(st.sampled_from(["b", "a", "é", "Z", 'q"', "A\u030a"]), min_size=1, max_size=4, unique=True))
    columns = []
    for _ in names:
        kind, values = draw(COLUMNS)
        columns.append(pa.array(draw(st.lists(st.none() | values, min_size=n_rows, max_size=n_rows)), kind))
    return pa.table(columns, names=names)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(rows=tables(), start=st.integers(0, 2))
def test_record_ids_are_those_of_the_definition_row_by_row(rows: pa.Table, start: int) -> None:
    assert same(rows)
    assert same(rows.slice(start))


def test_an_id_is_half_of_the_sha256_of_the_canonical_row() -> None:
    rows = pa.table({"text": ["e\u0301", "b"], "n": [1, 2]})
    plain = [{"n": 1, "text": "\u00e9"}, {"n": 2, "text": "b"}]
    expected = [
        half(json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()) for row in plain
    ]
    assert content_ids(rows).to_pylist() == expected
    assert content_ids(rows.select(["n", "text"])).to_pylist() == expected
    assert RECORD_IDS.name == "sha256-128/record-json-nfc/1", "another rule needs another name, or old manifests lie"


def test_content_of_another_type_has_another_id() -> None:
    day = dt.date(2024, 1, 2)
    values: list[Any] = [1, 1.0, "1", True, None, b"1", Decimal(1), [1], {"a": 1}, day, dt.datetime(2024, 1, 2)]  # noqa: DTZ001 - a naive stamp is another type on purpose
    ids = [content_ids(pa.table({"x": [value]})).to_pylist()[0] for value in values]
    assert len(set(ids)) == len(values)


def test_more_rows_than_a_block_of_every_layout() -> None:
    rng = np.random.default_rng(0)
    n_rows = 20_000
    labels = [f'class "{number}"' for number in range(9)]
    rows = pa.table(
        {
            "text": [f"row {number}\n" * (number % 7) for number in range(n_rows)],
            "label": pa.DictionaryArray.from_arrays(pa.array(rng.integers(0, 9, n_rows)), labels),
            "score": rng.normal(size=n_rows),
            "ids": pa.array([list(range(number % 5)) for number in range(n_rows)], pa.large_list(pa.int32())),
        }
    )
    assert same(rows)
    small = pa.concat_tables([rows.slice(start, 3) for start in range(0, 3000, 3)])
    assert content_ids(small).to_pylist() == by_rows(rows.slice(0, 3000)), "chunks do not matter"
    assert content_ids(rows.to_batches()[0].slice(7, 11)).to_pylist() == by_rows(rows.slice(7, 11))


def test_a_dictionary_with_nulls_in_values_and_indices() -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0, None, 1, 0]), pa.array(["x", None]))
    assert same(pa.table({"a": column, "b": [1, 2, 3, 4]}))
    assert same(pa.table({"a": column.slice(1)}))


def test_null_values_of_a_dictionary_and_runs_are_what_they_stand_for() -> None:
    coded = pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int8()), pa.array(["a", None]))
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([1, 3], pa.int32()), pa.array(["x", None]))
    plain = pa.table({"n": [1, 2, 3], "c": ["a", None, None], "r": ["x", None, None]})
    for order in (["n", "c", "r"], ["c", "r", "n"]):
        odd = pa.table({"n": pa.array([1, 2, 3]), "c": coded, "r": runs}).select(order)
        assert content_ids(odd).equals(content_ids(plain))


def test_columns_whose_names_are_one_in_nfc_are_refused() -> None:
    rows = pa.table({"\u00e9": [1, 2], "e\u0301": [3, None]})
    with pytest.raises(ProvenanceError, match="two columns have names that are one in NFC"):
        content_ids(rows)
    assert json_rows(rows.column_names, [c.combine_chunks() for c in rows.columns]).to_pylist() == [
        '{"é":3}',
        '{"é":2}',
    ]


def test_tags_are_no_content_and_empty_tables_have_no_ids() -> None:
    rows = pa.table({"text": ["a"], "cg_origin": [1], "cg_anything": ["x"]})
    assert content_ids(rows) == content_ids(rows.select(["text"]))
    assert content_ids(rows.slice(1)).type == pa.binary(16)
    assert len(content_ids(rows.slice(1))) == 0


def test_named_columns_alone_are_the_record() -> None:
    rows = pa.table({"text": ["a", "a"], "n": [1, 2], "split": ["x", "y"]})
    assert content_ids(rows, IdRule(columns=("n", "text"))).to_pylist() == by_rows(rows.select(["text", "n"]))


@pytest.mark.parametrize(
    ("rows", "rule", "message"),
    [
        (pa.table({}), RECORD_IDS, r"no content column .*add one before tagging"),
        (pa.table({"cg_id": ["x"]}), RECORD_IDS, r"no content column"),
        (pa.table({"texts": ["x"]}), TEXT, r"reads column 'text', which the rows lack; did you mean 'texts'"),
        (pa.table({"text": [1]}), TEXT, r"column 'text' is int64; the id rule 'text' reads text"),
        (pa.table({"text": ["a", None, None]}), TEXT, r"2 of 3 rows have no 'text'"),
        (pa.table({"text": [None]}), TEXT, r"1 of 1 rows have no 'text'"),
        (pa.table({"b": ["x"]}), IdRule("bytes", ("b",)), r"column 'b' is string; the id rule 'bytes' reads bytes"),
        (
            pa.table({"b": [{"bytes": None, "path": "x"}]}),
            IdRule("bytes", ("b",)),
            r"1 of 1 rows .* hold no bytes; embed",
        ),
        (pa.table({"b": [None, {"bytes": b"1", "path": ""}]}), IdRule("bytes", ("b",)), r"1 of 2 rows have no 'b'"),
        (pa.table({"b": [b"no"]}), IdRule("pixels", ("b",)), r"column 'b': row 0 .* is no picture of a known format"),
        (pa.table({"b": [b"no"]}), IdRule("samples", ("b",)), r"column 'b': row 0 .* is no recording"),
        (pa.Table.from_arrays([pa.array([1]), pa.array([1])], ["a", "a"]), RECORD_IDS, "2 columns called 'a'"),
    ],
)
def test_what_has_no_id_says_so(rows: pa.Table, rule: IdRule, message: str) -> None:
    with pytest.raises(ProvenanceError, match=message):
        content_ids(rows, rule)


def test_broken_utf8_is_no_text() -> None:
    broken = pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())
    for rule in (RECORD_IDS, TEXT):
        with pytest.raises(ProvenanceError, match="not UTF-8"):
            content_ids(pa.table({"text": broken}), rule)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=5))
def test_text_ids_are_over_nfc_utf8(texts: list[str]) -> None:
    expected = [half(unicodedata.normalize("NFC", text).encode()) for text in texts]
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        assert content_ids(pa.table({"text": pa.array(texts, kind)}), TEXT).to_pylist() == expected
    assert content_ids(pa.table({"text": pa.array(texts).dictionary_encode()}), TEXT).to_pylist() == expected


def test_bytes_ids_are_over_the_bytes_wherever_they_are_held() -> None:
    rule = IdRule("bytes", ("b",))
    values = [b"", b"\x00\xff", b"abc"]
    expected = [half(value) for value in values]
    held = [{"bytes": value, "path": f"{number}.bin"} for number, value in enumerate(values)]
    assert content_ids(pa.table({"b": values}), rule).to_pylist() == expected
    assert content_ids(pa.table({"b": held}), rule).to_pylist() == expected, "the name of the file is no content"


def encoded(picture: Image.Image, form: str, **options: Any) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, form, **options)
    return sink.getvalue()


def test_pixels_agree_across_lossless_formats_and_modes() -> None:
    rng = np.random.default_rng(0)
    grey = Image.fromarray(rng.integers(0, 256, (5, 7), dtype=np.uint8))
    colour = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    forms = ("PNG", "BMP", "TIFF")
    for picture in (grey, colour):
        files = [encoded(picture, form) for form in forms] + [encoded(picture, "WEBP", lossless=True)]
        files += [encoded(picture.convert("RGBA"), "PNG"), encoded(picture.convert("RGB"), "PNG")]
        assert len({picture_digest(data) for data in files}) == 1
    palette = grey.convert("P")
    assert picture_digest(encoded(palette, "GIF")) == picture_digest(encoded(palette.convert("RGB"), "PNG"))
    expected = hashlib.sha256(b"RGB 7 5\n" + colour.tobytes()).digest()
    assert picture_digest(encoded(colour, "PNG")) == expected
    rows = pa.table({"image": [{"bytes": encoded(colour, "BMP"), "path": "x.bmp"}]})
    assert content_ids(rows, IdRule("pixels", ("image",))).to_pylist() == [expected[:16]]


def test_every_pixel_alpha_depth_and_frame_counts() -> None:
    base = Image.new("RGB", (4, 4), (9, 9, 9))
    other = base.copy()
    other.putpixel((3, 3), (9, 9, 8))
    clear = base.convert("RGBA")
    clear.putpixel((0, 0), (9, 9, 9, 254))
    deep = Image.fromarray(np.full((4, 4), 9, dtype=np.uint16))
    turned = Image.new("RGB", (2, 8), (9, 9, 9))
    frames = {"save_all": True, "append_images": [other]}
    files = [encoded(each, "PNG") for each in (base, other, clear, deep, turned)]
    files += [encoded(base, "PNG", **frames), encoded(other, "PNG", save_all=True, append_images=[base])]
    assert len({picture_digest(data) for data in files}) == len(files)
    assert picture_digest(encoded(deep, "PNG")) == picture_digest(encoded(deep, "TIFF"))


def test_pictures_that_lose_bits_when_read_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        import zlib

        return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)

    import zlib

    head = (1).to_bytes(4) + (1).to_bytes(4) + bytes([16, 2, 0, 0, 0])
    deep = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(7))) + chunk(b"IEND", b"")
    with pytest.raises(InputError, match="16 bits per colour"):
        picture_digest(deep)
    whole = encoded(Image.new("RGB", (64, 64)), "PNG")
    with pytest.raises(InputError, match="broken picture"):
        picture_digest(whole[: len(whole) // 2])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="more pixels than Pillow takes"):
        picture_digest(whole)


def wav(samples: np.ndarray[Any, Any], *, rate: int = 8000, width: int = 2) -> bytes:
    sink = io.BytesIO()
    with wave.open(sink, "wb") as sound:
        sound.setnchannels(samples.shape[1])
        sound.setsampwidth(width)
        sound.setframerate(rate)
        sound.writeframes(samples.tobytes())
    return sink.getvalue()


def test_samples_agree_across_lossless_formats() -> None:
    import soundfile  # it ships no types

    samples = np.random.default_rng(0).integers(-(2**15), 2**15, (70_000, 2), dtype=np.int16)
    files = [wav(samples)]
    for form, subtype in (
        ("FLAC", "PCM_16"),
        ("WAV", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("WAVEX", "PCM_16"),
        ("FLAC", "PCM_24"),
    ):
        sink = io.BytesIO()
        soundfile.write(sink, samples, 8000, format=form, subtype=subtype)
        files.append(sink.getvalue())
    expected = hashlib.sha256(b"int32 8000 2\n" + (samples.astype("<i4") << 16).tobytes()).digest()
    assert {sound_digest(data) for data in files} == {expected}
    rows = pa.table({"audio": [{"bytes": files[0], "path": "x.wav"}]})
    assert content_ids(rows, IdRule("samples", ("audio",))).to_pylist() == [expected[:16]]


def test_every_sample_channel_rate_and_depth_counts() -> None:
    import soundfile

    samples = np.arange(12, dtype=np.int16).reshape(6, 2)
    files = [wav(samples), wav(samples, rate=16_000), wav(samples.reshape(12, 1)), wav(samples[:5])]
    files += [wav(samples.astype(np.int32) << 16, width=4), wav((samples % 256).astype(np.uint8), width=1)]
    for subtype in ("FLOAT", "DOUBLE"):
        sink = io.BytesIO()
        soundfile.write(sink, samples / 32768, 8000, format="WAV", subtype=subtype)
        files.append(sink.getvalue())
    digests = [sound_digest(data) for data in files]
    assert digests[4] == digests[0], "16 bits, padded to 32, are the same samples"
    assert len(set(digests)) == len(files) - 1
    with pytest.raises(InputError, match="broken recording"):
        sound_digest(b"fLaC" + bytes(40))


@pytest.mark.parametrize("columns", ["body", None, 3, ("a", 3)])
def test_columns_of_a_rule_are_a_tuple_of_names(columns: Any) -> None:
    with pytest.raises(ProvenanceError, match="columns of an id rule are a tuple of names"):
        IdRule("text", columns)
