"""Options of an evaluation."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..data.config import Layout
from ..directions import Direction
from ..errors import UserError
from ..fields import check, height_width, number, plain
from ..images.domain import DomainConfig, nearest_colours
from ..images.preprocessing import LARGEST_SIDE, parse_size
from ..metrics.registry import METRICS, selectable
from ..networks.config import Policy
from .recipes import flat

Split = Literal["auto", "train", "val", "test"]
Pairs = Literal["auto", "yes", "no"]
OF_MODELS = ("split", "policy", "flips", "seed", "hold_out", "data.layout", "data.a.")
OF_BOTH = ("data.b.masks",)
OF_FOLDERS = ("direction", "half", "data.b.")
PANELS: dict[str, tuple[str, ...]] = {
    "Models only": OF_MODELS,
    "Folders of images only": OF_FOLDERS,
    "Evaluation": ("",),  # all others
}
"""Titles of the panels of the help, with the options in them."""


def belongs(key: str, keys: tuple[str, ...]) -> bool:
    """Return whether an option is one of `keys`, or starts with one, and is not for all inputs."""
    return key.startswith(keys) and (key not in OF_BOTH or "" in keys)


@dataclass(frozen=True)
class EvaluationMasks:
    masks: str = ""
    """Folder of mask files of the images of A, in the dataset or the current directory; empty: that
    of training, if the dataset has it."""


@dataclass(frozen=True)
class EvaluationData:
    layout: Layout | None = None
    """Layout of the dataset; empty: that of training, and auto for other data."""
    a: EvaluationMasks = field(default_factory=EvaluationMasks)
    b: DomainConfig = field(default_factory=DomainConfig)
    """Images of two folders; a model's file describes its images, except for the masks."""


@dataclass(frozen=True)
class EvaluationOptions:
    split: Split = "auto"
    """Split to evaluate; auto: test, else val, else all images."""
    pairs: Pairs = "auto"
    """Whether each source has a target; auto: as in training. Two folders: auto pairs images of the
    same name, yes refuses generated images without a partner, no compares sets only."""
    size: str = "trained"
    """trained: resized as in training, not cropped; own: as the files are; or pixels: 256 for
    squares, 256,512 for height,width. Two folders: own, unless it is in pixels."""
    policy: Policy = "image"
    """image: batch norm with the statistics of each image; running: with those of training; paper:
    as image, with dropout."""
    flips: bool = False
    """Test-time augmentation: average the outputs for each image and for its mirror images, as
    training mirrored them (data.flip, data.flip_vertical)."""
    metrics: tuple[str, ...] = ()
    """Names of metrics: l1, psnr, ssim, ms_ssim, lpips, cycle, edge_correlation, swd, fid, kid;
    empty: all that are available."""
    classes: str = ""
    """Colours #rrggbb,... of the classes of RGB targets: adds pixel accuracy and IoU."""
    features: Path | None = None
    """Folder with feature networks; empty: that of viceversa features."""
    batch_size: int = number(8, min=1)
    """Number of images of one size translated at once."""
    device: str = "auto"
    """auto, or a torch device such as cpu or cuda."""
    seed: int = number(0, min=0)
    """Seed of the dropout of policy paper."""
    max_megapixels: int = number(64, min=1)
    """Maximum size of an image."""
    hold_out: float | None = number(None, min=0, below=1)
    """Fraction of the images that is split val, for data without a val or test split; empty:
    data.hold_out of the model's run for its own data, so that no training image is in val, and 0
    for other data."""
    direction: Direction = "ab"
    """Two folders: direction of the generated images, for the tables."""
    half: Literal["left", "right", "whole"] | None = None
    """Two folders: half of side-by-side files of REALS to compare with, or whole."""
    data: EvaluationData = field(default_factory=EvaluationData)

    def __post_init__(self) -> None:
        check(self, "--")
        if unknown := [name for name in self.metrics if name not in selectable()]:
            raise UserError(
                f"--metrics has {unknown[0]!r}; there are {', '.join(selectable())}",
                option="--metrics",
            )
        largest = max(height_width(parse_size(self.size) or 0))
        if self.size not in ("trained", "own") and not 0 < largest <= LARGEST_SIDE:
            raise UserError(
                f"--size is trained, own, a number of pixels, or height,width such as 256,512, at "
                f"most {LARGEST_SIDE}, not {self.size!r}",
                option="--size",
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

    def refuse(self, keys: tuple[str, ...], belongs_to: str) -> None:
        """Raise UserError if an option is set that belongs to evaluations of another kind.

        Args:
            keys: The options, or what they start with.
            belongs_to: The other kind, for the message.
        """
        default = dict(flat(plain(EvaluationOptions())))
        for key, value in flat(plain(self)):
            if belongs(key, keys) and value != default[key]:
                raise UserError(f"--{key} is for {belongs_to}", option=f"--{key}")

    @property
    def chosen_half(self) -> Literal["left", "right"] | None:
        """The half of real images to read, or None for all of it."""
        return None if self.half == "whole" else self.half

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
