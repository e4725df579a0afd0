"""Settings of the data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from ..errors import UserError
from ..images.domain import DomainConfig
from ..images.framing import LARGEST_SIDE, UNCROPPED

Layout = Literal["auto", "side-by-side", "folders", "patterns", "photos"]


@dataclass(frozen=True)
class DataConfig:
    path: str = ""
    """The data: a folder, a .zip or .tar archive, or a .csv or .jsonl manifest."""
    layout: Layout = "auto"
    """Structure of the data, detected by `auto`; `photos`: each image is both A and B (for Lab)."""
    pattern_a: str = "{name}_A"
    """Names of A's images without their ending, for `patterns`."""
    pattern_b: str = "{name}_B"
    """Names of B's images without their ending, for `patterns`."""
    hold_out: float = 0.0
    """Fraction of the training images, or of their groups, held out as `val` if the data have no
    val or test split; 0: none."""
    max_images: int = 0
    """Maximum number of training images (pairs), chosen by a hash of their names; 0: all."""
    direction: Literal["ab", "ba"] = "ab"
    """Which way the method looks: `ba` makes B the source."""
    preprocess: Literal[
        "resize_and_crop",
        "resize",
        "crop",
        "scale_width",
        "scale_width_and_crop",
        "scale_shortside",
        "none",
    ] = "resize_and_crop"
    """How an image gets its size."""
    load_size: int = 286
    """Pixels a side, before a crop (`scale_width`: the width; `scale_shortside`: that side)."""
    crop_size: int = 256
    """Pixels a side of the crop (of the image, with `resize`)."""
    flip: bool = True
    """Mirror half of the images left to right."""
    flip_vertical: bool = False
    """Mirror half of the images top to bottom."""
    turn: bool = False
    """Turn images by a random multiple of 90 degrees; they must be square by then."""
    zoom: float = 0.0
    """Random resized crop: the crop covers a random part, at least 1 - zoom of its side."""
    rotate: float = 0.0
    """Turn by up to so many degrees, either way."""
    shift: float = 0.0
    """Move by up to this share of the image's side."""
    shear: float = 0.0
    """Slant by up to so many degrees, either way."""
    jitter: float = 0.0
    """Change brightness, contrast and saturation by up to this share."""
    jitter_on: Literal["source", "both"] = "source"
    """Whose colours change: the source's alone, or a pair's alike."""
    a: DomainConfig = field(default_factory=DomainConfig)
    """Domain A: what its images are."""
    b: DomainConfig = field(default_factory=DomainConfig)
    """Domain B: what its images are."""
    on_bad: Literal["refuse", "skip"] = "refuse"
    """A file that can't be used: refuse to train, or leave it out and count it."""
    max_bad: float = 0.01
    """The largest share of the files that `skip` leaves out."""
    max_megapixels: int = 64
    """The largest image that is decoded."""
    workers: int = 2
    """Threads that load images ahead; 0 loads in the training thread."""
    cache: Literal["memory", "disk", "off"] = "memory"
    """Where decoded and resized images are kept: in memory, in the run's folder, or nowhere."""
    cache_megabytes: int = 4096
    """How much `memory` keeps; what does not fit is decoded anew each time."""

    def __post_init__(self) -> None:
        if self.preprocess == "resize_and_crop" and self.load_size < self.crop_size:
            raise UserError(
                f"data.load_size {self.load_size} is smaller than data.crop_size {self.crop_size}"
            )
        if min(self.load_size, self.crop_size, self.max_megapixels) < 1:
            raise UserError("data's sizes start at 1")
        for name, side in (("load_size", self.load_size), ("crop_size", self.crop_size)):
            if side > LARGEST_SIDE:
                option = f"data.{name}"
                raise UserError(
                    f"{option} must be at most {LARGEST_SIDE}, not {side}", option=option
                )
        if min(self.workers, self.cache_megabytes, self.rotate, self.shear) < 0:
            raise UserError("data.workers, cache_megabytes, rotate and shear start at 0")
        if self.max_images < 0:
            raise UserError(
                f"data.max_images must be at least 0, not {self.max_images}",
                option="data.max_images",
            )
        if not 0 <= self.hold_out < 1:
            raise UserError(
                f"data.hold_out is a fraction, from 0 (none) to less than 1, not {self.hold_out:g}",
                option="data.hold_out",
            )
        shares = {
            "zoom": self.zoom,
            "shift": self.shift,
            "jitter": self.jitter,
            "max_bad": self.max_bad,
        }
        for name, share in shares.items():
            if not 0 <= share < 1:
                raise UserError(f"data.{name} is a share, from 0 to less than 1, not {share}")
        if self.turn and self.preprocess in ("scale_width", "scale_shortside", "none"):
            raise UserError(
                "data.turn needs square images, which data.preprocess "
                f"{self.preprocess} does not make; choose resize_and_crop, resize or crop"
            )
        source = self.a if self.direction == "ab" else self.b
        for domain in (self.a, self.b) if self.jitter_on == "both" else (source,):
            if self.jitter and (domain.kind != "image" or domain.channels not in (1, 3)):
                raise UserError(
                    "data.jitter changes the colours of grey or RGB images alone, not of "
                    f"{domain.kind} with {domain.width} channels"
                )
        for pattern in (self.pattern_a, self.pattern_b):
            if pattern.count("{name}") != 1:
                raise UserError(f"a pattern of names has {{name}} in it once, not {pattern!r}")


def whole(config: DataConfig) -> DataConfig:
    """The same settings for whole images, as a finished translator gets them: resized, and not
    cropped."""
    preprocess = UNCROPPED.get(config.preprocess, config.preprocess)
    return replace(config, preprocess=preprocess, turn=False)  # type: ignore[arg-type]
