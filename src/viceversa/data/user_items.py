"""Items of the datasets that users pass to `viceversa.train`: images and their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import UserError

TOLERANCE = 1e-3  # by which values may exceed [-1, 1], such as after bicubic resizing


class MapDataset(Protocol):
    """Map-style dataset, such as `torch.utils.data.Dataset`: items by index, from 0."""

    def __len__(self) -> int:
        """Return the number of items."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """Return an item."""
        ...


Image = tuple[Tensor, Tensor | None]
"""Image (channels, h, w) in [-1, 1], and its weight (1, h, w) in [0, 1] if it has one."""
Sides = MapDataset | tuple[MapDataset, MapDataset]
"""A dataset of pairs, or one of images of A and one of images of B."""


def load_images(data: Sides, indices: Mapping[str, int]) -> dict[str, tuple[Any, Any]]:
    """Return (image, weight or None) by domain.

    Args:
        data: A dataset of pairs, or two datasets.
        indices: Index of the image by domain; an item with both is loaded once.
    """
    if isinstance(data, tuple):
        sides = dict(zip("ab", data, strict=True))
        return {domain: _only(sides[domain][i]) for domain, i in indices.items()}
    items = {index: _pair(data[index], index) for index in set(indices.values())}
    return {
        domain: (items[index][domain], items[index].get("weight"))
        for domain, index in indices.items()
    }


def _pair(item: Any, index: int) -> Mapping[str, Any]:
    if isinstance(item, Mapping) and {"a", "b"} <= item.keys():
        return item
    if isinstance(item, tuple | list) and len(item) == 2:
        return {"a": item[0], "b": item[1]}
    raise UserError(
        f"item {index} of the dataset is not a pair (a, b), or a dict with a and b, but a "
        f"{type(item).__name__}",
        option="data",
    )


def _only(item: Any) -> tuple[Any, Any]:
    """Return image and weight of an item; torchvision's datasets return (image, label)."""
    if isinstance(item, Mapping) and "image" in item:
        return item["image"], item.get("weight")
    return (item[0] if isinstance(item, tuple | list) and item else item), None


def checked(image: Any, weight: Any, domain: str, channels: int | None) -> Image:
    """Return an image in the default dtype, 0 where its weight is 0, and the weight if any.

    Raises UserError if it is another value, or has not this number of channels.
    """
    what = f"image {domain.upper()} of an item of the dataset"
    if not isinstance(image, Tensor) or image.ndim != 3 or not image.is_floating_point():
        kind = type(image).__name__
        if isinstance(image, Tensor):
            kind = f"{str(image.dtype).removeprefix('torch.')} tensor {tuple(image.shape)}"
        raise UserError(
            f"{what} is a {kind}; it must be a float tensor (channels, height, width) with values "
            "in [-1, 1], such as image / 127.5 - 1 of 8-bit pixels",
            option="data",
        )
    if channels is not None and image.shape[0] != channels:
        raise UserError(f"{what} has {image.shape[0]} channels, not {channels}", option="data")
    if not image.numel():
        raise UserError(f"{what} is empty: {tuple(image.shape)}", option="data")
    if weight is not None:
        weight = _checked_weight(weight, image, what)
        image = torch.where(weight > 0, image, 0)
    low, high = map(float, image.aminmax())
    if not (low >= -1 - TOLERANCE and high <= 1 + TOLERANCE):  # also if they are NaN
        raise UserError(
            f"{what} has values from {low:g} to {high:g}, not in [-1, 1]", option="data"
        )
    dtype = torch.get_default_dtype()
    image = image.detach().to("cpu", dtype)
    return image, None if weight is None else weight.to("cpu", dtype)


def _checked_weight(weight: Any, image: Tensor, what: str) -> Tensor:
    """Return a weight as (1, h, w). Raises UserError if it does not fit the image."""
    size = tuple(image.shape[1:])
    if not isinstance(weight, Tensor) or tuple(weight.shape) not in (size, (1, *size)):
        other = tuple(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
        raise UserError(
            f"the weight of {what} must be a tensor of shape {size} or {(1, *size)}, not {other}",
            option="data",
        )
    given = weight.detach().reshape(1, *size)
    if not bool(((given >= 0) & (given <= 1)).all()):  # also if it is NaN
        raise UserError(f"the weight of {what} has values outside of [0, 1]", option="data")
    return given
