"""The networks by name. A module of a network is imported when the network is built."""

from __future__ import annotations

from typing import Any

from .config import GDLUNetConfig, PatchGANConfig, PixelGANConfig, ResNetConfig, UNetConfig


def _unet(config: UNetConfig, channels_in: int, channels_out: int) -> Any:
    from .unet import UNet

    return UNet(config, channels_in, channels_out)


def _gdl_unet(config: GDLUNetConfig, channels_in: int, channels_out: int) -> Any:
    from .unet import GDLUNet

    return GDLUNet(config, channels_in, channels_out)


def _resnet(config: ResNetConfig, channels_in: int, channels_out: int) -> Any:
    from .resnet import ResNet

    return ResNet(config, channels_in, channels_out)


def _patchgan(config: PatchGANConfig, channels_in: int) -> Any:
    from .patchgan import MultiScalePatchGAN, PatchGAN

    return (PatchGAN if config.scales == 1 else MultiScalePatchGAN)(config, channels_in)


def _pixelgan(config: PixelGANConfig, channels_in: int) -> Any:
    from .patchgan import PixelGAN

    return PixelGAN(config, channels_in)


GENERATORS: dict[str, tuple[Any, Any]] = {
    "unet": (_unet, UNetConfig),
    "gdl-unet": (_gdl_unet, GDLUNetConfig),
    "resnet": (_resnet, ResNetConfig),
}
"""Name -> (class or function of (config, channels_in, channels_out), dataclass of its options)."""
DISCRIMINATORS: dict[str, tuple[Any, Any]] = {
    "patchgan": (_patchgan, PatchGANConfig),
    "pixelgan": (_pixelgan, PixelGANConfig),
}
"""Name -> (class or function of (config, channels_in), dataclass of its options)."""
