"""What went in: a JSON header, a Parquet index, digests, and the proof that nothing real was lost."""

from collapse_guard.manifest.duplicates import Duplicates, duplicate_ids, real_and_generated_ids
from collapse_guard.manifest.engine import Limits, connected
from collapse_guard.manifest.folders import index_folder
from collapse_guard.manifest.header import FilterReceipt, Header, ParentLink
from collapse_guard.manifest.ladder import Level
from collapse_guard.manifest.loss import Loss, listed
from collapse_guard.manifest.making import build_manifest, manifest_of
from collapse_guard.manifest.manifest import Manifest, Mismatch, load_manifest, write_manifest
from collapse_guard.manifest.proof import (
    Proof,
    lost_real_rows,
    new_rows_by_class,
    prove_accumulation,
)
from collapse_guard.manifest.relabel import Relabelled, relabelled
from collapse_guard.manifest.returned import taken_down_rows
from collapse_guard.manifest.shard import Shard, shard_of, write_shard
from collapse_guard.manifest.takedowns import Takedowns, add_takedowns, load_takedowns

__all__ = [
    "Duplicates",
    "FilterReceipt",
    "Header",
    "Level",
    "Limits",
    "Loss",
    "Manifest",
    "Mismatch",
    "ParentLink",
    "Proof",
    "Relabelled",
    "Shard",
    "Takedowns",
    "add_takedowns",
    "build_manifest",
    "connected",
    "duplicate_ids",
    "index_folder",
    "listed",
    "load_manifest",
    "load_takedowns",
    "lost_real_rows",
    "manifest_of",
    "new_rows_by_class",
    "prove_accumulation",
    "real_and_generated_ids",
    "relabelled",
    "shard_of",
    "taken_down_rows",
    "write_manifest",
    "write_shard",
]
