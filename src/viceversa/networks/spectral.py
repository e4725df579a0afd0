"""Spectral normalization of weights: Miyato et al. 2018, Spectral Normalization for GANs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

NORM = "parametrizations.weight.0"  # name of torch's module in a convolution


def normalize_spectrum(network: nn.Module) -> None:
    """Divide the weights of all convolutions by their largest singular value (eq. 8).

    It is estimated with one power iteration per forward pass in training, and none in eval mode.
    The state contains the singular vectors `_u` and `_v` of each convolution.
    """
    for layer in list(network.modules()):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            spectral_norm(layer)


def singular_vectors(network: nn.Module) -> list[Tensor]:
    """Return the estimated singular vectors. They depend on the weights only, not on images."""
    return [vector for name, vector in network.named_buffers() if NORM in name]


@contextmanager
def vectors_recorded(network: nn.Module, record: list[Tensor]) -> Iterator[None]:
    """Append the singular vectors that a forward pass used to `record`."""
    yield
    record += [vector.clone() for vector in singular_vectors(network)]


@contextmanager
def vectors_replayed(network: nn.Module, record: list[Tensor]) -> Iterator[None]:
    """Use recorded singular vectors, without a power iteration, and restore the current ones."""
    vectors = singular_vectors(network)
    current = [vector.clone() for vector in vectors]
    layers = [layer for name, layer in network.named_modules() if name.endswith(NORM)]
    training = [layer.training for layer in layers]
    _copy(record, vectors)
    for layer in layers:
        layer.training = False
    try:
        yield
    finally:
        _copy(current, vectors)
        for layer, before in zip(layers, training, strict=True):
            layer.training = before


@torch.no_grad()
def _copy(values: list[Tensor], vectors: list[Tensor]) -> None:
    for value, vector in zip(values, vectors, strict=True):
        vector.copy_(value)
