"""Bytes and lists -> pixels and samples; what cannot be read is None, never a guess."""

from __future__ import annotations

import io
import math
import struct
import warnings
import wave
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard._optional import need
from collapse_guard.kernels import is_list
from collapse_guard.readers.decode import pcm_integers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
#: A JPEG may be read at a fraction of its size; features need no more than this.
_DRAFT: Final = (64, 64)
_FLAT, _GREY, _COLOUR = 1, 2, 3
_CHANNELS: Final = (1, 2, 3, 4)

#: How much of a recording is heard, and the largest rate that is believed.
MAX_S: Final = 60
_MAX_RATE_HZ: Final = 768_000
#: First bytes of what is sound but not PCM in WAV: FLAC, Ogg, AIFF, MP3.
_OTHER_SOUND: Final = (b"fLaC", b"OggS", b"FORM", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")
_TOO_LARGE: Final = 1e100


def encoded_picture(data: bytes) -> Floats | None:
    """Return the pixels of an encoded picture in [0, 1], shape (height, width, 1 to 4), or None if it is none.

    Needs Pillow (extra ``image``). Raises MissingExtraError without it. A picture that would unpack to an absurd size
    counts as unreadable.

    >>> encoded_picture(b"no picture") is None
    True
    """
    image_module = need("PIL.Image", extra="image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", image_module.DecompressionBombWarning)
            image = image_module.open(io.BytesIO(data), formats=_FORMATS)
            image.draft("RGB", _DRAFT)
            return _pixels(image)
    except (image_module.DecompressionBombError, image_module.DecompressionBombWarning):
        return None
    except (OSError, ValueError, SyntaxError, EOFError, struct.error):  # Pillow's ways to say that a file is broken
        return None


def _pixels(image: Any) -> Floats:
    """Return pixels in [0, 1]; pictures of 16 bits are grey."""
    if image.mode.startswith(("I", "F")):
        return np.atleast_3d(np.asarray(image, dtype=np.float64)) / 65_535
    return np.asarray(image.convert("RGBA" if image.mode in {"P", "PA", "LA"} else "RGB"), dtype=np.float64) / 255


def listed_picture(values: pa.Array) -> Floats | None:
    """Return the pixels of one row of lists, shape (height, width, channels), or None if they make no picture.

    A flat list is square and grey; two dimensions are grey; three are (height, width, channels), or (channels, height,
    width) where only that makes sense. Integers count up to 255; fractions are taken as they are.

    >>> listed_picture(pa.array([0, 255, 0, 255])).ravel().tolist()
    [0.0, 1.0, 0.0, 1.0]
    """
    shape = [len(values)]
    while is_list(values.type):
        lengths = np.unique(pc.fill_null(pc.list_value_length(values), -1).to_numpy(zero_copy_only=False))
        if lengths.size != 1 or lengths[0] < 1:
            return None
        shape.append(int(lengths[0]))
        values = values.flatten()
    pixels = listed_numbers(values)
    if pixels is None:
        return None
    return _shaped(pixels / 255 if pa.types.is_integer(values.type) else pixels, shape)


def _shaped(pixels: Floats, shape: list[int]) -> Floats | None:
    if len(shape) == _FLAT:
        side = math.isqrt(pixels.size)
        return pixels.reshape(side, side, 1) if side * side == pixels.size else None
    if len(shape) == _GREY:
        return pixels.reshape(*shape, 1)
    solid = pixels.reshape(shape)
    if shape[2] not in _CHANNELS and shape[0] in _CHANNELS:
        solid = np.moveaxis(solid, 0, 2)
    return solid if solid.shape[2] in _CHANNELS else None


def listed_numbers(values: pa.Array) -> Floats | None:
    """Return one row of numbers, shape (n,), or None if there are none or one is null, not finite or absurd.

    >>> listed_numbers(pa.array([1, None])) is None
    True
    """
    numbers = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers if numbers.size and (np.abs(numbers) < _TOO_LARGE).all() else None


def encoded_sound(data: bytes) -> tuple[Floats, int] | None:
    """Return (samples of the first minute, rate in Hz) of a recording, channels averaged, or None if it is none.

    PCM in WAV of 8, 16, 24 or 32 bits needs nothing; other codecs need soundfile (extra ``audio``), and raise
    MissingExtraError without it.

    >>> encoded_sound(b"no sound") is None
    True
    """
    try:
        with wave.open(io.BytesIO(data)) as sound:
            rate, width, n_channels = sound.getframerate(), sound.getsampwidth(), sound.getnchannels()
            if not 0 < rate <= _MAX_RATE_HZ:
                return None
            raw = sound.readframes(MAX_S * rate)
    except (wave.Error, EOFError) as error:
        is_sound = data.startswith(_OTHER_SOUND) or str(error).startswith("unknown format")
        return _other_codec(data) if is_sound else None
    frames = len(raw) // (width * n_channels)
    samples = pcm_samples(raw[: frames * width * n_channels], width)
    return (samples.reshape(frames, n_channels).mean(axis=1), rate) if frames else None


def pcm_samples(raw: bytes, width: int) -> Floats:
    r"""Return samples in [-1, 1) from little-endian integers of ``width`` bytes, 1 to 4; one byte is unsigned.

    >>> pcm_samples(b"\x00\x00\x80\xff\xff\x7f", 3).round(3).tolist()
    [-1.0, 1.0]
    """
    return pcm_integers(raw, width) / 2**31


def _other_codec(data: bytes) -> tuple[Floats, int] | None:
    soundfile = need("soundfile", extra="audio")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            rate = int(sound.samplerate)
            if not 0 < rate <= _MAX_RATE_HZ:
                return None
            frames = sound.read(MAX_S * rate, dtype="float64", always_2d=True)
    except RuntimeError:  # soundfile's way to say that a file is broken
        return None
    samples = np.asarray(frames, dtype=np.float64).mean(axis=1)
    return (samples, rate) if samples.size and (np.abs(samples) < _TOO_LARGE).all() else None
