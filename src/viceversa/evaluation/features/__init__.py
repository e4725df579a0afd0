"""Networks that describe images by numbers, and the files that hold them: `evaluate` needs them."""

from .extract import pool3, resized
from .store import NAMES, NETWORKS, NO_FOLDER, find, load, user_folder

__all__ = ["NAMES", "NETWORKS", "NO_FOLDER", "find", "load", "pool3", "resized", "user_folder"]
