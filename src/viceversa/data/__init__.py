"""Data sets: what lies in a folder, in which order it is seen, and what becomes of an image.

What is named here knows no torch; `dataset` makes the batches.
"""

from .config import DataConfig
from .layouts import Found, find

__all__ = ["DataConfig", "Found", "find"]
