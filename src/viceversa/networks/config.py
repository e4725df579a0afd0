"""Settings of the networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..fields import number

NormName = Literal["batch", "layer", "instance", "instance-affine", "instance-std", "group", "none"]
InitName = Literal["normal", "xavier", "xavier-normal", "kaiming", "orthogonal"]
Upsampling = Literal["transposed", "resize"]
Policy = Literal["image", "running", "paper"]
"""Batch norm and dropout at inference, see `Translator`."""


@dataclass(frozen=True)
class UNetConfig:
    width: int = number(64, min=1)
    """Channels of the first layer; they double at each level, up to 8 times this."""
    depth: int = number(8, min=2, max=16)
    """Number of levels; each halves the image."""
    norm: NormName = "batch"
    """Normalization."""
    groups: int = number(32, min=1)
    """Groups of the `group` norm."""
    dropout: float = number(0.5, min=0, max=1)
    """Dropout probability (pix2pix's only source of noise)."""
    dropout_from: int = number(1, min=1)
    """First decoder level with dropout, counted from the bottleneck (paper: 1)."""
    dropout_layers: int = number(3, min=0)
    """Number of decoder levels with dropout."""
    upsample: Upsampling = "transposed"
    """Transposed convolution, or nearest resize + convolution (no checkerboard pattern)."""
    skip: bool = True
    """Skip connections; without them: the encoder-decoder of the paper's ablation."""
    init: InitName = "normal"
    """Initialization of the weights."""


@dataclass(frozen=True)
class GDLUNetConfig:
    width: int = number(32, min=1)
    """Channels of the first layer; they double at each level."""
    depth: int = number(4, min=2, max=16)
    """Number of levels; each halves the image."""
    norm: NormName = "instance-std"
    """Normalization; `instance-std` is keras-contrib's: epsilon added to the standard deviation."""
    groups: int = number(32, min=1)
    """Groups of the `group` norm."""
    dropout: float = number(0.0, min=0, max=1)
    """Dropout probability in each decoder level."""
    init: InitName = "xavier"
    """Initialization of the weights; `xavier` is Keras's default."""


@dataclass(frozen=True)
class ResNetConfig:
    width: int = number(64, min=1)
    """Channels of the first layer; they double with each downsampling."""
    downsamplings: int = number(2, min=1, max=8)
    """Number of downsampling layers, each of which halves the image (pix2pixHD: 4)."""
    blocks: int = number(9, min=0, max=1000)
    """Number of residual blocks."""
    norm: NormName = "instance"
    """Normalization."""
    groups: int = number(32, min=1)
    """Groups of the `group` norm."""
    dropout: float = number(0.0, min=0, max=1)
    """Dropout probability in each residual block."""
    upsample: Upsampling = "transposed"
    """Transposed convolution, or nearest resize + convolution (no checkerboard pattern)."""
    antialias: bool = False
    """Blur before each downsampling and after each upsampling (CUT); replaces `upsample`."""
    spectral_norm: bool = False
    """Divide the weights of each convolution by their largest singular value."""
    init: InitName = "normal"
    """Initialization of the weights."""


@dataclass(frozen=True)
class PatchGANConfig:
    width: int = number(64, min=1)
    """Channels of the first layer; they double at each layer, up to 8 times this."""
    layers: int = number(3, min=1, max=6)
    """Number of convolutions of stride 2."""
    norm: NormName = "batch"
    """Normalization; the first and the last convolution have none."""
    groups: int = number(32, min=1)
    """Groups of the `group` norm."""
    padding: Literal["one", "two", "same"] = "one"
    """Padding of 1 pixel on each side, of 2 (pix2pixHD), or Keras's `same`."""
    scales: int = number(1, min=1, max=8)
    """Number of PatchGANs on an image pyramid, whose levels have half the size (pix2pixHD: 2)."""
    antialias: bool = False
    """Convolutions of stride 1 and a fixed blur in place of stride 2 (CUT)."""
    whole_image: bool = False
    """Average the score map to one score per image (RegGAN)."""
    spectral_norm: bool = False
    """Divide the weights of each convolution by their largest singular value."""
    init: InitName = "normal"
    """Initialization of the weights."""


@dataclass(frozen=True)
class PixelGANConfig:
    width: int = number(64, min=1)
    """Channels of the first layer; the second has twice as many."""
    norm: NormName = "batch"
    """Normalization of the second layer."""
    groups: int = number(32, min=1)
    """Groups of the `group` norm."""
    init: InitName = "normal"
    """Initialization of the weights."""
