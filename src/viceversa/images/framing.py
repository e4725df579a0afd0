"""Size and crop of whole images, compared with those that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import UserError
from .domain import DomainConfig
from .formats.layout import Pixels
from .pictures import Half, fitted_to, one_half
from .resizing import UNCROPPED, is_side, preprocessed

Part = Literal["left", "right", "whole"] | None
TOLERANCE = 0.02  # of an aspect ratio
LARGE = 1.5  # times the size in training, from which on details have another scale


@dataclass(frozen=True)
class Framing:
    """How training prepared whole files, as the header of a model file says.

    Args:
        preprocess: `data.preprocess`; empty if the header does not say.
        load_size: `data.load_size`.
        crop_size: `data.crop_size`.
        side_by_side: Aspect ratios (width / height) of training files with A and B side by side.
    """

    preprocess: str = ""
    load_size: int = 0
    crop_size: int = 0
    side_by_side: tuple[float, ...] = ()

    @classmethod
    def of(cls, header: Mapping[str, Any]) -> Framing:
        """Read a header; what it does not say, or says wrong, is not known."""
        trained = header.get("trained")
        section = trained.get("data") if isinstance(trained, Mapping) else None
        data: dict[str, Any] = dict(section) if isinstance(section, Mapping) else {}
        preprocess, load, crop = map(data.get, ("preprocess", "load_size", "crop_size"))
        ratios = header.get("side_by_side")
        ratios = ratios if isinstance(ratios, list) else []
        ratios = tuple(float(one) for one in ratios if type(one) in (int, float) and one > 0)
        sizes = [size for size in (load, crop) if isinstance(size, int) and size > 0]
        if isinstance(preprocess, str) and len(sizes) == 2:
            return cls(preprocess, sizes[0], sizes[1], ratios)
        return cls(side_by_side=ratios)

    def part(self, pixels: Pixels, part: Part, name: object) -> Pixels:
        """The chosen part of an image: one half, or all of it. Raises UserError as `half`."""
        return one_half(pixels, self.half(pixels.shape[0], pixels.shape[1], part, name))

    def half(self, height: int, width: int, part: Part, name: object) -> Half:
        """The half that a chosen part of an image is, or None for all of it.

        Raises UserError if none is chosen and the image has the shape of a file with A and B side
        by side, or if it is too narrow to have halves.
        """
        half: Half = None if part == "whole" else part
        if half is not None and width < 2:
            raise UserError(f"{name} has no halves: it is one pixel wide", option="--half")
        if part is None and self._looks_paired(width / height):
            raise UserError(
                f"{name} is {width}x{height}, the shape of the training files with A and B side by "
                "side; choose --half left, --half right or --half whole", option="--half",
            )  # fmt: skip
        return half

    def _looks_paired(self, ratio: float) -> bool:
        def near(other: float) -> bool:
            return abs(ratio / other - 1) <= TOLERANCE

        return any(map(near, self.side_by_side)) and not any(
            near(one / 2) for one in self.side_by_side
        )

    def check(self, size: str, name: object, most: int) -> None:
        """Raises UserError for a `size` that is none, too large, or not known."""
        if size == "trained" and not self.preprocess:
            raise UserError(
                f"{name} does not say at which size it was trained; use --size own or a number of "
                "pixels", option="--size",
            )  # fmt: skip
        if size not in ("trained", "own") and not is_side(size):
            raise UserError(
                f"--size is trained, own or a number of pixels, not {size!r}", option="--size"
            )
        side = int(size) if is_side(size) else 0
        side = max(self.load_size, self.crop_size) if size == "trained" else side
        if side**2 > most:
            raise UserError(
                f"--size {size} makes images of {side**2 / 1e6:.4g} megapixels, more than "
                f"--max_megapixels {most / 1e6:g} allows", option="--size",
            )  # fmt: skip

    def resized(self, pixels: Pixels, size: str, config: DomainConfig) -> Pixels:
        """An image at a size: `own`, `trained` (resized as in training, not cropped) or pixels a
        side."""
        if size == "own":
            return pixels
        height, width = pixels.shape[:2]
        if size == "trained":
            method = UNCROPPED.get(self.preprocess, self.preprocess)
            wanted = preprocessed(height, width, method, self.load_size, self.crop_size)
        else:
            wanted = int(size), int(size)
        return fitted_to(pixels, *wanted, config)

    def enlargement(self, before: Pixels, after: Pixels) -> float:
        """How many times larger an image is, `after` any resizing, than it was in training."""
        if not self.preprocess:
            return 1.0
        sizes = self.load_size, self.crop_size
        height, width = preprocessed(before.shape[0], before.shape[1], self.preprocess, *sizes)
        return max(int(after.shape[0]) / height, int(after.shape[1]) / width)

    @property
    def trained_size(self) -> str:
        """The size in training, in words."""
        match self.preprocess:
            case "scale_width" | "scale_width_and_crop":
                return f"{self.load_size} pixels wide"
            case "scale_shortside":
                return f"{self.load_size} pixels on the shorter side"
        side = self.crop_size if self.preprocess == "resize" else self.load_size
        return f"{side}x{side}"

    @property
    def large(self) -> str:
        """A note on images that are much larger than those in training."""
        return (
            f"more than {LARGE} times the size in training ({self.trained_size}), so details have "
            "another scale; --size trained resizes images as in training"
        )
