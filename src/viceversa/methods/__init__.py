"""The methods by name. A module of a method is imported when the method is built."""

from __future__ import annotations

from typing import Any

from .config import (
    CUTConfig,
    CycleGANConfig,
    CycleGANRegConfig,
    PairedCUTConfig,
    Pix2PixConfig,
    RegGANConfig,
)


def _pix2pix(config: Pix2PixConfig, *networks: Any) -> Any:
    from .pix2pix import Pix2Pix

    return Pix2Pix(config, *networks)


def _cyclegan(config: CycleGANConfig, *networks: Any) -> Any:
    from .cyclegan import CycleGAN

    return CycleGAN(config, *networks)


def _cut(config: CUTConfig, *networks: Any) -> Any:
    from .cut import CUT

    return CUT(config, *networks)


def _cut_paired(config: PairedCUTConfig, *networks: Any) -> Any:
    from .cut_paired import PairedCUT

    return PairedCUT(config, *networks)


def _reggan(config: RegGANConfig, *networks: Any) -> Any:
    from .reggan import RegGAN

    return RegGAN(config, *networks)


def _cyclegan_reg(config: CycleGANRegConfig, *networks: Any) -> Any:
    from .reggan import CycleGANReg

    return CycleGANReg(config, *networks)


METHODS: dict[str, tuple[Any, Any]] = {
    "pix2pix": (_pix2pix, Pix2PixConfig),
    "cyclegan": (_cyclegan, CycleGANConfig),
    "cut": (_cut, CUTConfig),
    "cut-paired": (_cut_paired, PairedCUTConfig),
    "reggan": (_reggan, RegGANConfig),
    "cyclegan-reg": (_cyclegan_reg, CycleGANRegConfig),
}
"""Name -> (class or function of (config, channels, generator, discriminator), its Config).

Whether the method is paired is declared by the class, or by the Config of a function.
"""
