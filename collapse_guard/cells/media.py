"""Clusters of pictures and of sounds on built-in features, for when no frozen encoder is at hand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collapse_guard.cells.centres import Centres, fit_centres
from collapse_guard.cells.columns import is_number, plain, raw_column
from collapse_guard.cells.contract import CELL_MAPS, digest_of, state_of
from collapse_guard.cells.decode import encoded_picture, encoded_sound, listed_numbers, listed_picture
from collapse_guard.cells.features import image_features, sound_features
from collapse_guard.cells.state import Parts
from collapse_guard.errors import CellError
from collapse_guard.kernels import is_list

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from collapse_guard.cells.contract import Rows

    Floats = NDArray[np.float64]

#: A list of samples says nothing about its rate.
LISTED_RATE_HZ: Final = 16_000

_PIXEL_DIMENSIONS: Final = 3
_SLICE_ROWS: Final = 256


@dataclass(frozen=True, slots=True)
class MediaCells(ABC):
    """k-means cells of a built-in feature; subclasses say how a row becomes numbers, and nothing else.

    Args:
        column: encoded bytes, the ``{bytes, path}`` of Hugging Face ``datasets``, or lists of numbers.
        centres: the clusters.
    """

    column: str
    centres: Centres

    kind: ClassVar[str]
    n_features: ClassVar[int]
    n_dimensions: ClassVar[int]

    @staticmethod
    @abstractmethod
    def of_bytes(data: bytes) -> Floats | None:
        """Return the features of one encoded row, None if it cannot be read."""

    @staticmethod
    @abstractmethod
    def of_list(values: pa.Array) -> Floats | None:
        """Return the features of one row of lists, None if it cannot be read."""

    @classmethod
    def fit(cls, rows: Rows, *, column: str, n_cells: int, seed: int, outlier_share: float) -> Self:
        """Return the map over real ``rows``.

        Args:
            rows: real rows; those that cannot be read are left out.
            column: the column.
            n_cells: number of clusters, 2 to 256; fewer if some would be empty.
            seed: seed of the clustering, 0 or more.
            outlier_share: share of fresh real rows that may count as outliers, in [0, 1); 0 sets no limit.

        Raises CellError for another type of column, if most rows cannot be read, if there are fewer distinct rows than
        cells, and for parameters; MissingExtraError where a decoder is not installed.
        """
        what = f"column {column!r} ({cls.kind})"
        features = cls._features(rows, column)
        return cls(column, fit_centres(features, n_cells=n_cells, seed=seed, outlier_share=outlier_share, what=what))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return the map that wrote ``state``; raises CellError for anything malformed."""
        parts = Parts.of(state, "column", "centres")
        centres = Centres.from_state(parts.values["centres"])
        if len(centres.mean) != cls.n_features:
            raise parts.fail(f"centres of {len(centres.mean)} numbers, {cls.kind} have {cls.n_features}")
        return cls(parts.text("column"), centres)

    @property
    def n_cells(self) -> int:
        """Number of clusters."""
        return self.centres.n_cells

    @property
    def names(self) -> tuple[str, ...]:
        """One name per cluster, from the one with the most real rows."""
        return self.centres.names

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def digest(self) -> str:
        """Digest over the state."""
        return digest_of(self.state())

    def state(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return state_of(self.kind, column=self.column, centres=self.centres.state())

    def cells(self, rows: Rows) -> NDArray[np.int64]:
        """Return the nearest cluster of each row, -1 for outliers and for rows that cannot be read."""
        return self.centres.cells(self._features(rows, self.column))

    @classmethod
    def _features(cls, rows: Rows, column: str) -> Floats:
        """Return features row by row, NaN where there are none: what a row gives must not depend on its batch."""
        found = np.full((rows.num_rows, cls.n_features), np.nan)
        for row, features in enumerate(cls._each(raw_column(rows, column), column)):
            if features is not None:
                found[row] = features
        return found

    @classmethod
    def _each(cls, array: Any, column: str) -> Iterator[Floats | None]:
        for chunk in array.chunks if isinstance(array, pa.ChunkedArray) else [array]:
            for start in range(0, len(chunk), _SLICE_ROWS):  # so that not all bytes are held twice
                yield from cls._slice(plain(chunk.slice(start, _SLICE_ROWS)), column)

    @classmethod
    def _slice(cls, array: Any, column: str) -> Iterator[Floats | None]:
        if pa.types.is_struct(array.type) and "bytes" in {field.name for field in array.type}:
            array = pc.struct_field(array, "bytes")
        if pa.types.is_null(array.type):
            return (None for _ in range(len(array)))
        if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
            return (cls.of_bytes(data) if data else None for data in array.to_pylist())
        if not 1 <= _dimensions(array.type) <= cls.n_dimensions:
            text = f"column {column!r} must hold encoded bytes, a struct with 'bytes', or lists of numbers"
            raise CellError(f"{text} of {cls.n_dimensions} dimensions at most; got {array.type}")
        return (cls.of_list(row.values) if row.is_valid else None for row in array)


@CELL_MAPS.register("images")
@dataclass(frozen=True, slots=True)
class ImageCells(MediaCells):
    """Clusters of pictures on :func:`~collapse_guard.cells.features.image_features`.

    Encoded pictures need Pillow (extra ``image``); lists of pixels need nothing, be they flat squares, (height, width)
    or with channels.

    >>> rows = pa.table({"pixels": [[i, 0, 0, 255 - i] for i in range(9)] + [[0, 255 - i, i, 0] for i in range(9)]})
    >>> cells = ImageCells.fit(rows, column="pixels", n_cells=2, seed=0, outlier_share=0.0)
    >>> len({*cells.cells(rows)[:9].tolist()}), cells.cells(pa.table({"pixels": [[1, 2, 3]]})).tolist()
    (1, [-1])
    """

    kind: ClassVar[str] = "images"
    n_features: ClassVar[int] = 198
    n_dimensions: ClassVar[int] = _PIXEL_DIMENSIONS

    @staticmethod
    def of_bytes(data: bytes) -> Floats | None:
        """Return the features of an encoded picture."""
        pixels = encoded_picture(data)
        return None if pixels is None else image_features(pixels)

    @staticmethod
    def of_list(values: pa.Array) -> Floats | None:
        """Return the features of a list of pixels."""
        pixels = listed_picture(values)
        return None if pixels is None else image_features(pixels)


@CELL_MAPS.register("audio")
@dataclass(frozen=True, slots=True)
class AudioCells(MediaCells):
    """Clusters of recordings on :func:`~collapse_guard.cells.features.sound_features`.

    WAV needs nothing, other codecs need soundfile (extra ``audio``). A list of samples carries no rate and counts as 16
    kHz. Of a longer recording the first minute counts; silence is in no cell.

    >>> tones = [np.sin(np.arange(4000) * (0.1 if i % 2 else 0.6) + i).tolist() for i in range(12)]
    >>> cells = AudioCells.fit(pa.table({"sound": tones}), column="sound", n_cells=2, seed=0, outlier_share=0.0)
    >>> cells.cells(pa.table({"sound": [tones[0], tones[2], [0.0] * 9]})).tolist()
    [0, 0, -1]
    """

    kind: ClassVar[str] = "audio"
    n_features: ClassVar[int] = 65
    n_dimensions: ClassVar[int] = 1

    @staticmethod
    def of_bytes(data: bytes) -> Floats | None:
        """Return the features of an encoded recording."""
        sound = encoded_sound(data)
        return None if sound is None else sound_features(*sound)

    @staticmethod
    def of_list(values: pa.Array) -> Floats | None:
        """Return the features of a list of samples."""
        samples = listed_numbers(values)
        return None if samples is None else sound_features(samples, LISTED_RATE_HZ)


def _dimensions(kind: pa.DataType) -> int:
    """Return how deep lists of numbers are nested, 0 for anything else."""
    depth = 0
    while is_list(kind):
        kind, depth = kind.value_type, depth + 1
    return depth if is_number(kind) or pa.types.is_null(kind) else 0
