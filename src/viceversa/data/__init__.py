"""Data sets: what lies in a folder, in which order it is seen, and what becomes of an image.

What is named here knows no torch; `dataset` makes the batches.
"""

from .config import DataConfig
from .index import SplitIndex, index_split

__all__ = ["DataConfig", "SplitIndex", "index_split"]
