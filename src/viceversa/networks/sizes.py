"""Image sizes that a network supports."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..fields import pixels_text


@runtime_checkable
class Adjustable(Protocol):
    """Network that knows which of its options would make it support a size."""

    def size_advice(self, height: int, width: int) -> str:
        """Return a clause with the option and its value; empty if none supports the size."""
        ...


@runtime_checkable
class Generator(Protocol):
    """Image sizes that a generator supports; other images are padded by reflection and cropped."""

    multiple: int
    """Height and width must be multiples of this."""
    smallest: int
    """Smallest height and width."""


def check_size(network: nn.Module, channels: int, height: int, width: int, batch: int) -> None:
    """Check that a network can train on a size, on torch's meta device: nothing is computed.

    Raises:
        ValueError: It cannot. The message contains the nearest size that it can train on.
    """
    problem = size_problem(network, channels, height, width, batch)
    if problem is None:
        return

    probe = _on_meta(network)

    def supported(height: int, width: int) -> bool:
        return _problem(probe, channels, height, width, batch) is None

    fits = nearest_size(height, width, multiple_of(network), supported)
    raise ValueError(problem + (f"; {pixels_text(*fits)} would fit" if fits else ""))


def size_problem(
    network: nn.Module, channels: int, height: int, width: int, batch: int
) -> str | None:
    """Return why a network cannot train on a size; None if it can."""
    reason = _problem(_on_meta(network), channels, height, width, batch)
    if reason is None:
        return None
    advice = network.size_advice(height, width) if isinstance(network, Adjustable) else ""
    text = f"{type(network).__name__} cannot train on {pixels_text(height, width)}: {reason}"
    return f"{text} ({advice})" if advice else text


def nearest_size(
    height: int, width: int, multiple: int, fits: Callable[[int, int], bool]
) -> tuple[int, int] | None:
    """Return the (height, width) near a size, in multiples, that `fits`; None if there is none.

    For a square it is a square; else each side is as short as possible.
    """
    first = [max(1, round(side / multiple)) for side in (height, width)]

    def size(more_height: int, more_width: int) -> tuple[int, int]:
        return (first[0] + more_height) * multiple, (first[1] + more_width) * multiple

    most = next((more for more in range(64) if fits(*size(more, more))), None)
    if most is None:
        return None
    if height == width:
        return size(most, most)
    high = next(more for more in range(most + 1) if fits(*size(more, most)))
    wide = next(more for more in range(most + 1) if fits(*size(high, more)))
    return size(high, wide)


def _on_meta(network: nn.Module) -> nn.Module:
    """Return a copy of a network on torch's meta device, in training mode."""
    # Meta tensors in the memo of the copy replace the parameters, so that no weight is copied.
    memo: dict[int, Any] = {id(p): nn.Parameter(p.to("meta")) for p in network.parameters()}
    memo |= {id(b): b.to("meta") for b in network.buffers()}
    return copy.deepcopy(network, memo).train()


def _problem(network: nn.Module, channels: int, height: int, width: int, batch: int) -> str | None:
    """Return why a network on the meta device cannot train on a size; None if it can."""
    multiple = multiple_of(network)
    if height % multiple or width % multiple:
        return f"height and width must be multiples of {multiple}"
    dtype = next(network.parameters()).dtype
    try:
        network(torch.empty(batch, channels, height, width, device="meta", dtype=dtype))
    except ValueError as error:
        return str(error)
    except RuntimeError:
        return "the image is smaller than the kernels of the network"
    return None


def multiple_of(network: nn.Module) -> int:
    """Return the number that height and width must be multiples of."""
    return network.multiple if isinstance(network, Generator) else 1


def at_any_size(network: nn.Module, images: Tensor) -> Tensor:
    """Run a generator on images (n, channels, h, w) of any size: pad by reflection, then crop."""
    height, width = images.shape[2:]
    for dim, size in ((2, height), (3, width)):
        if (wanted := supported_side(network, size)) != size:
            images = images.index_select(dim, reflected(size, wanted).to(images.device))
    output: Tensor = network(images)
    return output[:, :, :height, :width]


def smallest_of(network: nn.Module) -> int:
    """Return the smallest height and width that a network supports."""
    return network.smallest if isinstance(network, Generator) else 1


def supported_side(network: nn.Module, side: int) -> int:
    """Return the smallest supported height or width of at least `side`."""
    multiple = multiple_of(network)
    return max(smallest_of(network), -(-side // multiple) * multiple)


def reflected(size: int, wanted: int) -> Tensor:
    """Return the indices that pad an axis of `size` at its end by repeated reflection."""
    index = torch.arange(wanted) % max(2 * size - 2, 1)
    return torch.where(index < size, index, 2 * size - 2 - index)


def parameters(network: nn.Module) -> int:
    """Return the number of parameters of a network."""
    return sum(p.numel() for p in network.parameters())
