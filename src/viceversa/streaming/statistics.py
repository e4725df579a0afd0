"""Compute statistics of a map from bands of rows, and norms with given statistics."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.norms import BatchNorm, GroupNorm, InstanceNorm

NORMS = (BatchNorm, InstanceNorm, GroupNorm, nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm)
Pointwise = Callable[[Tensor], Tensor]
LARGE = 2**15  # values of a channel, from which on torch.var_mean is slower than a loop on a CPU


class Moments:
    """Mean and variance of each channel, merged band by band in float64 (Chan et al. 1979)."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean = torch.zeros(channels, dtype=torch.float64)
        self.squares = torch.zeros(channels, dtype=torch.float64)
        """Sum of the squared differences from the mean."""

    def add(self, rows: Tensor) -> None:
        """Add rows (1, channels, rows, width)."""
        variance, mean = _moments(rows[0].float())
        count = rows.shape[2] * rows.shape[3]
        total = self.count + count
        difference = mean - self.mean
        self.squares += variance * count + difference**2 * (self.count * count / total)
        self.mean += difference * (count / total)
        self.count = total

    @property
    def variance(self) -> Tensor:
        return self.squares / self.count


def _moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return variance and mean of each channel of rows (channels, rows, width), in float64."""
    if rows.is_cuda or rows[0].numel() < LARGE:
        variance, mean = torch.var_mean(rows, dim=(1, 2), correction=0)
        return variance.double().cpu(), mean.double().cpu()
    means, variances = [], []
    for channel in rows:  # a channel stays in the cache
        means.append(channel.mean())
        differences = (channel - means[-1]).flatten()
        variances.append(differences.square_().mean())
    return torch.stack(variances).double().cpu(), torch.stack(means).double().cpu()


def needs_statistics(layer: nn.Module) -> bool:
    """Return whether a layer is a norm that computes statistics of its input."""
    if isinstance(layer, BatchNorm):
        return layer.eval_statistics == "image"
    if isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d):
        return not layer.track_running_stats
    return isinstance(layer, NORMS)


def with_statistics(layer: nn.Module, moments: Moments, device: torch.device) -> Pointwise:
    """Return a norm as a function of rows, with the statistics of the whole map.

    Args:
        layer: A norm that `needs_statistics`.
        moments: Moments of its input.
        device: Device of the rows.
    """
    mean, variance = of_channels(layer, moments)
    square = deviation(layer, variance) ** 2
    mean, square = mean.float().to(device), square.float().to(device)
    weight, bias = layer.weight, layer.bias

    def normalize(rows: Tensor) -> Tensor:
        return F.batch_norm(rows, mean, square, weight, bias, False, 0.0, 0.0)  # type: ignore[arg-type]

    return normalize


def of_channels(layer: nn.Module, moments: Moments) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance that a norm uses for each channel, in float64."""
    if not isinstance(layer, GroupNorm | nn.GroupNorm):
        return moments.mean, moments.variance
    groups = layer.groups if isinstance(layer, GroupNorm) else layer.num_groups
    return _of_groups(moments.mean, moments.variance, groups)


def deviation(layer: nn.Module, variance: Tensor) -> Tensor:
    """Return the standard deviation that a norm divides by, with its epsilon."""
    eps = float(layer.eps)  # type: ignore[arg-type]
    if isinstance(layer, InstanceNorm) and layer.std_eps:
        return variance.clamp_min(1e-12).sqrt() + eps
    return (variance + eps).sqrt()


def _of_groups(mean: Tensor, variance: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Return mean and variance over the channels of each group, for each channel."""
    means, variances = mean.view(groups, -1), variance.view(groups, -1)
    group = means.mean(dim=1, keepdim=True)
    within = variances.mean(dim=1, keepdim=True)
    between = (means - group).square().mean(dim=1, keepdim=True)
    shape = means.shape
    return group.expand(shape).reshape(-1), (within + between).expand(shape).reshape(-1)
