"""The four normalisations, by name, and what each of them needs.

They differ in the axes they take mean and variance over (Group Normalization, fig. 2):
batch over (n, h, w), layer over (c, h, w), instance over (h, w), group over (channels of a
group, h, w). Only batch norm mixes the images of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Statistics = Literal["image", "running"]


class BatchNorm(nn.Module):
    """Batch normalization. `eval_statistics` selects the statistics used at inference.

    Training uses the statistics of the batch. In eval mode `image` uses those of each image (as the
    papers do with batch size 1), `running` the running averages of training. With both, an output
    depends on no other image of the batch. Source: Batch Normalization, algorithm 1; pix2pix,
    sec. 3.4.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.eps, self.momentum = eps, momentum
        self.eval_statistics: Statistics = "image"
        self.gathers = True  # whether a forward pass in training updates the running averages
        # Replaced by one over all processes in distributed training.
        self.normalise: Callable[..., Tensor] = F.batch_norm

    def forward(self, x: Tensor) -> Tensor:
        if self.training or self.eval_statistics == "running":
            if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
                raise ValueError("batch norm needs more than one value per channel in a batch")
            mean, var = self.running_mean, self.running_var
            if self.training:
                mean, var = mean.clone(), var.clone()
            out = self.normalise(
                x, mean, var, self.weight, self.bias, self.training, self.momentum, self.eps
            )
            if self.training and self.gathers:
                self._gather(mean, var)
            return out
        return _instance_norm(x, self.eps, self.weight, self.bias)

    @torch.no_grad()
    def _gather(self, mean: Tensor, var: Tensor) -> None:
        """Update the running averages, except by non-finite values, which would stay in them."""
        finite = mean.isfinite() & var.isfinite()
        self.running_mean.copy_(torch.where(finite, mean, self.running_mean))
        self.running_var.copy_(torch.where(finite, var, self.running_var))


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Stop updates of the running averages: for a second forward pass of the same batch."""
    layers = [layer for layer in network.modules() if isinstance(layer, BatchNorm)]
    before = [layer.gathers for layer in layers]
    for layer in layers:
        layer.gathers = False
    try:
        yield
    finally:
        for layer, gathers in zip(layers, before, strict=True):
            layer.gathers = gathers


class InstanceNorm(nn.Module):
    """Instance normalization; with `affine` a learned scale and shift.

    `std_eps` adds epsilon to the standard deviation, as in keras-contrib (GDL networks), instead of
    the variance. Source: Instance Normalization, eq. 2.
    """

    def __init__(
        self, channels: int, affine: bool = False, eps: float = 1e-5, std_eps: bool = False
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.eps, self.std_eps = eps, std_eps

    def forward(self, x: Tensor) -> Tensor:
        if not self.std_eps:
            return _instance_norm(x, self.eps, self.weight, self.bias)
        _refuse_single_pixel(x)
        variance, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
        # The gradient of sqrt is infinite at 0, the variance of a constant channel.
        return (x - mean) / (variance.clamp_min(1e-12).sqrt() + self.eps)


def _instance_norm(x: Tensor, eps: float, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    _refuse_single_pixel(x)
    return F.instance_norm(x, weight=weight, bias=bias, use_input_stats=True, eps=eps)


def _refuse_single_pixel(x: Tensor) -> None:
    if x.shape[2] * x.shape[3] == 1:
        raise ValueError("instance norm needs more than one pixel per channel")


class GroupNorm(nn.Module):
    """Group normalization; with one group: layer normalization.

    If `groups` does not divide the number of channels, the largest smaller divisor is used.
    Source: Group Normalization, eq. 7.
    """

    def __init__(self, channels: int, groups: int, eps: float = 1e-5):
        super().__init__()
        self.groups = max(g for g in range(1, min(groups, channels) + 1) if channels % g == 0)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if x[0].numel() == self.groups:
            raise ValueError("group norm needs more than one value in a group")
        return F.group_norm(x, self.groups, self.weight, self.bias, self.eps)


def make_norm(name: str, channels: int, groups: int = 32) -> nn.Module:
    """Return a normalization layer for (n, channels, h, w).

    Args:
        name: `batch`, `layer`, `instance`, `instance-affine`, `instance-std`, `group` or `none`.
        channels: Number of channels.
        groups: Number of groups of `group`.

    Raises:
        ValueError: The name is unknown.
    """
    layers = {
        "batch": lambda: BatchNorm(channels),
        "layer": lambda: GroupNorm(channels, 1),
        "instance": lambda: InstanceNorm(channels),
        "instance-affine": lambda: InstanceNorm(channels, affine=True),
        "instance-std": lambda: InstanceNorm(channels, eps=1e-3, std_eps=True),
        "group": lambda: GroupNorm(channels, groups),
        "none": nn.Identity,
    }
    if name not in layers:
        raise ValueError(f"unknown norm {name!r}; available: {', '.join(layers)}")
    layer: nn.Module = layers[name]()  # type: ignore[no-untyped-call]
    return layer


def has_shift(name: str) -> bool:
    """Return whether a norm has a learned shift, so that a bias before it has no effect."""
    return name in ("batch", "layer", "instance-affine", "group")


def use_policy(network: nn.Module, statistics: Statistics = "image", dropout: bool = False) -> None:
    """Switch a network to inference: eval mode, batch norm by `statistics`, dropout on or off."""
    network.eval()
    for layer in network.modules():
        if isinstance(layer, BatchNorm):
            layer.eval_statistics = statistics
        elif isinstance(layer, nn.Dropout):
            layer.train(dropout)
