"""Run a generator on tensors at inference, and check its input and output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..images.header import check_size
from ..images.io import reading_errors
from ..networks.noise import seeded
from ..networks.sizes import at_any_size
from ..runtime.device import out_of_memory


@torch.inference_mode()
def forward(network: nn.Module, images: Tensor, seed: int | None = None) -> Tensor:
    """Translate a batch; it is padded to a size that the network supports, and cropped back.

    Args:
        network: The generator.
        images: (n, channels, h, w) in [-1, 1], on the device of the network.
        seed: Seed of the noise of each image; None: the network draws none.

    Returns:
        (n, channels, h, w) in [-1, 1], on the CPU.

    Raises:
        UserError: The memory is not enough, or the output is not finite.
    """
    try:
        output = _output(network, images, seed)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        output = None
    if output is None:  # outside of the handler, which keeps the memory of the failed call
        count, _, height, width = images.shape
        raise UserError(
            f"the memory is not enough for {count} of {width}x{height} at once; lower "
            "--batch_size, or translate smaller images",
            option="--batch_size",
        )
    check_finite(output)
    return output


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise UserError if the memory is not enough for bands."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise UserError(
            "the memory is not enough for bands of this size; lower --memory", option="--memory"
        ) from None


def check_finite(output: Tensor) -> None:
    """Raise UserError if an output is not finite."""
    if not bool(output.isfinite().all()):
        raise UserError(
            "the output has non-finite values (NaN or Inf): the weights of the model are too "
            "large, or the image is far from those that it was trained on"
        )


def _output(network: nn.Module, images: Tensor, seed: int | None) -> Tensor:
    if seed is None:
        return at_any_size(network, images).float().cpu()
    outputs = []
    for image in torch.split(images, 1):  # the noise of an image does not depend on the others
        with seeded(seed):
            outputs.append(at_any_size(network, image))
    return torch.cat(outputs).float().cpu()


def check_tensor(given: Tensor, batch: Tensor, channels: int, max_pixels: int) -> None:
    """Raise UserError if a tensor cannot be translated.

    Args:
        given: The tensor, for messages.
        batch: The same as (n, channels, h, w).
        channels: Channels of the source domain.
        max_pixels: Maximum size of an image.
    """
    if batch.ndim != 4 or batch.shape[1] != channels or not given.is_floating_point():
        raise UserError(
            f"a tensor is ({channels}, h, w) floats in [-1, 1], or n of them, "
            f"not {tuple(given.shape)} {given.dtype}"
        )
    if not batch.numel():
        raise UserError(f"the tensor is empty: {tuple(given.shape)}")
    if not bool(batch.isfinite().all()):
        raise UserError("the tensor has non-finite values (NaN or Inf)")
    with reading_errors("the tensor"):
        check_size(batch.shape[2], batch.shape[3], max_pixels)
