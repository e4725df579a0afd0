"""Datasets: index and check of image files, loading, order and augmentation.

The names exported here do not import torch.
"""

from .config import DataConfig
from .index import SplitIndex, index_split

__all__ = ["DataConfig", "SplitIndex", "index_split"]
