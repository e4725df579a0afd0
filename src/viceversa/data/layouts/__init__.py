"""What lies in a data set, by names alone: which image is of which domain, split and pair."""

from .find import Found, find, look

__all__ = ["Found", "find", "look"]
