"""Image files <-> pixels (NumPy) <-> values in [-1, 1]. Only `values` and `lab` import torch."""

from .header import MAX_PIXELS, Geometry, Header, Pixels, Tags
from .io import Decoded, decode, read, read_header, read_tags
from .pixels import fit_channels, resize, to_pil
from .sources import SUFFIXES, Source
from .writing import suffix_for, to_bytes, write

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Decoded",
    "Geometry",
    "Header",
    "Pixels",
    "Source",
    "Tags",
    "decode",
    "fit_channels",
    "read",
    "read_header",
    "read_tags",
    "resize",
    "suffix_for",
    "to_bytes",
    "to_pil",
    "write",
]
