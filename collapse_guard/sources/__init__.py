"""Who made the rows, and how do we know?"""

from collapse_guard.sources.card import Declared, declared_origin
from collapse_guard.sources.tag import Tag

__all__ = ["Declared", "Tag", "declared_origin"]
