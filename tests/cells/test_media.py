"""Pictures and sounds: decoding, features that ignore what they should, and class information on real data."""

from __future__ import annotations

import gzip
import io
import os
import sys
import types
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from collapse_guard.cells import AudioCells, ImageCells, cells_from_state
from collapse_guard.cells.decode import encoded_picture, encoded_sound, listed_picture, pcm_samples
from collapse_guard.cells.features import image_features, shrunk, sound_features
from collapse_guard.errors import CellError, MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = os.environ.get("COLLAPSE_GUARD_DATA")
needs_data = pytest.mark.skipif(FOLDER is None, reason="COLLAPSE_GUARD_DATA is not set: no real data here")
RNG = np.random.default_rng(11)
DECLARED: dict[str, Any] = {"column": "x", "n_cells": 2, "seed": 0, "outlier_share": 0.0}


def encoded(pixels: NDArray[Any], *, kind: str = "PNG", mode: str | None = None) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(file, kind)
    return file.getvalue()


def wav(samples: NDArray[np.float64], *, rate: int = 8000, width: int = 2, channels: int = 1) -> bytes:
    """A WAV file of samples in [-1, 1), shape (n,) or (n, channels)."""
    whole = np.round(samples * (2 ** (8 * width - 1) - 1)).astype("<i4")
    raw = (whole + 128).astype(np.uint8).tobytes() if width == 1 else b""
    if width > 1:
        raw = whole.reshape(-1, 1).view(np.uint8)[:, :width].tobytes()
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(rate)
        sound.writeframes(raw)
    return file.getvalue()


def speech(n: int = 8000, *, rate: int = 8000, seed: int = 0) -> NDArray[np.float64]:
    """Something with several pitches that change, below 3 kHz."""
    rng = np.random.default_rng(seed)
    time = np.arange(n) / rate
    tones = [
        rng.random() * np.sin(2 * np.pi * f * time + 3 * np.sin(2 * np.pi * 2 * time))
        for f in rng.uniform(150, 2900, 6)
    ]
    return np.asarray(0.1 * np.sum(tones, axis=0))


# --- pictures: decoding

PICTURE = RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_encoded_pictures_have_the_pixels_that_went_in(kind: str) -> None:
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, kind, **({"lossless": True} if kind == "WEBP" else {}))
    found = encoded_picture(file.getvalue())
    assert found is not None
    np.testing.assert_allclose(found, PICTURE / 255)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1", "I;16"])
def test_every_mode_becomes_numbers_from_0_to_1(mode: str) -> None:
    found = encoded_picture(encoded(PICTURE, mode=mode, kind="JPEG" if mode == "CMYK" else "PNG"))
    assert found is not None
    assert found.shape[:2] == (20, 30)
    assert 0 <= found.min() < found.max() <= 1


def test_pictures_of_16_bits_are_not_clipped() -> None:
    found = encoded_picture(encoded((np.arange(600) * 109).reshape(20, 30).astype(np.uint16)))
    assert found is not None
    np.testing.assert_allclose(found[:, :, 0].ravel(), np.arange(600) * 109 / 65_535)


@pytest.mark.parametrize("data", [b"", b"no picture", encoded(PICTURE)[:40], encoded(PICTURE)[:-300], b"GIF89a", b"BM"])
def test_broken_pictures_are_none(data: bytes) -> None:
    assert encoded_picture(data) is None


def test_a_picture_that_would_unpack_to_an_absurd_size_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(PICTURE)
    for limit in (400, 200):  # Pillow warns above its limit, and raises above twice of it
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert encoded_picture(data) is None


@pytest.mark.parametrize(
    "column",
    [
        pa.array(PICTURE[:20, :20, 0].reshape(1, -1).tolist()),
        pa.array(PICTURE[:20, :20, 0].reshape(1, -1).tolist(), pa.list_(pa.uint8(), 400)),
        pa.array((PICTURE[:20, :20, 0].reshape(1, -1) / 255).tolist()),
        pa.array([PICTURE[:20, :20, 0].tolist()]),
        pa.array([PICTURE[:20, :20, :1].tolist()]),
        pa.array([[PICTURE[:20, :20, 0].tolist()]]),
        pa.array([encoded(PICTURE[:20, :20, 0])]),
        pa.array([encoded(PICTURE[:20, :20, 0])], pa.large_binary()),
        pa.array([{"bytes": encoded(PICTURE[:20, :20, 0]), "path": None}]),
    ],
    ids=["flat", "fixed", "fractions", "2-D", "height first", "channel first", "bytes", "large bytes", "datasets"],
)
def test_one_picture_has_one_feature_however_it_is_held(column: Any) -> None:
    found = ImageCells._features(pa.table({"x": column}), "x")
    np.testing.assert_allclose(found[0], image_features(PICTURE[:20, :20, :1] / 255.0), atol=1e-12)


@pytest.mark.parametrize(
    "row", [[1, 2, 3], [[1, 2], [3]], [[1], None], [[[1] * 7] * 7] * 7, [], [[]], [float("nan")] * 4, [1e200]], ids=str
)
def test_lists_that_make_no_picture_are_none(row: Any) -> None:
    assert listed_picture(pa.array([row])[0].values) is None


def test_unreadable_rows_are_in_no_cell_and_the_rest_is() -> None:
    rows = [encoded(RNG.integers(0, 256, (9, 9)).astype(np.uint8)) for _ in range(12)]
    cells = ImageCells.fit(pa.table({"x": [*rows, b"broken", None]}), **DECLARED)
    assert (cells.cells(pa.table({"x": [rows[0], b"broken", b"", None]})) < 0).tolist() == [False, True, True, True]
    chunks = pa.table({"x": pa.chunked_array([rows[:5], rows[5:]])})
    assert cells.cells(chunks).tolist() == [int(cells.cells(chunks.slice(row, 1))[0]) for row in range(12)]
    assert cells.cells(pa.table({"x": pa.nulls(2)})).tolist() == [-1, -1]


# --- pictures: features


def test_area_means_are_exact_for_whole_tiles_and_keep_the_mean() -> None:
    plane = RNG.random((32, 24))
    np.testing.assert_allclose(shrunk(plane, 8), plane.reshape(8, 4, 8, 3).mean(axis=(1, 3)))
    for shape in ((5, 7), (1, 1), (100, 3)):
        odd = RNG.random(shape)
        np.testing.assert_allclose(shrunk(odd, 8).mean(), odd.mean())


def test_size_changes_no_feature_and_a_turn_does() -> None:
    small = np.asarray(Image.fromarray(PICTURE).resize((64, 64)), dtype=np.float64) / 255
    large = np.repeat(np.repeat(small, 3, axis=0), 3, axis=1)
    np.testing.assert_allclose(image_features(small), image_features(large), atol=1e-9)
    assert np.abs(image_features(small) - image_features(np.rot90(small))).max() > 0.1


def test_edges_are_shares_whatever_the_contrast() -> None:
    picture = RNG.random((32, 32, 1))
    edges = image_features(picture)[64:192]
    np.testing.assert_allclose((edges**2).sum(), 1.0)
    np.testing.assert_allclose(image_features(0.2 * picture + 0.4)[64:192], edges, atol=1e-9)
    assert not image_features(np.full((9, 9, 3), 0.5))[64:192].any()


def digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    def read(name: str, header: int) -> NDArray[np.uint8]:
        raw = gzip.decompress((Path(str(FOLDER)) / "images" / name).read_bytes())
        return np.frombuffer(raw, np.uint8, offset=header)

    images = read("mnist-10k-images-idx3-ubyte.gz", 16).reshape(-1, 784)[:3000]
    return images, read("mnist-10k-labels-idx1-ubyte.gz", 8)[:3000]


def purity(cells: NDArray[np.int64], labels: NDArray[Any]) -> float:
    """Share of rows that have the most frequent label of their cell."""
    codes = np.unique(labels, return_inverse=True)[1]
    held = [codes[cells == cell] for cell in range(cells.max() + 1) if (cells == cell).any()]
    return sum(int(np.bincount(inside).max()) for inside in held) / int((cells >= 0).sum())


@needs_data
@pytest.mark.science
def test_cells_of_real_digits_carry_their_class_and_noise_is_in_none() -> None:
    images, labels = digits()
    rows = pa.table({"x": pa.array(list(images), pa.list_(pa.uint8()))})
    real, fresh = rows.slice(0, 2000), rows.slice(2000)
    cells = ImageCells.fit(real, **DECLARED | {"n_cells": 30, "outlier_share": 0.05})
    found = cells.cells(fresh)
    noise = pa.table({"x": RNG.integers(0, 256, (200, 784)).tolist()})
    shares = [float((cells.cells(each) < 0).mean()) for each in (fresh, noise)]
    pure = purity(found, labels[2000:])
    print(f"\nfresh digits: purity of 30 cells {pure:.3f}, outside {shares[0]:.3f}; noise {shares[1]:.3f}", end="")  # noqa: T201 - shown with -s
    assert pure > 0.6  # 0.12 if cells knew nothing
    assert 0.02 < shares[0] < 0.10
    assert shares[1] > 0.99


# --- sounds: decoding


@pytest.mark.parametrize(("width", "step"), [(1, 1 / 127), (2, 1e-4), (3, 1e-6), (4, 1e-8)])
def test_pcm_of_every_width_is_read(width: int, step: float) -> None:
    samples = speech(500)
    found = encoded_sound(wav(samples, width=width, rate=11_025))
    assert found is not None
    np.testing.assert_allclose(found[0], samples, atol=step)
    assert found[1] == 11_025


def test_the_ends_of_the_scale_are_exact() -> None:
    assert pcm_samples(bytes([0, 128, 255]), 1).tolist() == [-1.0, 0.0, 127 / 128]
    assert pcm_samples(np.array([-(2**31), 0], "<i4").tobytes(), 4).tolist() == [-1.0, 0.0]


def test_channels_are_averaged_and_a_minute_is_heard() -> None:
    left, right = speech(400, seed=1), speech(400, seed=2)
    found = encoded_sound(wav(np.column_stack([left, right]), channels=2))
    assert found is not None
    np.testing.assert_allclose(found[0], (left + right) / 2, atol=1e-4)
    long = encoded_sound(wav(np.zeros(70 * 100), rate=100))
    assert long is not None
    assert long[0].size == 60 * 100


def test_broken_sounds_are_none_and_a_cut_file_is_read_as_far_as_it_goes() -> None:
    whole = wav(speech(1000))
    for data in (b"", b"RIFF", whole[:20], whole[:44], b"no sound", wav(np.zeros(0)), wav(speech(9), rate=10**6)):
        assert encoded_sound(data) is None, data[:50]
    cut = encoded_sound(whole[:-501])
    assert cut is not None
    assert 700 < cut[0].size < 1000


@pytest.mark.parametrize(
    "data", [b"fLaC....", b"OggS....", b"ID3....", wav(speech(9)).replace(b"\x01\x00\x01\x00", b"\x03\x00\x01\x00", 1)]
)
def test_other_codecs_need_an_extra(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingExtraError, match=r"soundfile is not installed: pip install 'collapse-guard\[audio\]'"):
        encoded_sound(data)


class FakeFile:
    """What soundfile opens: two channels at 4 kHz; broken if the bytes say so."""

    samplerate = 4000

    def __init__(self, file: io.BytesIO) -> None:
        if b"broken" in file.read():
            raise RuntimeError("Error opening")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def read(self, frames: int, *, dtype: str, always_2d: bool) -> NDArray[np.float64]:
        assert (frames, dtype, always_2d) == (240_000, "float64", True)
        return np.array([[0.5, 0.1], [0.3, 0.1]])


def test_other_codecs_go_through_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("soundfile")
    fake.__dict__["SoundFile"] = FakeFile
    monkeypatch.setitem(sys.modules, "soundfile", fake)
    found = encoded_sound(b"fLaC whole")
    assert found is not None
    np.testing.assert_allclose(found[0], [0.3, 0.2])
    assert found[1] == 4000
    assert encoded_sound(b"fLaC broken") is None


def test_a_real_flac_is_read_like_its_wav() -> None:
    soundfile = pytest.importorskip("soundfile")
    file = io.BytesIO()
    soundfile.write(file, speech(4000), 8000, format="FLAC")
    found, plain = encoded_sound(file.getvalue()), encoded_sound(wav(speech(4000)))
    assert found is not None
    assert plain is not None
    np.testing.assert_allclose(found[0], plain[0], atol=1e-3)


# --- sounds: features


@pytest.mark.parametrize("rate", [7600, 11_025, 16_000, 44_100, 48_000])
def test_rate_and_loudness_change_features_far_less_than_content_does(rate: int) -> None:
    base = sound_features(speech(8000, rate=8000), 8000)
    same = sound_features(0.01 * speech(rate, rate=rate), rate)
    other = sound_features(speech(8000, rate=8000, seed=5), 8000)
    assert np.abs(same - base).mean() < 0.15 * np.abs(other - base).mean()


def test_silence_and_what_lies_out_of_range_have_no_feature() -> None:
    time = np.arange(48_000) / 48_000
    for samples in (np.zeros(100), np.full(4800, 0.1), np.full(1, 0.3)):
        assert np.isnan(sound_features(samples, 48_000)).all()
    high = sound_features(np.sin(2 * np.pi * 15_000 * time) + 1e-3 * np.sin(2 * np.pi * 500 * time), 48_000)
    low = sound_features(np.sin(2 * np.pi * 500 * time), 48_000)
    assert np.abs(high - low).max() < 1.0, "what lies above 3,800 Hz is not seen"


@pytest.mark.parametrize("n", [2, 3, 50, 255, 256, 257, 600])
def test_short_recordings_have_features(n: int) -> None:
    found = sound_features(speech(n + 1)[1:] + np.r_[np.zeros(n - 1), 0.5], 8000)
    assert found.shape == (65,)
    assert np.isfinite(found).all()


def test_lists_of_samples_count_as_16_khz_and_integers_as_samples() -> None:
    samples = speech(4000)
    rows = [samples.tolist(), np.round(samples * 30_000).tolist()]
    found = AudioCells._features(pa.table({"x": rows}), "x")
    np.testing.assert_allclose(found[0], sound_features(samples, 16_000))
    whole = AudioCells._features(pa.table({"x": pa.array([np.round(samples * 30_000).astype(int).tolist()])}), "x")
    np.testing.assert_allclose(whole[0], found[1])


@needs_data
@pytest.mark.science
def test_cells_of_real_speech_carry_digit_and_speaker_whatever_the_rate() -> None:
    table = pq.read_table(Path(str(FOLDER)) / "audio" / "spoken-digits.parquet")
    rows = pa.table({"x": [{"bytes": data, "path": None} for data in table.column("wav").to_pylist()]})
    cells = AudioCells.fit(rows, **DECLARED | {"n_cells": 30, "outlier_share": 0.05})
    found = cells.cells(rows)
    digit, speaker = (purity(found, np.array(table.column(name).to_pylist())) for name in ("digit", "speaker"))
    doubled = [upsampled(data) for data in table.column("wav").to_pylist()[::10]]
    same = float((cells.cells(pa.table({"x": doubled})) == found[::10]).mean())
    noise = pa.table({"x": [wav(RNG.uniform(-1, 1, 4000)) for _ in range(100)]})
    outside = [float((cells.cells(each) < 0).mean()) for each in (rows, noise)]
    print(f"\n30 cells: digit {digit:.3f}, speaker {speaker:.3f}; same at 16 kHz {same:.3f}; outside {outside}", end="")  # noqa: T201 - shown with -s
    assert digit > 0.4  # about 0.2 if 30 cells of 24 rows knew nothing
    assert speaker > 0.5
    assert same > 0.9
    assert outside[1] > 0.95


def upsampled(data: bytes) -> bytes:
    """The same recording at twice the rate, by its Fourier series."""
    sound = encoded_sound(data)
    assert sound is not None
    samples, rate = sound
    spectrum = np.fft.rfft(samples)
    twice = np.fft.irfft(spectrum, 2 * samples.size) * 2
    return wav(np.clip(twice, -1, 0.9999), rate=2 * rate)


# --- both


@pytest.mark.parametrize("kind", [ImageCells, AudioCells])
@pytest.mark.parametrize(
    "values", [pa.array(["a"]), pa.array([1]), pa.array([{"path": "a"}]), pa.array([["a"]])], ids=str
)
def test_other_columns_are_refused(kind: type[ImageCells | AudioCells], values: Any) -> None:
    with pytest.raises(
        CellError, match="column 'x' must hold encoded bytes, a struct with 'bytes', or lists of numbers"
    ):
        kind.fit(pa.table({"x": values}), **DECLARED)


def test_sounds_have_one_dimension() -> None:
    with pytest.raises(CellError, match="lists of numbers of 1 dimensions at most; got list<item: list<item: int64>>"):
        AudioCells.fit(pa.table({"x": [[[1]]]}), **DECLARED)


@pytest.mark.parametrize("kind", [ImageCells, AudioCells])
def test_rows_that_cannot_be_read_make_no_cells(kind: type[ImageCells | AudioCells]) -> None:
    with pytest.raises(CellError, match=r"column 'x' \((images|audio)\): 3 of 3 real rows cannot be used"):
        kind.fit(pa.table({"x": [b"broken", None, b""]}), **DECLARED)
    with pytest.raises(CellError, match=r"no column 'x' .*did you mean 'xx'\?"):
        kind.fit(pa.table({"xx": [b""]}), **DECLARED)


def test_centres_of_another_feature_are_refused() -> None:
    rows = pa.table({"x": RNG.integers(0, 256, (12, 16)).tolist()})
    state = ImageCells.fit(rows, **DECLARED).state()
    assert cells_from_state(state).n_cells == 2
    with pytest.raises(CellError, match="centres of 198 numbers, audio have 65"):
        cells_from_state(state | {"kind": "audio"})
