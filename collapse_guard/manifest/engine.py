"""DuckDB over manifests: one view per manifest, under a memory limit, spilling to a folder of its own."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from collapse_guard.errors import InputError, ManifestError
from collapse_guard.manifest.index import INDEX_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import duckdb

    from collapse_guard.manifest.manifest import Manifest
    from collapse_guard.manifest.shard import Shard

#: What DuckDB reads as a pattern in a path.
_PATTERNS = frozenset("*?[{")


#: DuckDB starts every thread that it is told to.
MAX_THREADS: Final = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What a question to a manifest may take.

    Args:
        memory: such as ``"700MB"``; DuckDB's own default (80 % of the machine) if left out.
        threads: 1 to 1024; all cores if left out.
        spill: folder for what does not fit in memory; a temporary one if left out.

    Raises InputError for a number of threads that no machine has.
    """

    memory: str | None = None
    threads: int | None = None
    spill: Path | None = None

    def __post_init__(self) -> None:
        if self.threads is not None and not 1 <= self.threads <= MAX_THREADS:
            raise InputError(f"threads must be 1 to {MAX_THREADS}, got {self.threads}")


@contextmanager
def connected(limits: Limits | None = None, **manifests: Manifest) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection with one view per manifest, under the name of its keyword.

    Raises ManifestError for parts that cannot be read and for a memory limit that is too small, InputError for
    limits that DuckDB does not take.
    """
    import duckdb  # noqa: PLC0415 - 0.1 s that reading a header need not pay

    for manifest in manifests.values():
        manifest.check_readable()
    with tempfile.TemporaryDirectory(prefix="collapse-guard-") as scratch:
        try:
            database = duckdb.connect(":memory:", config=_config(limits or Limits(), scratch))
        except duckdb.Error as error:
            raise InputError(f"DuckDB refuses the limits: {str(error).splitlines()[0]}") from None
        try:
            with database:
                for name, manifest in manifests.items():
                    add_view(database, name, manifest.shards)
                yield database
        except duckdb.OutOfMemoryException as error:
            reason = str(error).splitlines()[0]
            raise ManifestError(f"the memory limit is too small ({reason}); raise it, or use fewer threads") from None
        except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):
            raise  # our own SQL
        except duckdb.Error as error:  # a damaged page can be any of them
            reason = (str(error).splitlines() or [""])[0]
            raise ManifestError(f"a part cannot be read ({reason}); it was cut or changed, restore it") from None


def _config(limits: Limits, scratch: str) -> dict[str, Any]:
    config: dict[str, Any] = {
        "preserve_insertion_order": "false",
        "temp_directory": str(limits.spill or scratch),
    }
    if limits.memory is not None:
        config["memory_limit"] = limits.memory
    if limits.threads is not None:
        config["threads"] = limits.threads
    return config


def add_view(database: duckdb.DuckDBPyConnection, name: str, shards: Sequence[Shard]) -> None:
    """Make the index rows of ``shards`` readable under ``name``."""
    paths = [str(shard.path) for shard in shards if shard.path is not None]
    if len(paths) < len(shards) or not shards:
        tables = [shard.read() for shard in shards]
        database.register(name, pa.concat_tables(tables) if tables else INDEX_SCHEMA.empty_table())
    elif any(_PATTERNS & set(path) for path in paths):
        from pyarrow import dataset  # noqa: PLC0415 - only where a path would be read as a pattern

        database.register(name, dataset.dataset(paths, schema=INDEX_SCHEMA, format="parquet"))
    else:
        database.read_parquet(paths).create_view(name)
