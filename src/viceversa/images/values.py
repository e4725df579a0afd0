"""Pixels <-> values in [-1, 1], by the range of a domain; grids of images for display."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .domain import Domain
from .header import Pixels
from .lab import lab_to_rgb, rgb_to_lab
from .labels import from_classes, palette
from .nodata import mask_of

Allocate = Callable[[tuple[int, ...]], Tensor]
MAX_AB = 110.0  # maximum of |a| and |b| for colours of sRGB


def to_tensor(pixels: Pixels) -> Tensor:
    """Copy (h, w, channels) to a tensor (channels, h, w); a masked array as floats with NaN."""
    mask, pixels = mask_of(pixels), np.ma.getdata(pixels)
    if mask is not None:
        pixels = np.where(mask, np.float32(np.nan), pixels.astype(np.float32))
    return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))


def to_values(numbers: Tensor, domain: Domain, dtype: torch.dtype | None = None) -> Tensor:
    """Return pixels as values in [-1, 1].

    Images: `low` becomes -1 and `high` 1; other values are clipped. Labels: one-hot, with 1 in the
    channel of the class and -1 in the others. Lab: L from 0 to 100, a and b from -110 to 110.
    NaN (no data) stays NaN: see `fill_nodata`.

    Args:
        numbers: (n, channels of the files, h, w), as `loading.load` returns them.
        domain: The domain of the images.
        dtype: Floating-point dtype of the result; None: the default of torch.

    Returns:
        (n, channels of the networks, h, w) in [-1, 1].
    """
    kind, dtype = domain.config.kind, dtype or torch.get_default_dtype()
    if kind == "labels":
        one_hot = F.one_hot(numbers[:, 0].nan_to_num().long(), domain.config.width)
        values = one_hot.movedim(-1, 1).to(dtype) * 2 - 1
        return values.masked_fill(numbers.isnan(), math.nan)
    if kind != "image":
        lab = rgb_to_lab(numbers.to(dtype) / 255)
        return lab[:, :1] / 50 - 1 if kind == "lab-l" else lab[:, 1:] / MAX_AB
    return _scale(domain, numbers.device)(numbers.to(dtype, copy=True))


def stack_values(
    images: Sequence[Tensor],
    domain: Domain,
    device: torch.device,
    allocate: Allocate = torch.empty,
) -> Tensor:
    """Stack images and return `to_values` of them.

    Args:
        images: Images (channels, h, w) of one size and dtype.
        domain: The domain of the images.
        device: Device of the result.
        allocate: Returns a tensor of a shape for the result; reusing memory is much faster.

    Returns:
        (n, channels of the networks, h, w) in [-1, 1].
    """
    if device.type != "cpu" or domain.config.kind != "image":
        return to_values(torch.stack(list(images)).to(device, non_blocking=True), domain)
    # One image fits into the cache of the processor, a batch does not.
    values = allocate((len(images), *images[0].shape))
    scale = _scale(domain, device)
    for image, result in zip(images, values, strict=True):
        scale(result.copy_(image))
    return values


def fill_nodata(values: Tensor, domain: Domain) -> Tensor:
    """Replace NaN (no data) by the `nodata_fill` of the domain."""
    return values.masked_fill(values.isnan(), domain.config.nodata_fill)


def fill_output(output: Tensor, source: Tensor, domain: Domain) -> Tensor:
    """Replace outputs where no channel of their source has data (NaN) by the `nodata_fill`."""
    return output.masked_fill(~data_mask(source), domain.config.nodata_fill)


def data_weight(values: Tensor) -> Tensor:
    """Return the weight (n, 1, h, w) of each pixel: 0 if a channel has no data (NaN), else 1."""
    return (~values.isnan().any(dim=1, keepdim=True)).to(values.dtype)


def has_data(source: Tensor, target: Tensor) -> Tensor:
    """Return for each image (n,) whether any pixel has data (not NaN) in source and target."""
    return data_mask(source, target).flatten(1).any(dim=1)


def data_mask(source: Tensor, target: Tensor | None = None) -> Tensor:
    """Return where values can be compared: the target and any channel of the source have data.

    Returns:
        (n, 1 or channels, h, w) of bool.
    """
    some = ~source.isnan().all(dim=1, keepdim=True)
    return some if target is None else some & ~target.isnan()


def _scale(domain: Domain, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return a function that scales (..., channels, h, w) to [-1, 1], in place."""
    spans = [max(high - low, 1e-30) for low, high in zip(domain.low, domain.high, strict=True)]
    factors = [2 / span for span in spans]
    summands = [-1 - low * f for low, f in zip(domain.low, factors, strict=True)]
    clip = domain.config.range != "dtype"  # all values are in the range of their dtype
    if len(set(factors)) == len(set(summands)) == 1:  # one pass instead of two
        factor = factors[0]

        def scale(values: Tensor) -> Tensor:
            summand = torch.tensor(summands[0], dtype=values.dtype, device=device)
            torch.add(summand, values, alpha=factor, out=values)
            return values.clamp_(-1, 1) if clip else values

        return scale

    def scale_each(values: Tensor) -> Tensor:
        multiply, add = (
            torch.tensor(one, dtype=values.dtype, device=device)[:, None, None]
            for one in (factors, summands)
        )
        values.mul_(multiply).add_(add)
        return values.clamp_(-1, 1) if clip else values

    return scale_each


def to_pixels(values: Tensor, domain: Domain, lightness: Tensor | None = None) -> list[Pixels]:
    """Return values in [-1, 1] as pixels of a file of the domain.

    Args:
        values: (n, channels of the networks, h, w) in [-1, 1].
        domain: The domain of the images.
        lightness: (n, 1, h, w), the source image, to combine with Lab colours.

    Returns:
        n images (h, w, channels of the files).
    """
    kind = domain.config.kind
    values = values.detach().float().cpu()
    if kind == "labels":
        classes = values.argmax(dim=1, keepdim=True).movedim(1, -1).numpy()
        return [from_classes(one, domain.config) for one in classes]
    if kind != "image":
        rgb = (_rgb_of_lab(values, kind, lightness) * 255).round()
        return list(rgb.to(torch.uint8).movedim(1, -1).contiguous().numpy())
    low, high = (np.asarray(v, dtype=np.float64) for v in (domain.low, domain.high))
    fraction = (values.clamp(-1, 1).movedim(1, -1).numpy().astype(np.float64) + 1) / 2
    numbers = fraction * (high - low) + low
    if domain.dtype != "float32":
        numbers = numbers.round()
    return list(numbers.astype(domain.dtype))


def quantized(values: Tensor, domain: Domain) -> Tensor:
    """Return values (n, channels, h, w) in [-1, 1] as if written to a file and read again.

    Values are rounded if the files have integers; labels become one-hot vectors. Values of float64
    are those of the file exactly; float32 values are not rounded for files of float32.
    """
    values = values.detach().clamp(-1, 1)
    if domain.config.kind == "labels":
        one_hot = F.one_hot(values.argmax(dim=1), domain.config.width)
        return one_hot.movedim(-1, 1).to(values.dtype) * 2 - 1
    if domain.config.kind != "image":
        return values
    if domain.dtype == "float32" and values.dtype != torch.float64:
        return values
    low, high = (
        torch.tensor(v, device=values.device, dtype=values.dtype)[:, None, None]
        for v in (domain.low, domain.high)
    )
    numbers = (values + 1) / 2 * (high - low) + low
    numbers = numbers.float().double() if domain.dtype == "float32" else numbers.round()
    return ((numbers - low) / (high - low) * 2 - 1).clamp(-1, 1)  # rounding may leave the range


def to_rgb(values: Tensor, domain: Domain, lightness: Tensor | None = None) -> Tensor:
    """Return values (n, channels, h, w) as RGB (n, 3, h, w) in [-1, 1], for display.

    Of more than three channels, the first three are used; of two, the first. Classes have their
    colours.
    """
    kind = domain.config.kind
    values = values.detach().float().cpu()
    if kind == "labels":
        colours = torch.from_numpy(_colours(domain)).float() / 127.5 - 1
        return colours[values.argmax(dim=1)].movedim(-1, 1)
    if kind == "lab-ab":
        return _rgb_of_lab(values, kind, lightness) * 2 - 1
    return values[:, :3] if values.shape[1] >= 3 else values[:, :1].repeat(1, 3, 1, 1)


def _colours(domain: Domain) -> Pixels:
    """Return a colour for each class: as configured, or distinct colours for class indices."""
    if domain.config.classes:
        return palette(domain.config)
    numbers: Pixels = np.arange(domain.config.ids)[:, None] * np.array([[97, 57, 157]]) % 256
    return numbers.astype(np.uint8)


def _rgb_of_lab(values: Tensor, kind: str, lightness: Tensor | None) -> Tensor:
    """Return (n, 3, h, w) in [0, 1]."""
    if kind == "lab-l":
        lab = torch.cat([(values + 1) * 50, torch.zeros_like(values).repeat(1, 2, 1, 1)], dim=1)
        return lab_to_rgb(lab)
    if lightness is None:
        lightness = torch.zeros_like(values[:, :1])
    return lab_to_rgb(torch.cat([(lightness.float().cpu() + 1) * 50, values * MAX_AB], dim=1))


def make_grid(rows: list[list[Tensor]], gap: int = 2) -> Pixels:
    """Arrange rows of images (3, h, w) in [-1, 1] as one RGB image with white gaps."""
    cells = [[_eight_bit(image) for image in row] for row in rows]
    height = max(cell.shape[0] for row in cells for cell in row) + gap
    width = max(cell.shape[1] for row in cells for cell in row) + gap
    shape = (height * len(rows) + gap, width * max(map(len, rows)) + gap, 3)
    result = np.full(shape, 255, dtype=np.uint8)
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            top, left = y * height + gap, x * width + gap
            result[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return result


def _eight_bit(image: Tensor) -> Pixels:
    return to_pixels(image[None], Domain())[0]
