"""Initialization of weights."""

from __future__ import annotations

from torch import nn

from .norms import BatchNorm, GroupNorm, InstanceNorm


def init_weights(network: nn.Module, kind: str = "normal", gain: float = 0.02) -> None:
    """Initialize the weights of all convolutions and norms; biases become 0.

    Args:
        network: The network, which is changed in place.
        kind: `normal`: N(0, gain) for convolutions and N(1, gain) for the scale of batch and
            instance norms (pix2pix, sec. 6.2; CycleGAN, sec. 7.1); `xavier`: Glorot's uniform,
            Keras's default; `kaiming`: He's normal for a rectifier; `orthogonal`.
        gain: Standard deviation of `normal`.
    """
    fills = {
        "normal": lambda w: nn.init.normal_(w, 0.0, gain),
        "xavier": nn.init.xavier_uniform_,
        "kaiming": nn.init.kaiming_normal_,
        "orthogonal": nn.init.orthogonal_,
    }
    if kind not in fills:
        raise ValueError(f"unknown init {kind!r}; available: {', '.join(fills)}")
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            fills[kind](layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, BatchNorm | InstanceNorm) and layer.weight is not None:
            nn.init.normal_(layer.weight, 1.0, gain if kind == "normal" else 0.0)
        elif isinstance(layer, GroupNorm):
            nn.init.ones_(layer.weight)
