"""Encoded pictures and sounds -> digests of what they hold, exactly: the same pixels, whatever the file format."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import wave
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from collapse_guard._optional import need
from collapse_guard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
#: Formats whose further frames belong to the picture; those of a JPEG are previews of it.
_MOVING: Final = ("PNG", "WEBP", "GIF", "TIFF")
_ALPHA: Final = ("LA", "La", "PA", "RGBA", "RGBa")
_EIGHT_BITS: Final = ("1", "L", "P", "RGB", "RGBX", *_ALPHA)
_OPAQUE: Final = 255

#: First bytes of recordings: WAV, FLAC, Ogg, AIFF, MP3, AU, CAF.
_SOUNDS: Final = (
    b"RIFF",
    b"RF64",
    b"fLaC",
    b"OggS",
    b"FORM",
    b"ID3",
    b"\xff\xfb",
    b"\xff\xf3",
    b"\xff\xf2",
    b".snd",
    b"caff",
)
_BLOCK_FRAMES: Final = 1 << 16
#: Codecs that decode to fractions; all others decode to whole numbers.
_FLOAT_CODECS: Final = ("FLOAT", "VORBIS", "OPUS", "MPEG")


def picture_digest(data: bytes) -> bytes:
    """Return SHA-256 over mode, size and pixels of every frame of an encoded picture, 32 bytes.

    Pictures of 8 bits count as RGB, with alpha where some pixel is not opaque, so that a grey PNG, a palette GIF and a
    BMP of the same picture agree; other modes count as they are. Pixels are as stored: no rotation, no colour profile.
    What a JPEG or a lossy WEBP decodes to is decided by the installed library.

    Needs Pillow (extra ``image``). Raises InputError for what is no picture, is cut, would unpack to an absurd size, or
    has 16 bits per colour, of which Pillow reads eight; MissingExtraError without Pillow.

    >>> picture_digest(b"no picture")
    Traceback (most recent call last):
    ...
    collapse_guard.errors.InputError: is no picture of a known format (PNG, JPEG, WEBP, GIF, BMP, TIFF)
    """
    image_module = need("PIL.Image", extra="image")
    digest = hashlib.sha256()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", image_module.DecompressionBombWarning)
            with image_module.open(io.BytesIO(data), formats=_FORMATS) as image:
                for part in _pixels(image):
                    digest.update(part)
    except (image_module.DecompressionBombError, image_module.DecompressionBombWarning):
        raise InputError("would unpack to more pixels than Pillow takes (PIL.Image.MAX_IMAGE_PIXELS)") from None
    except image_module.UnidentifiedImageError:
        raise InputError(f"is no picture of a known format ({', '.join(_FORMATS)})") from None
    except (OSError, SyntaxError, EOFError, struct.error) as error:  # Pillow's ways to say that a file is broken
        raise InputError(f"is a broken picture ({error})") from None
    return digest.digest()


def _pixels(image: Any) -> Iterator[bytes]:
    n_frames = getattr(image, "n_frames", 1) if image.format in _MOVING else 1
    for frame in range(n_frames):
        image.seek(frame)
        if image.mode in _EIGHT_BITS and any(";16" in str(tile[3]) for tile in image.tile):
            raise InputError("has 16 bits per colour, of which Pillow reads eight")
        shown = _shown(image)
        mode = "I" if shown.mode.startswith("I;16") else shown.mode
        yield f"{mode} {shown.width} {shown.height}\n".encode()
        pixels = np.asarray(shown)
        yield (pixels.astype("<i4" if mode == "I" else pixels.dtype.newbyteorder("<"), copy=False)).tobytes()


def _shown(image: Any) -> Any:
    if image.mode not in _EIGHT_BITS:
        return image
    if image.mode not in _ALPHA and "transparency" not in image.info:
        return image.convert("RGB")
    shown = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    return shown.convert("RGB") if shown.getextrema()[3][0] == _OPAQUE else shown


def sound_digest(data: bytes) -> bytes:
    """Return SHA-256 over rate, channels and samples of a recording, 32 bytes.

    Whole numbers are aligned to 32 bits, so that a WAV and a FLAC of the same recording agree. What Ogg and MP3 decode
    to is decided by the installed library.

    PCM in WAV needs nothing; other codecs need soundfile (extra ``audio``). Raises InputError for what is no recording,
    MissingExtraError without soundfile.

    >>> sound_digest(b"no sound")
    Traceback (most recent call last):
    ...
    collapse_guard.errors.InputError: is no recording of a known format
    """
    try:
        with wave.open(io.BytesIO(data)) as sound:
            return _digest_of(_wave_parts(sound))
    except (wave.Error, EOFError) as error:
        if not _may_be_sound(data, str(error)):
            raise InputError("is no recording of a known format") from None
    soundfile = need("soundfile", extra="audio")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            return _digest_of(_decoded_parts(sound))
    except RuntimeError as error:  # soundfile's way to say that a file is broken
        raise InputError(f"is a broken recording ({error})") from None


def _may_be_sound(data: bytes, why: str) -> bool:
    return data.startswith(_SOUNDS) or why.startswith("unknown format")


def _digest_of(parts: Iterator[bytes]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def _wave_parts(sound: wave.Wave_read) -> Iterator[bytes]:
    yield f"int32 {sound.getframerate()} {sound.getnchannels()}\n".encode()
    width = sound.getsampwidth()
    frame = width * sound.getnchannels()
    while raw := sound.readframes(_BLOCK_FRAMES):
        yield pcm_integers(raw[: len(raw) // frame * frame], width).astype("<i4").tobytes()


def _decoded_parts(sound: Any) -> Iterator[bytes]:
    kind = "int32"
    if sound.subtype.startswith(_FLOAT_CODECS):
        kind = "float32"
    elif sound.subtype == "DOUBLE":
        kind = "float64"
    yield f"{kind} {sound.samplerate} {sound.channels}\n".encode()
    while len(block := sound.read(_BLOCK_FRAMES, dtype=kind, always_2d=True)):
        yield block.astype(block.dtype.newbyteorder("<"), copy=False).tobytes()


def pcm_integers(raw: bytes, width: int) -> NDArray[np.int32]:
    r"""Return samples aligned to 32 bits from little-endian integers of ``width`` bytes, 1 to 4; one byte is unsigned.

    >>> (pcm_integers(b"\x00\x00\x80\xff\xff\x7f", 3) >> 8).tolist()
    [-8388608, 8388607]
    """
    if width == 1:
        return (np.frombuffer(raw, np.uint8).astype(np.int32) - 128) << 24
    padded = np.zeros((len(raw) // width, 4), dtype=np.uint8)
    padded[:, 4 - width :] = np.frombuffer(raw, np.uint8).reshape(-1, width)
    return padded.view("<i4")[:, 0].astype(np.int32)
