"""Run networks in bands of rows or in tiles, for images that do not fit into memory."""

from .graph import Unknown
from .memory import whole_memory
from .receptive_field import receptive_field, uses_image_statistics
from .sampling import SampledNorms, sampled_norms
from .stream import BandedNetwork
from .tiles import TiledNetwork
from .windows import Windows

__all__ = [
    "BandedNetwork",
    "SampledNorms",
    "TiledNetwork",
    "Unknown",
    "Windows",
    "receptive_field",
    "sampled_norms",
    "uses_image_statistics",
    "whole_memory",
]
