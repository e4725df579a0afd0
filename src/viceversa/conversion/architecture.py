"""Recognize networks of other implementations by the names and shapes of their tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

BLOCK = re.compile(r"model\.(\d+)\.conv_block\.(\d+)\.")
SCALE = re.compile(r"(?:scale(\d+)_layer\d+|layer(\d+))\.")
PREFIXES = "module.", "_orig_mod."  # of DataParallel and torch.compile
LEAVES = "weight", "bias", "running_mean", "running_var"  # in the order of a layer
FIXED_BLUR = ".filt"  # CUT's anti-aliasing, which is not trained
COUNTER = ".num_batches_tracked"
KNOWN = (
    "U-Net, ResNet, PatchGAN and PixelGAN of junyanz/pytorch-CycleGAN-and-pix2pix, ResNet and "
    "PatchGAN of CUT, global generator and discriminators of pix2pixHD"
)


class UnknownArchitecture(ValueError):
    """The weights are not those of a network that can be built here."""


@dataclass(frozen=True)
class Architecture:
    """A network, as its file describes it."""

    kind: str
    """`generator` or `discriminator`."""
    settings: dict[str, Any]
    """The name of the network and its options."""
    channels: tuple[int, ...]
    """Channels of the input, and of the output of a generator."""
    weights: dict[str, Tensor] = field(repr=False)
    """The tensors in the order of this package's network."""


def recognize(state: Mapping[str, Tensor]) -> Architecture:
    """Return the network to which tensors belong.

    Args:
        state: Tensors by name, in any order.

    Raises:
        UnknownArchitecture: It is none of the known networks.
    """
    state = _without_prefixes(state)
    blurs = [name for name in state if name.endswith(FIXED_BLUR)]
    weights = {n: t for n, t in state.items() if not n.endswith((FIXED_BLUR, COUNTER))}
    weights = dict(sorted(weights.items(), key=_position))
    if any(name.startswith("model1_") for name in weights):
        raise UnknownArchitecture("the local enhancer of pix2pixHD is not available")
    if any(name.endswith("running_var") and bool((t < 0).any()) for name, t in weights.items()):
        raise UnknownArchitecture("a variance in its statistics is negative")
    first = next(iter(weights), "")
    if first.startswith("model.model."):
        return _unet(weights)
    if any(map(BLOCK.match, weights)):
        return _resnet(weights, len(blurs))
    if first.startswith("net."):
        return _pixelgan(weights)
    if SCALE.match(first):
        return _multi_scale(weights)
    if re.match(r"model\.0\.weight$", first):
        return _patchgan(weights, len(blurs))
    raise UnknownArchitecture(f"its tensors ({first!a}, ...) belong to none of: {KNOWN}")


def _without_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefixes that wrappers of a network add to all names."""
    names = list(state)
    while prefix := next((p for p in PREFIXES if all(n.startswith(p) for n in names)), ""):
        names = [name.removeprefix(prefix) for name in names]
    return dict(zip(names, state.values(), strict=True))


def _position(entry: tuple[str, Tensor]) -> tuple[list[int], int]:
    """Sort key: names number the layers, and the blocks inside of blocks, in their order."""
    layer, _, leaf = entry[0].rpartition(".")
    numbers = [int(number) for number in re.findall(r"\d+", layer)]
    return numbers, LEAVES.index(leaf) if leaf in LEAVES else len(LEAVES)


def _convolutions(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in weights.items() if tensor.ndim == 4}


def _norm(weights: dict[str, Tensor], normed: str) -> str:
    """Return the norm of a network, and remove statistics that old versions of torch saved.

    Args:
        weights: Its tensors; running statistics of an instance norm are removed.
        normed: Name of the weight of a convolution that is followed by a norm.
    """
    scales = [name for name, one in weights.items() if one.ndim == 1 and name.endswith(".weight")]
    statistics = [name for name in weights if name.endswith((".running_mean", ".running_var"))]
    if scales and not statistics:
        raise UnknownArchitecture("its norms have weights, but no running statistics")
    if scales and normed.removesuffix("weight") + "bias" in weights:
        raise UnknownArchitecture("it has batch norm after convolutions with biases")
    if scales:
        return "batch"
    for name in statistics:
        del weights[name]
    biased = normed.removesuffix("weight") + "bias" in weights
    return "instance" if biased or statistics else "none"


def _unet(weights: dict[str, Tensor]) -> Architecture:
    shapes = _convolutions(weights)
    names, sizes = list(shapes), list(shapes.values())
    if len(sizes) < 4 or len(sizes) % 2 or any(size[2:] != (4, 4) for size in sizes):
        raise UnknownArchitecture("it resembles the U-Net, but has other convolutions")
    depth = len(sizes) // 2
    settings = {
        "name": "unet",
        "width": sizes[0][0],
        "depth": depth,
        "norm": _norm(weights, names[1]),
        # In the reference, the levels with 8 times the width have it, but not the innermost.
        "dropout_from": 2,
        "dropout_layers": max(depth - 5, 0),
    }
    return Architecture("generator", settings, (sizes[0][1], sizes[-1][1]), weights)


def _resnet(weights: dict[str, Tensor], blurs: int) -> Architecture:
    shapes = _convolutions(weights)
    names, sizes = list(shapes), list(shapes.values())
    blocks: dict[str, list[int]] = {}
    for name in names:
        if block := BLOCK.match(name):
            blocks.setdefault(block[1], []).append(int(block[2]))
    # Reflection padding is a layer of its own; zero padding is an option of the convolution.
    places = set(map(tuple, blocks.values()))
    if not places <= {(1, 5), (1, 6)} or len(places) != 1:
        raise UnknownArchitecture(
            "the convolutions of its residual blocks are not padded by reflection"
        )
    sampling = sum(size[2:] == (3, 3) for name, size in shapes.items() if not BLOCK.match(name))
    if sizes[0][2:] != (7, 7) or sizes[-1][2:] != (7, 7) or sampling % 2:
        raise UnknownArchitecture("it resembles the ResNet, but has other convolutions")
    if blurs not in (0, sampling):
        raise UnknownArchitecture("only some of its layers are anti-aliased")
    settings = {
        "name": "resnet",
        "width": sizes[0][0],
        "downsamplings": sampling // 2,
        "blocks": len(blocks),
        "norm": _norm(weights, names[0]),
        "dropout": 0.5 if places == {(1, 6)} else 0.0,
        "antialias": blurs > 0,
    }
    return Architecture("generator", settings, (sizes[0][1], sizes[-1][0]), weights)


def _patchgan(weights: dict[str, Tensor], blurs: int, **more: Any) -> Architecture:
    shapes = _convolutions(weights)
    names, sizes = list(shapes), list(shapes.values())
    if len(sizes) < 3 or sizes[-1][0] != 1 or any(size[2:] != (4, 4) for size in sizes):
        raise UnknownArchitecture("it resembles the PatchGAN, but has other convolutions")
    layers = len(sizes) - 2
    if blurs not in (0, layers):
        raise UnknownArchitecture("only some of its layers are anti-aliased")
    settings = {
        "name": "patchgan",
        "width": sizes[0][0],
        "layers": layers,
        "norm": _norm(weights, names[1]),
        "antialias": blurs > 0,
        **more,
    }
    return Architecture("discriminator", settings, sizes[0][1:2], weights)


def _pixelgan(weights: dict[str, Tensor]) -> Architecture:
    shapes = _convolutions(weights)
    names, sizes = list(shapes), list(shapes.values())
    if len(sizes) != 3 or any(size[2:] != (1, 1) for size in sizes):
        raise UnknownArchitecture("it resembles the PixelGAN, but has other convolutions")
    settings = {"name": "pixelgan", "width": sizes[0][0], "norm": _norm(weights, names[1])}
    return Architecture("discriminator", settings, sizes[0][1:2], weights)


def _multi_scale(weights: dict[str, Tensor]) -> Architecture:
    """pix2pixHD numbers the scales from the smallest image; here the full size comes first."""
    scales: dict[int, dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        number = SCALE.match(name)
        if number is None:
            raise UnknownArchitecture(f"it resembles discriminators of pix2pixHD, but has {name}")
        scales.setdefault(int(number[1] or number[2]), {})[name] = tensor
    each = [_patchgan(scales[scale], 0, padding="two") for scale in sorted(scales, reverse=True)]
    if any(one.settings != each[0].settings or one.channels != each[0].channels for one in each):
        raise UnknownArchitecture("its scales differ")
    settings = {**each[0].settings, "scales": len(each)}
    ordered = {name: tensor for one in each for name, tensor in one.weights.items()}
    return Architecture("discriminator", settings, each[0].channels, ordered)
