"""Initialization of weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from .norms import BatchNorm, GroupNorm, InstanceNorm


def init_weights(network: nn.Module, kind: str = "normal", gain: float = 0.02) -> None:
    """Initialize the weights of all convolutions, linear layers and norms; biases become 0.

    Args:
        network: The network, which is changed in place.
        kind: `normal`: N(0, gain) for convolutions and N(1, gain) for the scale of batch and
            instance norms (pix2pix, sec. 6.2; CycleGAN, sec. 7.1); `xavier`: Glorot's uniform,
            Keras's default; `xavier-normal`: Glorot's normal times `gain` (CUT); `kaiming`: He's
            normal for a rectifier; `orthogonal`.
        gain: Standard deviation of `normal`, factor of `xavier-normal`.
    """
    fills: dict[str, Callable[..., Tensor]] = {
        "normal": lambda w: nn.init.normal_(w, 0.0, gain),
        "xavier": nn.init.xavier_uniform_,
        "xavier-normal": partial(nn.init.xavier_normal_, gain=gain),
        "kaiming": nn.init.kaiming_normal_,
        "orthogonal": nn.init.orthogonal_,
    }
    if kind not in fills:
        raise ValueError(f"unknown init {kind!r}; available: {', '.join(fills)}")
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            fills[kind](layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, BatchNorm | InstanceNorm) and layer.weight is not None:
            varied = kind in ("normal", "xavier-normal")
            nn.init.normal_(layer.weight, 1.0, gain if varied else 0.0)
        elif isinstance(layer, GroupNorm):
            nn.init.ones_(layer.weight)
