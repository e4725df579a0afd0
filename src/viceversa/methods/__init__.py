"""The methods by name."""

from __future__ import annotations

from typing import Any

from .base import Batch, Discriminator, Losses, Method, Turn
from .cyclegan import CycleGAN
from .pix2pix import Pix2Pix

# name -> (class, its Config); a class takes (config, channels, generator, discriminator)
METHODS: dict[str, tuple[Any, Any]] = {
    "pix2pix": (Pix2Pix, Pix2Pix.Config),
    "cyclegan": (CycleGAN, CycleGAN.Config),
}

__all__ = [
    "METHODS",
    "Batch",
    "CycleGAN",
    "Discriminator",
    "Losses",
    "Method",
    "Pix2Pix",
    "Turn",
]
