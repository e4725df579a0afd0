"""Index of a dataset by file names: the split, domain and pair of each image."""

from .files import FileTree
from .layouts import index_split, index_splits, list_images
from .manifest import Manifest
from .pairing import SplitIndex

__all__ = ["FileTree", "Manifest", "SplitIndex", "index_split", "index_splits", "list_images"]
