"""What went in: a JSON header, a Parquet index, digests, and the proof that nothing real was lost."""

from collapse_guard.manifest.header import FilterReceipt, Header, ParentLink
from collapse_guard.manifest.manifest import Manifest, Mismatch, build_manifest, load_manifest, write_manifest
from collapse_guard.manifest.proof import Loss, listed, lost_real_rows, new_rows_by_class

__all__ = [
    "FilterReceipt",
    "Header",
    "Loss",
    "Manifest",
    "Mismatch",
    "ParentLink",
    "build_manifest",
    "listed",
    "load_manifest",
    "lost_real_rows",
    "new_rows_by_class",
    "write_manifest",
]
