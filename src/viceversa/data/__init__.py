"""Datasets: index of image files, check, order and augmentation.

Names exported here need no torch; `dataset` builds the batches.
"""

from .config import DataConfig
from .index import SplitIndex, index_split

__all__ = ["DataConfig", "SplitIndex", "index_split"]
