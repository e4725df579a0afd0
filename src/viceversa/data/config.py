"""Settings of the data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..config.run_folder import FROM_PYTHON
from ..directions import Direction
from ..errors import UserError
from ..fields import ImageSize, as_typed, height_width, number, pixels_text, size_text
from ..images.domain import DomainConfig
from ..images.preprocessing import LARGEST_SIDE, WITHOUT_CROP, scaled_size, whole_size

Layout = Literal["auto", "side-by-side", "folders", "patterns", "photos"]


@dataclass(frozen=True)
class DataConfig:
    path: str = ""
    """The data: a folder, a .zip or .tar archive, or a .csv or .jsonl manifest."""
    layout: Layout = "auto"
    """Layout of the data; `auto` detects it; `photos`: each image is both A and B (for Lab)."""
    pattern_a: str = "{name}_A"
    """Pattern of the file names of A without their ending, for layout `patterns`."""
    pattern_b: str = "{name}_B"
    """Pattern of the file names of B without their ending, for layout `patterns`."""
    hold_out: float = number(0.0, min=0, below=1)
    """Fraction of the training images, or of their groups, held out as `val` if the data have no
    val or test split; 0: none."""
    max_images: int = number(0, min=0)
    """Maximum number of training images (pairs), chosen by a hash of their names; 0: all."""
    direction: Direction = "ab"
    """Direction of translation: `ba` makes B the source."""
    preprocess: Literal[
        "resize_and_crop",
        "resize",
        "crop",
        "scale_width",
        "scale_width_and_crop",
        "scale_shortside",
        "none",
    ] = "resize_and_crop"
    """How images are resized and cropped."""
    load_size: int | tuple[int, int] = number(286, min=1, max=LARGEST_SIDE)
    """Size in pixels before the crop: one number, or height and width (`scale_width`: the width;
    `scale_shortside`: the shorter side)."""
    crop_size: int | tuple[int, int] = number(256, min=1, max=LARGEST_SIDE)
    """Size of the crop in pixels (of the image, with `resize`): one number, or height and width."""
    flip: bool = True
    """Mirror half of the images left to right."""
    flip_vertical: bool = False
    """Mirror half of the images top to bottom."""
    rotate90: bool = False
    """Rotate images by a random multiple of 90 degrees; they must be square."""
    zoom: float = number(0.0, min=0, below=1)
    """Random resized crop: the crop covers a random part, at least 1 - zoom of its side."""
    rotate: float = number(0.0, min=0)
    """Rotate by up to this number of degrees in both directions."""
    shift: float = number(0.0, min=0, below=1)
    """Shift by up to this fraction of the image side."""
    shear: float = number(0.0, min=0)
    """Shear by up to this number of degrees in both directions."""
    jitter: float = number(0.0, min=0, below=1)
    """Change brightness, contrast and saturation by up to this fraction."""
    jitter_on: Literal["source", "both"] = "source"
    """Images with colour jitter: the source only, or both with the same amounts."""
    a: DomainConfig = field(default_factory=DomainConfig)
    """Properties of the images of domain A."""
    b: DomainConfig = field(default_factory=DomainConfig)
    """Properties of the images of domain B."""
    on_invalid: Literal["refuse", "skip"] = "refuse"
    """What to do with invalid files: refuse to train, or skip and count them."""
    max_invalid: float = number(0.01, min=0, below=1)
    """Maximum fraction of files that `skip` leaves out."""
    max_megapixels: int = number(64, min=1)
    """Size limit of images, in megapixels."""
    workers: int = number(2, min=0)
    """Threads that load images ahead; 0: load in the training thread."""
    cache: Literal["memory", "disk", "off"] = "memory"
    """Cache of decoded and resized images: in memory, on disk in the run folder, or off."""
    cache_megabytes: int = number(4096, min=0)
    """Size limit of the in-memory image cache in MB; other images are decoded every epoch."""

    @property
    def location(self) -> str:
        """Absolute path of the data; of a dataset from Python, its name in the settings."""
        return self.path if self.path == FROM_PYTHON else str(Path(self.path).absolute())

    def __post_init__(self) -> None:
        self._check_sizes()
        if self.rotate90 and self.preprocess in ("scale_width", "scale_shortside", "none"):
            raise UserError(
                "data.rotate90 needs square images, which data.preprocess "
                f"{self.preprocess} does not guarantee; choose resize_and_crop, resize or crop",
                option="data.rotate90",
            )
        source = self.a if self.direction == "ab" else self.b
        for domain in (self.a, self.b) if self.jitter_on == "both" else (source,):
            if self.jitter and (domain.kind != "image" or domain.channels not in (1, 3)):
                raise UserError(
                    "data.jitter changes the colours of grey or RGB images only, not of "
                    f"{domain.kind} with {domain.width} channels",
                    option="data.jitter",
                )
        for name, pattern in (("pattern_a", self.pattern_a), ("pattern_b", self.pattern_b)):
            if pattern.count("{name}") != 1:
                raise UserError(
                    f"data.{name} must contain {{name}} once, not {pattern!r}",
                    option=f"data.{name}",
                )

    def _check_sizes(self) -> None:
        """Raise UserError if the sizes do not fit each other, or `preprocess`."""
        load, crop, preprocess = self.load_size, self.crop_size, self.preprocess
        (load_height, load_width), (height, width) = height_width(load), height_width(crop)
        if preprocess == "resize_and_crop" and height != width and isinstance(load, int):
            like = [round(286 / 256 * side) for side in (height, width)]
            raise UserError(
                f"data.crop_size is {size_text(crop)}, and data.load_size {load} makes images "
                f"square; give its height and width too, such as data.load_size {as_typed(like)}",
                option="data.load_size",
            )
        if preprocess == "resize_and_crop" and (load_height < height or load_width < width):
            raise UserError(
                f"data.crop_size ({size_text(crop)}) is larger than data.load_size "
                f"({size_text(load)}); lower crop_size or raise load_size",
                option="data.crop_size",
            )
        if preprocess.startswith("scale_") and not isinstance(load, int):
            side = "shorter side" if preprocess == "scale_shortside" else "width"
            raise UserError(
                f"data.load_size is the {side} with data.preprocess {preprocess}: give one number, "
                f"not {size_text(load)}",
                option="data.load_size",
            )
        if self.rotate90 and height != width:
            raise UserError(
                f"data.rotate90 needs square images, and data.crop_size is {size_text(crop)}; "
                "use data.flip and data.flip_vertical, or a square crop",
                option="data.rotate90",
            )


def uncropped(config: DataConfig) -> DataConfig:
    """Return the settings for whole images, as at inference: resized, not cropped."""
    preprocess = WITHOUT_CROP.get(config.preprocess, config.preprocess)
    size = whole_size(config.preprocess, config.load_size, config.crop_size)
    return replace(config, preprocess=preprocess, crop_size=size, rotate90=False)  # type: ignore[arg-type]


def resized_size(height: int, width: int, config: DataConfig, name: object) -> tuple[int, int]:
    """Return the (height, width) to which an image is resized before any crop.

    Raises UserError if it is smaller than the crop; `name` is for the message.
    """
    size = scaled_size(height, width, config.preprocess, config.load_size, config.crop_size)
    if config.preprocess in ("crop", "scale_width_and_crop") and is_smaller(size, config.crop_size):
        raise UserError(
            f"{name} is {compared(size, config.crop_size)}, smaller than data.crop_size "
            f"{size_text(config.crop_size)}; "
            "choose a smaller crop, or data.preprocess resize_and_crop"
        )
    return size


def compared(image: tuple[int, int], size: ImageSize) -> str:
    """Return the size of an image (height, width) for a message that compares it with `size`."""
    return f"{image[1]}x{image[0]}" if isinstance(size, int) else pixels_text(*image)


def is_smaller(image: tuple[int, int], size: ImageSize) -> bool:
    """Return whether an image (height, width) is smaller than a size, in one direction or both."""
    height, width = height_width(size)
    return image[0] < height or image[1] < width
