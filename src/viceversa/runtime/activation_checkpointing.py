"""Activation checkpointing: recompute the blocks of a network in the backward pass instead of
keeping their activations (Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..networks.norms import statistics_kept
from ..networks.spectral import vectors_recorded, vectors_replayed


def checkpoint_blocks(network: nn.Module) -> None:
    """Keep only the inputs and outputs of each block; losses and gradients do not change at all.

    The second pass through a block uses the same dropout and the same weights of a spectral norm,
    and updates no statistics.
    """
    for block in list(blocks(network)):
        block.forward = partial(_checkpointed, block, block.forward)


def blocks(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the blocks of several layers: levels of a U-Net, residual blocks of a ResNet."""
    for part in network.children():
        if isinstance(part, nn.ModuleList | nn.Sequential):
            yield from (layer for layer in part if _layers(layer) > 2)


def _layers(module: nn.Module) -> int:
    """Return the number of a module's modules, itself included, except those of spectral norms."""
    return sum("parametrizations" not in name for name, _ in module.named_modules())


def _checkpointed(block: nn.Module, forward: Any, *inputs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=partial(_contexts, block))


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Return the contexts of the first and of the second pass."""
    vectors: list[Tensor] = []
    return vectors_recorded(block, vectors), _SecondPass(block, vectors)


class _SecondPass(AbstractContextManager[None]):
    """Context of a recomputation; a gradient penalty enters it twice."""

    def __init__(self, block: nn.Module, vectors: list[Tensor]):
        self._block, self._vectors = block, vectors

    def __enter__(self) -> None:
        self._stack = ExitStack()
        self._stack.enter_context(statistics_kept(self._block))
        self._stack.enter_context(vectors_replayed(self._block, self._vectors))

    def __exit__(self, *error: Any) -> None:
        self._stack.close()
