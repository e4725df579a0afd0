"""Sizes and halves of whole images, at inference as in training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import UserError
from ..fields import ImageSize, height_width, nested, pixels_text
from .domain import DomainConfig
from .header import Pixels
from .loading import Half, resize_for, take_half

Part = Literal["left", "right", "whole"] | None
OwnHalf = Literal["", "left", "right"]
HALF_OF_DOMAIN: dict[str, OwnHalf] = {"a": "left", "b": "right"}
TOLERANCE = 0.02  # relative difference of aspect ratios
LARGE = 1.5  # times the size in training, from which details have a different scale
LARGEST_SIDE = 2**16  # pixels
WITHOUT_CROP = {
    "resize_and_crop": "resize",
    "crop": "none",
    "scale_width_and_crop": "scale_width",
}
"""`data.preprocess` -> the same without a crop: images are tested at the size of the crop (pix2pix,
sec. 6.2)."""
SIMILAR = 0.1  # relative difference of aspect ratios; a resized crop of 286 to 256 scales as much


def parse_size(text: str) -> ImageSize | None:
    """Return the size of a text, `256` or `256,512` (height,width); None for another text.

    Very long numbers are not a size.
    """
    words = text.split(",")
    if not all(word.isdecimal() and len(word) < 10 and int(word) > 0 for word in words):
        return None
    return _size([*map(int, words)] if words[1:] else int(text))


def scaled_size(
    height: int, width: int, preprocess: str, load_size: ImageSize, crop_size: ImageSize
) -> tuple[int, int]:
    """Return the (height, width) that `data.preprocess` resizes an image to, before any crop."""
    load = height_width(load_size)
    match preprocess:
        case "resize_and_crop":
            return load
        case "resize":
            return height_width(crop_size)
        case "scale_width" | "scale_width_and_crop":
            return max(1, round(height * load[1] / width)), load[1]
        case "scale_shortside":
            scale = min(load) / min(height, width)
            return max(1, round(height * scale)), max(1, round(width * scale))
    return height, width


def whole_size(preprocess: str, load_size: ImageSize, crop_size: ImageSize) -> ImageSize:
    """Return `data.crop_size` for whole images: they are not cropped, and keep their proportions.

    With `resize_and_crop`, a crop that has not the proportions of `load_size` is a part of the
    image, so that the whole image has the size before the crop.
    """
    (height, width), (crop_height, crop_width) = map(height_width, (load_size, crop_size))
    same = abs(width * crop_height / (height * crop_width) - 1) <= SIMILAR
    return crop_size if same or preprocess != "resize_and_crop" else load_size


def _size(value: Any) -> ImageSize | None:
    """Return a size of a header, one number or a list of height and width; None if invalid."""
    match value:
        case int() if value > 0:
            return value
        case [int() as height, int() as width] if min(height, width) > 0:
            return height, width
    return None


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing in training, as stored in the header of a model file.

    Args:
        preprocess: `data.preprocess`; empty if the header does not contain it.
        load_size: `data.load_size`.
        crop_size: `data.crop_size`.
        side_by_side: Aspect ratios (width / height) of training files with A and B side by side.
        own_half: The half of these files that the model takes, by its domain; empty if the header
            does not contain it.
    """

    preprocess: str = ""
    load_size: ImageSize = 0
    crop_size: ImageSize = 0
    side_by_side: tuple[float, ...] = ()
    own_half: OwnHalf = ""

    @classmethod
    def of(cls, header: Mapping[str, Any]) -> Preprocessing:
        """Read a header; missing and invalid entries stay unknown."""
        data = nested(header, "trained", "data")
        preprocess, load, crop = map(data.get, ("preprocess", "load_size", "crop_size"))
        sizes = [size for one in (load, crop) if (size := _size(one))]
        ratios = header.get("side_by_side")
        ratios = ratios if isinstance(ratios, list) else []
        ratios = tuple(float(one) for one in ratios if type(one) in (int, float) and one > 0)
        domain = str(header.get("direction") or header.get("domain"))[:1]
        own_half = HALF_OF_DOMAIN.get(domain, "")
        if isinstance(preprocess, str) and len(sizes) == 2:
            return cls(preprocess, sizes[0], sizes[1], ratios, own_half)
        return cls(side_by_side=ratios, own_half=own_half)

    def part(self, pixels: Pixels, part: Part, name: object) -> Pixels:
        """Return a half of an image, or all of it. Raises UserError as `half`."""
        return take_half(pixels, self.half(pixels.shape[0], pixels.shape[1], part, name))

    def half(self, height: int, width: int, part: Part, name: object) -> Half:
        """Return the half of an image to use, or None for all of it.

        Raises UserError if no part is given and the image has the aspect ratio of side-by-side
        training files, or if it is too narrow to have halves.
        """
        half: Half = None if part == "whole" else part
        if half is not None and width < 2:
            raise UserError(f"{name} is one pixel wide and has no halves", option="--half")
        if part is None and self._looks_paired(width / height):
            choices = [f"--half {one}" for one in ("left", "right", "whole")]
            advice = f"choose {choices[0]}, {choices[1]} or {choices[2]}"
            if self.own_half:
                own = f"--half {self.own_half}"
                first, second = (one for one in choices if one != own)
                advice = (
                    f"images for this model are their {self.own_half} half: {own} (or {first}, "
                    f"{second})"
                )
            raise UserError(
                f"{name} is {width}x{height}, the aspect ratio of the side-by-side training files; "
                f"{advice}",
                option="--half",
            )
        return half

    def own_part(self, height: int, width: int) -> Part:
        """Return the half of the source domain if files contain A and B side by side, else None."""
        return (self.own_half or None) if self._looks_paired(width / height) else None

    def _looks_paired(self, ratio: float) -> bool:
        def near(other: float) -> bool:
            return abs(ratio / other - 1) <= TOLERANCE

        return any(map(near, self.side_by_side)) and not any(
            near(one / 2) for one in self.side_by_side
        )

    def check(self, size: str, name: object, max_pixels: int) -> None:
        """Raise UserError for a `size` that is invalid, too large, or not known."""
        if size == "trained" and not self.preprocess:
            raise UserError(
                f"{name} does not contain the size of the training images; use --size own or a "
                "number of pixels",
                option="--size",
            )
        given = parse_size(size)
        if size not in ("trained", "own") and given is None:
            raise UserError(
                "--size must be trained, own, a number of pixels, or height,width such as 256,512, "
                f"not {size!r}",
                option="--size",
            )
        sizes = [self.load_size, self.crop_size] if size == "trained" else [given or 0]
        pixels = max(math.prod(height_width(one)) for one in sizes)
        if pixels > max_pixels:
            raise UserError(
                f"--size {size} results in images of {pixels / 1e6:.4g} megapixels, more than "
                f"--max_megapixels {max_pixels / 1e6:g} allows",
                option="--size",
            )

    def resized(self, pixels: Pixels, size: str, config: DomainConfig) -> Pixels:
        """Resize an image.

        Args:
            pixels: The image.
            size: `own` (unchanged), `trained` (as in training, without crop), or as `parse_size`.
            config: The domain.
        """
        height, width = pixels.shape[:2]
        if size == "trained":
            method = WITHOUT_CROP.get(self.preprocess, self.preprocess)
            crop = whole_size(self.preprocess, self.load_size, self.crop_size)
            wanted = scaled_size(height, width, method, self.load_size, crop)
            return resize_for(pixels, *wanted, config)
        given = parse_size(size)
        return pixels if given is None else resize_for(pixels, *height_width(given), config)

    def enlargement(self, before: Sequence[int], after: Sequence[int]) -> float:
        """Return the size of an image `after` resizing, relative to its size in training.

        Args:
            before: Height and width of the image, and its channels if there are any.
            after: The same after resizing.
        """
        if not self.preprocess:
            return 1.0
        sizes = self.load_size, self.crop_size
        height, width = scaled_size(before[0], before[1], self.preprocess, *sizes)
        return max(after[0] / height, after[1] / width)

    @property
    def trained_size(self) -> str:
        """Return the size in training as text."""
        height, width = height_width(self.load_size)
        match self.preprocess:
            case "scale_width" | "scale_width_and_crop":
                return f"{width} pixels wide"
            case "scale_shortside":
                return f"{min(height, width)} pixels on the shorter side"
        size = self.crop_size if self.preprocess == "resize" else self.load_size
        return pixels_text(*height_width(size))

    @property
    def large(self) -> str:
        """Return a note on images that are much larger than those in training."""
        return (
            f"more than {LARGE} times the size in training ({self.trained_size}): details have a "
            "different scale; --size trained resizes images as in training"
        )
