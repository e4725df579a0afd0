"""Blocks of a network computed anew in the backward pass, so that what is inside them need not be
kept (Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ..networks.norms import statistics_kept


def recompute_blocks(network: nn.Module) -> None:
    """Keep only what goes in and out of each block; losses and gradients are the same to the bit.

    A second pass through a block draws the same dropout, and gathers no statistics.
    """
    for block in list(blocks(network)):
        block.forward = partial(_twice, block, block.forward)


def blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The levels of a U-Net, the residual blocks of a ResNet: what consists of several layers."""
    for part in network.children():
        if isinstance(part, nn.ModuleList | nn.Sequential):
            yield from (layer for layer in part if len(list(layer.modules())) > 2)


def _twice(block: nn.Module, forward: Any, *inputs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=partial(_around, block))


def _around(block: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """What surrounds the first pass, and the second."""
    return nullcontext(), statistics_kept(block)
