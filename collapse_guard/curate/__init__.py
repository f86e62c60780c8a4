"""Before training: what may enter? The conductor and what it asks."""

from collapse_guard.curate.classes import cell_map, is_nested, quality_scores, with_classes
from collapse_guard.curate.pools import Pools, filter_synthetic, plan_shares, planned_rows, pools_of
from collapse_guard.curate.tagging import ARROW_TYPES, check_origins, check_tags, provenance_columns, unknown_sources
from collapse_guard.curate.training_set import Curated, curate

__all__ = [
    "ARROW_TYPES",
    "Curated",
    "Pools",
    "cell_map",
    "check_origins",
    "check_tags",
    "curate",
    "filter_synthetic",
    "is_nested",
    "plan_shares",
    "planned_rows",
    "pools_of",
    "provenance_columns",
    "quality_scores",
    "unknown_sources",
    "with_classes",
]
