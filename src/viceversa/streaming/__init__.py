"""Run networks in bands of rows, for images that do not fit into memory."""

from .graph import Unknown, reach
from .memory import whole_memory
from .stream import BandedNetwork

__all__ = ["BandedNetwork", "Unknown", "reach", "whole_memory"]
