"""Options of an evaluation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ..data.config import Layout
from ..errors import UserError
from ..images.domain import nearest_colours
from ..images.preprocessing import LARGEST_SIDE, is_side
from ..inference import Policy
from ..metrics.registry import METRICS, selectable

Split = Literal["auto", "train", "val", "test"]
Pairs = Literal["auto", "yes", "no"]


@dataclass(frozen=True)
class EvaluationOptions:
    model: Path
    """A run folder, or one translator in it."""
    data: str = ""
    """The dataset; empty is that of the model's run."""
    split: Split = "auto"
    """The split; auto is test, else val, else all images."""
    pairs: Pairs = "auto"
    """Whether each source has a target; auto is as in training."""
    size: str = "trained"
    """trained: resized as in training, not cropped; own: as the files are; or pixels a side."""
    policy: Policy = "image"
    metrics: tuple[str, ...] = ()
    """Names of metrics; empty is all that are available."""
    classes: str = ""
    """Colours #rrggbb,... of the target's classes, for pixel accuracy and IoU of RGB images."""
    features: Path | None = None
    """A folder with feature networks, instead of the user's cache."""
    batch_size: int = 8
    device: str = "auto"
    seed: int = 0
    max_megapixels: int = 64
    layout: Layout | None = None
    """Structure of the data, as `data.layout`; None: that of training, for other data `auto`."""
    hold_out: float | None = None
    """Fraction of `train` that is `val`, for data without val or test; None: as in training."""

    def __post_init__(self) -> None:
        for option, value, kind in (
            ("--split", self.split, Split),
            ("--pairs", self.pairs, Pairs),
            ("--data.layout", self.layout, Layout),
        ):
            if value is not None and value not in get_args(kind):
                values = ", ".join(get_args(kind))
                raise UserError(f"{option} is one of {values}, not {value!r}", option=option)
        if unknown := [name for name in self.metrics if name not in selectable()]:
            raise UserError(
                f"--metrics has {unknown[0]!r}; there are {', '.join(selectable())}",
                option="--metrics",
            )
        side = int(self.size) if is_side(self.size) else 0
        if self.size not in ("trained", "own") and not 0 < side <= LARGEST_SIDE:
            raise UserError(
                f"--size is trained, own or pixels a side, at most {LARGEST_SIDE}, not "
                f"{self.size!r}",
                option="--size",
            )
        if self.batch_size < 1:
            raise UserError(
                f"--batch_size must be at least 1, not {self.batch_size}", option="--batch_size"
            )
        if wrong := [c for c in self.colours if not re.fullmatch("#[0-9a-fA-F]{6}", c)]:
            raise UserError(
                f"--classes takes colours #rrggbb with commas, not {wrong[0]!r}", option="--classes"
            )
        near = nearest_colours(self.colours)
        if near and not near[2]:
            raise UserError(
                f"--classes has the colour {near[0]} twice; name each class once",
                option="--classes",
            )

    @property
    def colours(self) -> list[str]:
        """The colours of classes."""
        return [word.strip() for word in self.classes.split(",") if word.strip()]

    @property
    def requested(self) -> tuple[str, ...]:
        """The metrics to compute if they are available."""
        return self.metrics or selectable()

    @property
    def required(self) -> tuple[str, ...]:
        """Named metrics with a feature network: an evaluation without it is refused."""
        return tuple(name for name in self.metrics if METRICS[name].network)
