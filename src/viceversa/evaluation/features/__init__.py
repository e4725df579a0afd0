"""Feature networks of FID, KID and LPIPS."""

from .extract import pool3, resized
from .store import NAMES, NETWORKS, NO_FOLDER, file_name, find, load, user_folder

__all__ = [
    "NAMES",
    "NETWORKS",
    "NO_FOLDER",
    "file_name",
    "find",
    "load",
    "pool3",
    "resized",
    "user_folder",
]
