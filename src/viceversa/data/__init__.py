"""Data sets: what lies in a folder, in which order it is seen, and what becomes of an image."""

from .config import DataConfig
from .dataset import Pictures, batches
from .layouts import Found, find

__all__ = ["DataConfig", "Found", "Pictures", "batches", "find"]
