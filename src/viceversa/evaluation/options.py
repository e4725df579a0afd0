"""What is evaluated, and how."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ..data.config import Layout
from ..errors import UserError
from ..images.domain import nearest_colours
from ..images.preprocessing import LARGEST_SIDE, is_side
from .accumulator import NEEDS

Split = Literal["auto", "train", "val", "test"]
Pairs = Literal["auto", "yes", "no"]
Policy = Literal["image", "running", "paper"]
METRICS = ("l1", "psnr", "ssim", "ms_ssim", "lpips", "cycle", "content", "swd", "fid", "kid")


@dataclass(frozen=True)
class Options:
    model: Path
    """A run's folder, or one translator in it."""
    data: str = ""
    """A data set; empty is the one of the model's run."""
    split: Split = "auto"
    """Which images; auto is test, else val, else images that are in no split."""
    pairs: Pairs = "auto"
    """Whether each source has its target; auto is as the method learnt."""
    size: str = "trained"
    """trained: resized as in training, not cropped; own: as the files are; or pixels a side."""
    policy: Policy = "image"
    metrics: tuple[str, ...] = ()
    """Those to have; empty is all that can be had."""
    classes: str = ""
    """Colours #rrggbb,... of a target's classes, for pixel accuracy and IoU of plain pictures."""
    features: Path | None = None
    """A folder with feature networks, in place of the user's cache."""
    batch_size: int = 8
    device: str = "auto"
    seed: int = 0
    max_megapixels: int = 64
    layout: Layout | None = None
    """Structure of the data, as `data.layout`; None: that of training, for other data `auto`."""
    hold_out: float | None = None
    """Fraction of `train` that is `val`, for data without val or test; None: as in training."""

    def __post_init__(self) -> None:
        for name, value, kind in (("split", self.split, Split), ("pairs", self.pairs, Pairs)):
            if value not in get_args(kind):
                raise UserError(f"--{name} is one of {', '.join(get_args(kind))}, not {value!r}")
        if self.layout is not None and self.layout not in get_args(Layout):
            raise UserError(
                f"--data.layout is one of {', '.join(get_args(Layout))}, not {self.layout!r}",
                option="data.layout",
            )
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown:
            raise UserError(f"--metrics has {unknown[0]!r}; there are {', '.join(METRICS)}")
        side = int(self.size) if is_side(self.size) else 0
        if self.size not in ("trained", "own") and not 0 < side <= LARGEST_SIDE:
            raise UserError(
                f"--size is trained, own or pixels a side, at most {LARGEST_SIDE}, not "
                f"{self.size!r}",
                option="--size",
            )
        if self.batch_size < 1:
            raise UserError(f"--batch_size must be at least 1, not {self.batch_size}")
        wrong = [c for c in self.colours if not re.fullmatch("#[0-9a-fA-F]{6}", c)]
        if wrong:
            raise UserError(f"--classes takes colours #rrggbb with commas, not {wrong[0]!r}")
        near = nearest_colours(self.colours)
        if near and not near[2]:
            raise UserError(f"--classes has the colour {near[0]} twice; name each class once")

    @property
    def colours(self) -> list[str]:
        """The colours of classes."""
        return [word.strip() for word in self.classes.split(",") if word.strip()]

    @property
    def wanted(self) -> tuple[str, ...]:
        """The metrics to try."""
        return self.metrics or METRICS

    @property
    def must(self) -> tuple[str, ...]:
        """Metrics named by the user that need a feature network: without it there is no result."""
        return tuple(name for name in self.metrics if name in NEEDS)
