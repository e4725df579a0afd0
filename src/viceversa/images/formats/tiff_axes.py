"""TIFFs of tifffile's default layout, in which (height, width, channels) is stored as pages."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layout import Layout, Opened, Refused, Tags, guard, words
from .tiff import Tiff


def arranged(tiff: Tiff, channels: int | None, pages: str, most: int) -> Opened:
    """The file as a stack of pages, or as images of `channels` channels if its shape says so.

    tifffile writes an array (h, w, 6) as h pages of (w, 6), and its shape (h, w, 6) beside them.
    The last axis is channels if it equals `channels`. Raises Refused if neither this nor `pages`
    decides.
    """
    shape = tiff.shape
    if len(shape) < 3:
        return tiff
    last, images = shape[-1], tiff.pages // shape[-3]
    if tiff.axes.endswith(("YXS", "YXC")):
        return ChannelsLast(tiff, shape, most)
    if tiff.axes.endswith("YX"):
        return tiff
    bands = pages == "bands"
    stack = bands and channels in (None, tiff.pages)  # the settings name it, and it fits
    if channels in (last, last * images if bands else last) and not stack:
        return ChannelsLast(tiff, shape, most)
    if pages == "refuse":
        count = "one image" if images == 1 else f"{images} images"
        raise Refused(
            f"holds an array of shape {shape}, which is either {count} of {shape[-2]}x{shape[-3]} "
            f"with {last} channels or {tiff.pages} pages of {last}x{shape[-2]}; set the domain's "
            f"channels to {last} for the former, or its pages (a number, or bands) for the latter"
        )
    return tiff


class ChannelsLast:
    """The pages of (width, channels) numbers of a TIFF, as images (height, width, channels)."""

    def __init__(self, tiff: Tiff, shape: tuple[int, ...], most: int) -> None:
        self._tiff = tiff
        self._height, self._width, self._bands = shape[-3:]
        self.pages = tiff.pages // self._height
        guard(self._height, self._width, most, self._bands)

    def layout(self, page: int) -> Layout:
        stored = self._tiff.layout(page * self._height)
        mode = "RGB" if self._bands == 3 else words("grey", self._bands - 1, False)
        return Layout(self._height, self._width, self._bands, stored.dtype, mode)

    def pixels(self, page: int, indices: bool) -> NDArray[Any]:
        rows = range(page * self._height, (page + 1) * self._height)
        return np.stack([self._tiff.pixels(row, indices)[:, :, 0] for row in rows])

    def tags(self, page: int) -> Tags:
        return self._tiff.tags(page * self._height)._replace(geometry=())
