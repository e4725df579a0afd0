"""Pictures as numbers. What is named here knows no torch; `tensors` brings pixels to [-1, 1]."""

from .files import (
    MOST_PIXELS,
    SUFFIXES,
    Decoded,
    Geometry,
    Header,
    Pixels,
    Tags,
    decode,
    fit_bands,
    read,
    read_header,
    read_tags,
    resize,
    suffix_for,
    to_bytes,
    to_pil,
    write,
)
from .sources import Source

__all__ = [
    "MOST_PIXELS",
    "SUFFIXES",
    "Decoded",
    "Geometry",
    "Header",
    "Pixels",
    "Source",
    "Tags",
    "decode",
    "fit_bands",
    "read",
    "read_header",
    "read_tags",
    "resize",
    "suffix_for",
    "to_bytes",
    "to_pil",
    "write",
]
