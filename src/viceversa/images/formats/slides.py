"""Read whole slides with OpenSlide, at full resolution, composed over white."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...extras import import_extra
from ..header import Header, ImageFile, Refused, Tags, Window
from .blocks import Blocks

ROWS = 128  # decoded together, or those of a tile
MOST_ROWS = 1024
COLUMNS = 4096  # read at once
SLIDES = (".svs", ".ndpi", ".mrxs")


def is_slide_name(name: str) -> bool:
    """Return whether a file of this name is read as a slide."""
    return os.path.splitext(name)[1].lower() in SLIDES


def open_slide(path: Path) -> ImageFile:
    """Open a slide. Raises UserError if the extra `slides` is missing."""
    openslide = import_extra("openslide", "slides", f"a {path.suffix} file")
    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError:
        raise Refused("is not a slide in a format that OpenSlide reads") from None
    width, height = slide.dimensions
    tile = int(slide.properties.get("openslide.level[0].tile-height", ROWS))
    together = min(max(tile, ROWS), MOST_ROWS, height)

    def decode(number: int) -> NDArray[Any]:
        top = number * together
        result = np.empty((min(together, height - top), width, 3), np.uint8)
        for left in range(0, width, COLUMNS):
            size = min(COLUMNS, width - left), len(result)
            region = slide.read_region((left, top), 0, size)
            white = Image.new("RGBA", size, "white")
            result[:, left : left + COLUMNS] = Image.alpha_composite(white, region).convert("RGB")
        return result

    blocks = Blocks(together, decode)
    window = Window(lambda start, end, indices: blocks.read(start, end), together)
    profile = slide.color_profile
    return ImageFile(
        lambda page: Header(height, width, 3, "uint8", "RGB"),
        lambda page, indices: blocks.read(0, height),
        lambda page: Tags(icc=b"" if profile is None else profile.tobytes()),
        window=lambda page: window if together < height else None,
    )
