"""Light features of pictures and sounds, by plain arithmetic: no model, no download, the same on every machine.

They tell coarse kinds apart, not meaning. Where a frozen encoder is at hand, ``clusters`` on its embeddings see more.
Sources: histograms of gradient directions (Dalal & Triggs 2005), the square root of shares as a metric (Hellinger),
the mel scale (O'Shaughnessy 1987).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Side of the grid of mean brightness; side of the picture that edges are taken from, and of their grid.
_GRID: Final = 8
_EDGE_SIDE: Final = 32
_EDGE_GRID: Final = 4
_DIRECTIONS: Final = 8
#: Steps that rounding alone makes, against the brightest pixel; 8 bits make steps of 4e-3.
_NO_EDGE: Final = 1e-9
#: Rec. 601 weights of red, green and blue.
_LUMA: Final = np.array([0.299, 0.587, 0.114])

#: Seconds per frame and between frames; bands between two frequencies that telephone sound carries as well.
_FRAME_S: Final = 0.032
_HOP_S: Final = 0.016
_BANDS: Final = 16
_LOW_HZ: Final = 80.0
_HIGH_HZ: Final = 3800.0
_THIRDS: Final = 3
#: Energy that counts as silence, against the mean of the recording.
_SILENCE: Final = 1e-4
#: Amplitude that rounding alone makes, against the peak.
_ROUNDING: Final = 1e-12


def image_features(pixels: Floats) -> Floats:
    """Return 198 numbers of a picture, whatever its size.

    Mean brightness in a grid of 8 x 8; edges of the picture shrunk to 32 x 32, by 8 directions in a grid of 4 x 4,
    as square roots of their shares of all edges; mean and spread of three colours.

    Args:
        pixels: of shape (height, width, channels); one or two channels are grey, a fourth is ignored.

    >>> image_features(np.zeros((28, 20, 1))).shape
    (198,)
    """
    n_channels = pixels.shape[2]
    colours = pixels[:, :, :3] if n_channels >= _LUMA.size else np.repeat(pixels[:, :, :1], _LUMA.size, axis=2)
    luma = (colours * _LUMA).sum(axis=2)
    edges = np.sqrt(edge_shares(shrunk(luma, _EDGE_SIDE)))
    return np.concatenate([shrunk(luma, _GRID).ravel(), edges, colours.mean(axis=(0, 1)), colours.std(axis=(0, 1))])


def shrunk(plane: Floats, side: int) -> Floats:
    """Return the means of a grid of side x side equal areas; a pixel that lies in several counts by its overlap.

    >>> shrunk(np.array([[0.0, 2.0, 4.0], [0.0, 2.0, 4.0]]), 2).tolist()
    [[0.6666666666666666, 3.333333333333333], [0.6666666666666666, 3.333333333333333]]
    """
    return np.asarray(_area_weights(plane.shape[0], side) @ plane @ _area_weights(plane.shape[1], side).T)


def edge_shares(plane: Floats) -> Floats:
    """Return how the edges of a square plane share out over places and directions, shape (128,), sum 1 or 0.

    >>> float(edge_shares(np.tile(np.arange(32.0), (32, 1)))[::8].sum())  # all edges run one way
    1.0
    """
    down, right = np.gradient(plane)
    strength = np.hypot(down, right)
    strength[strength <= _NO_EDGE * np.abs(plane).max()] = 0.0
    direction = np.floor(np.arctan2(down, right) / np.pi * _DIRECTIONS).astype(np.int64) % _DIRECTIONS
    place = np.arange(len(plane)) * _EDGE_GRID // len(plane)
    where = (place[:, None] * _EDGE_GRID + place) * _DIRECTIONS + direction
    found = np.bincount(where.ravel(), strength.ravel(), minlength=_EDGE_GRID**2 * _DIRECTIONS)
    total = found.sum()
    return np.asarray(found / total if total > 0 else found)


def sound_features(samples: Floats, rate_hz: int) -> Floats:
    """Return 65 numbers of a recording, whatever its loudness, length and rate; NaN for silence.

    Log energies of 16 mel bands from 80 to 3,800 Hz in frames of 32 ms: their means over the first, middle and last
    third, their spread over all frames, and the mean change from frame to frame. What lies above 3,800 Hz is not seen,
    so that a recording at 8 kHz and the same at 48 kHz look alike.

    Args:
        samples: one channel, finite, of shape (n,) with n of 1 or more.
        rate_hz: samples per second.

    >>> tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    >>> loud = sound_features(100 * tone, 8000)
    >>> loud.shape, bool(np.allclose(loud, sound_features(tone, 8000)))
    ((65,), True)
    """
    centred = samples - samples.mean()
    peak = np.abs(centred).max()
    is_silent = peak <= _ROUNDING * np.abs(samples).max()
    energy = band_energies(centred if is_silent else centred / peak, rate_hz)
    if is_silent or energy.max() <= _ROUNDING**2:  # nothing, a constant, or only sounds out of range
        return np.full(_BANDS * (_THIRDS + 1) + 1, np.nan)
    loudness = np.log(energy / energy.mean() + _SILENCE)
    thirds = [part.mean(axis=0) if len(part) else loudness[-1] for part in np.array_split(loudness, _THIRDS)]
    change = np.abs(np.diff(loudness, axis=0)).mean() if len(loudness) > 1 else 0.0
    return np.concatenate([*thirds, loudness.std(axis=0), [change]])


def band_energies(samples: Floats, rate_hz: int) -> Floats:
    """Return the energy of each frame in each band, shape (frames, 16); a short recording makes one frame.

    >>> band_energies(np.ones(10), 8000).shape
    (1, 16)
    """
    size = max(2, round(_FRAME_S * rate_hz))
    padded = np.pad(samples, (0, max(0, size - samples.size)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: max(1, round(_HOP_S * rate_hz))]
    frames = (frames - frames.mean(axis=1, keepdims=True)) * np.hanning(size)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    band = np.searchsorted(_band_edges(), np.fft.rfftfreq(size, 1 / rate_hz), side="right") - 1
    inside = (band >= 0) & (band < _BANDS)
    energies = np.zeros((len(frames), _BANDS))
    np.add.at(energies.T, band[inside], power.T[inside])
    return energies


@lru_cache(maxsize=64)
def _area_weights(n_pixels: int, side: int) -> Floats:
    """Return the share of each pixel in each of ``side`` equal stretches, rows of sum 1."""
    edges = np.arange(side + 1) * n_pixels / side
    pixel = np.arange(n_pixels)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    weights = np.asarray(np.maximum(overlap, 0.0) * side / n_pixels)
    weights.setflags(write=False)
    return weights


def _band_edges() -> Floats:
    """Return the edges of bands that are equally wide in mel, in Hz."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (_LOW_HZ, _HIGH_HZ))
    return np.asarray(700 * (10 ** (np.linspace(low, high, _BANDS + 1) / 2595) - 1))
