"""Spread of the outputs of an ensemble: where its members disagree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import UserError
from ..images import write
from ..networks.ensemble import Ensemble, WithSpread
from .forward import forward
from .outputs import STREAM, File

WHITE = 0.5  # standard deviation, in [-1, 1], that is white in a map


def forward_with_spread(
    network: nn.Module, images: Tensor, seed: int | None, spreads: list[NDArray[np.float32]]
) -> Tensor:
    """Translate a batch in [-1, 1] as `forward`, and append the spread (h, w) of each image.

    Raises:
        UserError: The network is not an ensemble.
    """
    both = forward(WithSpread(check_spread(network)), images, seed)
    spreads += [one.numpy() for one in both[:, -1]]
    return both[:, :-1]


def check_spread(network: nn.Module) -> Ensemble:
    """Return an ensemble. Raises UserError for a network with one output for an image."""
    if not isinstance(network, Ensemble):
        raise UserError(
            "a spread needs several outputs for an image: an ensemble (viceversa ensemble), or "
            "--flips",
            option="--spread",
        )
    return network


def spread_pixels(spread: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return a map as 16-bit pixels (h, w, 1); 65535 is a standard deviation of 0.5 or more."""
    scaled = np.rint(np.clip(spread / WHITE, 0, 1) * 65535)
    return np.ascontiguousarray(scaled[:, :, None], dtype=np.uint16)


def view_pixels(spread: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a map as 8-bit pixels (h, w, 1); 255 is the largest standard deviation in it."""
    largest = float(spread.max()) or 1.0
    return np.ascontiguousarray(np.rint(spread / largest * 255)[:, :, None], dtype=np.uint8)


def spread_path(result: Path) -> Path:
    """Return the file of the map beside a result: photo.spread.png for photo.jpg."""
    return result.with_name(f"{result.stem}.spread.png")


def view_path(result: Path) -> Path:
    """Return the file of the visible map beside a result: photo.spread-view.png for photo.jpg."""
    return result.with_name(f"{result.stem}.spread-view.png")


def write_maps(spread: NDArray[np.float32], result: Path) -> None:
    """Write a map at the scale of all maps, and at its own scale. Raises UserError."""
    write(spread_path(result), spread_pixels(spread))
    write(view_path(result), view_pixels(spread))


def about_maps(largest: Sequence[float]) -> str:
    """Return a line on the scales of maps, given the largest standard deviation of each."""
    least, most = (f"{100 * one / 2:.3g} %" for one in (min(largest), max(largest)))
    scale = most if least == most else f"{least} to {most}"
    return (
        "spread: standard deviation in % of the value range; white is "
        f"{100 * WHITE / 2:g} % or more in NAME.spread.png, and in NAME.spread-view.png the "
        f"largest value of that image: {scale}"
    )


def check_maps(pairs: Sequence[File], overwrite: bool) -> None:
    """Raise UserError if the file of a map is standard output, or another file.

    Args:
        pairs: (image, result), as `plan` returns them.
        overwrite: Whether maps may replace existing files.
    """
    others = {path.absolute() for pair in pairs for path in pair if isinstance(path, Path)}
    for _, result in pairs:
        if result == STREAM:
            raise UserError("--spread writes files; name a folder with -o", option="--spread")
        for path in (spread_path(result), view_path(result)):
            if path.absolute() in others or (path.exists() and not overwrite):
                raise UserError(
                    f"--spread would write {path}, which is there already; choose another -o, or "
                    "add --overwrite or --resume",
                    option="--spread",
                    path=path,
                )
