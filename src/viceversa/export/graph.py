"""A translator as one graph, from the pixels of an image to those of its result."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UserError
from ..images.domain import Domain
from ..images.labels import from_classes
from ..inference import Translator
from ..networks.sizes import multiple_of

KINDS = ("image", "labels")
MOST_CLASSES = 256
DTYPES = {"uint8": torch.uint8, "uint16": torch.uint16, "int16": torch.int16}


class ImageGraph(nn.Module):
    """Module that converts pixels to [-1, 1], runs the network, and converts the output to pixels.

    (n, h, w, channels) of the source's dtype -> (n, h, w, channels) of the target's dtype, with the
    channels of files. Height and width must be multiples of `multiple`, and at least `smallest`. In
    label maps, a colour that belongs to no class becomes the class with the nearest colour.

    Args:
        translator: The translator; its policy selects the statistics of batch norm.

    Raises:
        UserError: The domains are neither images nor label maps of at most 256 classes, or the
            translator draws noise.
    """

    factor: Tensor
    summand: Tensor
    low: Tensor
    span: Tensor
    source_classes: Tensor
    target_classes: Tensor

    def __init__(self, translator: Translator):
        super().__init__()
        if problem := unsupported(translator):
            raise UserError(problem)
        if translator.policy == "paper":
            raise UserError("policy paper draws noise, which a graph does not", option="--policy")
        self.network, self.multiple = translator.network.eval(), multiple_of(translator.network)
        self.source, self.target = translator.source, translator.target
        low, span = _bounds(self.source)
        self.clips = self.source.config.range != "dtype"  # else all values are in the range
        self.dtype = DTYPES.get(self.target.dtype, torch.float32)
        self.register_buffer("factor", 2 / span)
        self.register_buffer("summand", -1 - low * 2 / span)
        for name, bound in zip(("low", "span"), _bounds(self.target), strict=True):
            self.register_buffer(name, bound)
        for name, domain in (("source_classes", self.source), ("target_classes", self.target)):
            if domain.config.kind == "labels":
                self.register_buffer(name, _class_pixels(domain))

    def forward(self, images: Tensor) -> Tensor:
        labels = self.source.config.kind == "labels"
        values = (self._one_hot if labels else self._scaled)(images.to(torch.float32))
        output: Tensor = self.network(values.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        if self.target.config.kind == "labels":
            return self.target_classes[output.argmax(dim=3)].to(self.dtype)
        numbers = (output.clamp(-1, 1) + 1) / 2 * self.span + self.low
        if self.dtype.is_floating_point:
            return numbers
        return numbers.round().to(self.dtype)

    def _scaled(self, images: Tensor) -> Tensor:
        values = images * self.factor + self.summand
        return values.clamp(-1, 1) if self.clips else values

    def _one_hot(self, images: Tensor) -> Tensor:
        """Return a one-hot encoding of the classes, with 1 and -1."""
        distance = (images[..., :1] - self.source_classes[:, 0]).abs()
        for channel in range(1, self.source_classes.shape[1]):
            pixels = images[..., channel : channel + 1]
            distance = torch.maximum(distance, (pixels - self.source_classes[:, channel]).abs())
        nearest = distance.argmin(dim=3, keepdim=True)
        classes = torch.arange(len(self.source_classes), device=images.device)
        return (nearest == classes).to(torch.float32) * 2 - 1


def _bounds(domain: Domain) -> tuple[Tensor, Tensor]:
    """Return the value that becomes -1, and the span of the values, of each channel."""
    low, high = torch.tensor(domain.low), torch.tensor(domain.high)
    return low, (high - low).clamp_min(1e-30)


def unsupported(translator: Translator) -> str:
    """Return the reason why the domains of a translator cannot be exported, or ""."""
    for name, domain in (("source", translator.source), ("target", translator.target)):
        config = domain.config
        if config.kind not in KINDS:
            text = "only models of images and label maps can be exported"
            return f"{text}; the {name} domain of this model is {config.kind}"
        if config.kind == "labels" and config.width > MOST_CLASSES:
            return f"label maps of more than {MOST_CLASSES} classes cannot be exported"
    return ""


def refuse_label_maps(translator: Translator, what: str, option: str) -> None:
    """Raise UserError if a translator has label maps, for a format that does not support them."""
    if "labels" in (translator.source.config.kind, translator.target.config.kind):
        raise UserError(f"{what} does not support models of label maps", option=option)


def _class_pixels(domain: Domain) -> Tensor:
    """Return the pixel (classes, channels) of each class of a label map."""
    classes = np.arange(domain.config.width)[:, None, None]
    return torch.from_numpy(from_classes(classes, domain.config)[:, 0]).to(torch.float32)


def example(graph: ImageGraph) -> Tensor:
    """Return an image batch to trace a graph with.

    Both sides and the batch size differ from each other and from the smallest ones, so that none of
    them is taken for a constant.
    """
    shape = 2, 2 * graph.multiple, 3 * graph.multiple, graph.source.config.file_channels
    return torch.zeros(shape, dtype=DTYPES.get(graph.source.dtype, torch.float32))
