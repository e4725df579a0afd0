"""What lies in a data set, by names alone: which image is of which domain, split and pair."""

from .find import describe, find, find_all, look
from .found import Found

__all__ = ["Found", "describe", "find", "find_all", "look"]
