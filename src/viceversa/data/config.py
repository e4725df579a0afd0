"""Settings of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import UserError


@dataclass(frozen=True)
class DataConfig:
    path: str = ""
    """The data folder."""
    direction: Literal["ab", "ba"] = "ab"
    """Which way the method looks: `ba` makes B the source."""
    preprocess: Literal[
        "resize_and_crop", "resize", "crop", "scale_width", "scale_width_and_crop",
        "scale_shortside", "none",
    ] = "resize_and_crop"  # fmt: skip
    """How an image gets its size."""
    load_size: int = 286
    """Pixels a side, before a crop (`scale_width`: the width; `scale_shortside`: that side)."""
    crop_size: int = 256
    """Pixels a side of the crop (of the image, with `resize`)."""
    flip: bool = True
    """Mirror half of the images."""
    channels: tuple[int, int] = (3, 3)
    """Channels of A and of B: 1 (grey) or 3 (RGB)."""
    workers: int = 0
    """Processes that load images; 0 loads in the training process."""
    cache: int = 2048
    """Megabytes of decoded images kept in memory; 0 decodes anew each time."""

    def __post_init__(self) -> None:
        if self.preprocess == "resize_and_crop" and self.load_size < self.crop_size:
            raise UserError(
                f"data.load_size {self.load_size} is smaller than data.crop_size {self.crop_size}"
            )
        if min(self.load_size, self.crop_size) < 1 or self.workers < 0 or self.cache < 0:
            raise UserError("data's sizes start at 1, its workers and cache at 0")
        if set(self.channels) - {1, 3}:
            raise UserError(f"data.channels are 1 or 3 each, not {list(self.channels)}")
