"""A translator as one graph, from the pixels of an image to those of its result."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..images.domain import Domain
from ..inference import Translator
from ..networks.sizes import multiple_of

DTYPES = {"uint8": torch.uint8, "uint16": torch.uint16, "int16": torch.int16}


class ImageGraph(nn.Module):
    """Translates pixels: conversion to [-1, 1], the network, and conversion back.

    (n, h, w, channels) of the source's dtype -> (n, h, w, channels) of the target's dtype. Height
    and width must be multiples of `multiple`, and at least `smallest`.

    Args:
        translator: Its policy decides the statistics of batch norm.

    Raises:
        UserError: Its domains are not images, or it draws noise.
    """

    factor: Tensor
    summand: Tensor
    low: Tensor
    span: Tensor

    def __init__(self, translator: Translator):
        super().__init__()
        for name, domain in (("source", translator.source), ("target", translator.target)):
            if domain.config.kind != "image":
                raise UserError(
                    f"only models from images to images can be exported; the {name} of this one is "
                    f"{domain.config.kind}"
                )
        if translator.policy == "paper":
            raise UserError("policy paper draws noise, which a graph does not", option="--policy")
        self.network, self.multiple = translator.network.eval(), multiple_of(translator.network)
        self.source, target = translator.source, translator.target
        low, span = _bounds(self.source)
        self.clips = self.source.config.range != "dtype"  # else all values are in the range
        self.dtype = DTYPES.get(target.dtype, torch.float32)
        self.register_buffer("factor", 2 / span)
        self.register_buffer("summand", -1 - low * 2 / span)
        for name, bound in zip(("low", "span"), _bounds(target), strict=True):
            self.register_buffer(name, bound)

    def forward(self, images: Tensor) -> Tensor:
        values = images.to(torch.float32) * self.factor + self.summand
        if self.clips:
            values = values.clamp(-1, 1)
        output: Tensor = self.network(values.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        numbers = (output.clamp(-1, 1) + 1) / 2 * self.span + self.low
        if self.dtype.is_floating_point:
            return numbers
        return numbers.round().to(self.dtype)


def _bounds(domain: Domain) -> tuple[Tensor, Tensor]:
    """Return the value that becomes -1, and the span of the values, of each channel."""
    low, high = torch.tensor(domain.low), torch.tensor(domain.high)
    return low, (high - low).clamp_min(1e-30)


def example(graph: ImageGraph) -> Tensor:
    """Return an image batch to trace a graph with.

    Both sides and the batch size differ from each other and from the smallest ones, so that none of
    them is taken for a constant.
    """
    shape = 2, 2 * graph.multiple, 3 * graph.multiple, graph.source.config.channels
    return torch.zeros(shape, dtype=DTYPES.get(graph.source.dtype, torch.float32))
