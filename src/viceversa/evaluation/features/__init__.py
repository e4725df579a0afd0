"""Feature networks of FID, KID, LPIPS and the perceptual loss."""

from .extract import pool3, resized
from .perceptual import PerceptualFeatures
from .store import NAMES, NETWORKS, NO_FOLDER, file_name, find, load, user_folder

__all__ = [
    "NAMES",
    "NETWORKS",
    "NO_FOLDER",
    "PerceptualFeatures",
    "file_name",
    "find",
    "load",
    "pool3",
    "resized",
    "user_folder",
]
