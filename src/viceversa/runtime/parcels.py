"""Tensors as bytes on the host, the one type that every backend can send."""

from __future__ import annotations

import math

import torch
from torch import Tensor

Described = dict[str, tuple[tuple[int, ...], torch.dtype]]


def described(tensors: dict[str, Tensor]) -> Described:
    """The shape and type of each tensor."""
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}


def as_bytes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor's bytes; one byte for a tensor without values."""
    return {name: _bytes(tensor.detach().cpu()) for name, tensor in tensors.items()}


def room(known: Described) -> dict[str, Tensor]:
    """Memory for the bytes of such tensors."""
    sizes = {name: math.prod(shape) * dtype.itemsize for name, (shape, dtype) in known.items()}
    return {name: torch.zeros(max(size, 1), dtype=torch.uint8) for name, size in sizes.items()}


def from_bytes(kept: dict[str, Tensor], known: Described) -> dict[str, Tensor]:
    """The tensors whose bytes these are."""
    return {
        name: kept[name].view(dtype).view(shape) if math.prod(shape) else torch.empty(shape)
        for name, (shape, dtype) in known.items()
    }


def _bytes(tensor: Tensor) -> Tensor:
    if not tensor.numel():
        return torch.zeros(1, dtype=torch.uint8)
    return tensor.reshape(-1).contiguous().view(torch.uint8)
