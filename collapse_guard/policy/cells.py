"""How a row becomes a cell, and which scores of a row are watched: the declarations under ``coverage``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from collapse_guard.policy.section import Drop, Section

CodeName = Annotated[
    str,
    Field(pattern=r"^\w+(\.\w+)*:\w+(\.\w+)*$", description="module:function; a policy file needs allow_code=True"),
]
Name = Annotated[str, Field(min_length=1, max_length=60)]


class _Declared(Section):
    """What every cell map can be told."""

    name: Name | None = Field(None, description="name in reports; the kind and its column if left out")

    @property
    def title(self) -> str:
        """Name for reports."""
        declared = self.declared()
        kind = getattr(self, "kind", "cells")
        inputs = declared.get("columns") or (declared.get("column") or declared.get("function"),)
        return self.name or f"{kind} of {' x '.join(map(str, inputs))}"

    def declared(self) -> dict[str, Any]:
        """Return the keys that the kind is fitted with."""
        return {key: getattr(self, key) for key in type(self).model_fields if key not in {"kind", "name"}}

    def inputs(self) -> tuple[str, ...] | None:
        """Return the columns that rows must have; None for all of them."""
        return (str(self.declared()["column"]),)


class Labels(_Declared):
    """One cell per class label; a row with several labels stands for the one that is rarest on real rows."""

    kind: Literal["labels"] = "labels"
    column: str = "label"


class Ngrams(_Declared):
    """Hashed word n-grams (token n-grams of a list column); a document stands for the rarest of its n-grams."""

    kind: Literal["ngrams"]
    column: str = "text"
    size: int = Field(2, ge=1, le=4, description="words per n-gram; single words show a change of topic as well")
    n_buckets: int = Field(1024, ge=2, le=1 << 20, description="hash buckets; not more than there are real documents")
    first_words: int = Field(64, ge=1, description="words that are read, so that length is no signal")


class Tokens(_Declared):
    """Frequency buckets of a tokenizer's ids; a document stands for one of its tokens, drawn by a hash of it."""

    kind: Literal["tokens"]
    column: str = "input_ids"
    n_buckets: int = Field(16, ge=2, le=4096, description="buckets from frequent to rare")
    seed: int = Field(0, ge=0, description="seed of the draw")


class _Clustered(_Declared):
    n_cells: int = Field(64, ge=2, le=256, description="clusters")
    seed: int = Field(0, ge=0, description="seed of the clustering")
    outlier_share: float = Field(0.01, ge=0, lt=1, description="share of real rows that counts as off the manifold")


class Clusters(_Clustered):
    """Clusters of an embedding: a column of vectors, or what ``embed`` makes of the rows."""

    kind: Literal["clusters"]
    column: str = "embedding"
    embed: CodeName | None = Field(None, description="module:function from rows to an array (rows, d)")

    def inputs(self) -> tuple[str, ...] | None:
        """Return the embedding column; all columns if a function reads the rows."""
        return None if self.embed is not None else (self.column,)


class Images(_Clustered):
    """Clusters of a light built-in image feature."""

    kind: Literal["images"]
    column: str = "image"


class Audio(_Clustered):
    """Clusters of a light built-in audio feature."""

    kind: Literal["audio"]
    column: str = "audio"


class Bins(_Declared):
    """Categories and quantile bins of one column, or the joint cells of two or three."""

    kind: Literal["bins"]
    columns: tuple[str, ...] = Field(min_length=1, max_length=3)
    n_bins: int = Field(10, ge=2, le=1000, description="quantile bins of a numeric column")
    max_categories: int = Field(50, ge=1, le=1000, description="categories with a cell of their own")

    def inputs(self) -> tuple[str, ...] | None:
        """Return the columns."""
        return self.columns


class Callable(_Declared):
    """Cells that a function of yours gives."""

    kind: Literal["callable"]
    function: CodeName
    names: tuple[Name, ...] = Field(min_length=2, description="one name per cell")

    def inputs(self) -> tuple[str, ...] | None:
        """Return None: the function may read every column."""
        return None


AnyCells: TypeAlias = Annotated[
    Labels | Ngrams | Tokens | Clusters | Images | Audio | Bins | Callable, Field(discriminator="kind")
]


class Score(Section):
    """A per-row score in [0, 1] whose mean must not fall."""

    kind: Literal["hapax", "novelty", "column"]
    column: str = "text"
    name: Name | None = Field(None, description="name in reports; the kind and its column if left out")
    size: int = Field(2, ge=1, le=4, description="words per n-gram of novelty")
    max_drop: Drop = Field(0.10, description="tolerated relative drop of the mean")
    against: Literal["first_model", "real"] = Field(
        "first_model", description="whose mean; hapax and novelty of real text differ from any model's from the start"
    )

    @property
    def title(self) -> str:
        """Name for reports."""
        return self.name or f"{self.kind} of {self.column}"


def one_as_many(values: dict[str, Any]) -> dict[str, Any]:
    """Return policy values with one cell declaration as a list of one; its ``kind: labels`` may be left out."""
    coverage = values.get("coverage")
    if not isinstance(coverage, dict) or "cells" not in coverage:
        return values
    items = [coverage["cells"]] if isinstance(coverage["cells"], dict) else coverage["cells"]
    if isinstance(items, (list, tuple)):
        items = [{"kind": "labels"} | item if isinstance(item, dict) else item for item in items]
    return values | {"coverage": coverage | {"cells": items}}


def _one_or_many(schema: dict[str, Any]) -> None:
    """Say in the JSON Schema that one declaration may stand alone."""
    item = schema.pop("items")
    schema.pop("type")
    schema["anyOf"] = [item, {"type": "array", "items": item}]


CellsList: TypeAlias = Annotated[tuple[AnyCells, ...], Field(json_schema_extra=_one_or_many)]


def code_keys(declared: tuple[_Declared, ...]) -> list[tuple[int, str]]:
    """Return (number of the cell map, key) of everything that names code to run."""
    keys = ("embed", "function")
    return [(number, key) for number, cells in enumerate(declared) for key in keys if getattr(cells, key, None)]
