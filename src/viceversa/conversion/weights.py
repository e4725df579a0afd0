"""Rename weights between this package and the reference implementation.

Both networks have the same layers in the same order, so that tensors are matched by order, and
checked by shape and by the last part of their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..fields import as_typed, fill, plain
from ..networks import DISCRIMINATORS, GENERATORS
from .architecture import COUNTER, Architecture, UnknownArchitecture


def build(architecture: Architecture) -> nn.Module:
    """Return the network of this package with the weights of an architecture.

    Raises:
        UnknownArchitecture: The tensors do not fit the network.
    """
    settings = dict(architecture.settings)
    registry = GENERATORS if architecture.kind == "generator" else DISCRIMINATORS
    make, config_class = registry[settings.pop("name")]
    try:
        config = fill(config_class, settings, architecture.kind)
    except UserError as error:  # such as 17 levels
        raise UnknownArchitecture(str(error)) from None
    with torch.device("meta"):
        network: nn.Module = make(config, *architecture.channels)
    network.load_state_dict(_renamed(network, architecture), assign=True)
    return network


def _renamed(network: nn.Module, architecture: Architecture) -> dict[str, Tensor]:
    """Return the tensors of an architecture under the names of a network."""
    given, own = list(architecture.weights.items()), network.state_dict()
    without_bias = architecture.settings["norm"] == "none"  # the reference has no biases then
    found: dict[str, Tensor] = {}
    for name, tensor in own.items():
        leaf = _leaf(name)
        if without_bias and leaf == "bias" and not (given and _leaf(given[0][0]) == "bias"):
            found[name] = torch.zeros(tensor.shape)
            continue
        if not given:
            raise UnknownArchitecture(f"it has no tensor for {name}")
        foreign, weight = given.pop(0)
        if weight.shape != tensor.shape or _leaf(foreign) != leaf:
            raise UnknownArchitecture(
                f"{foreign!a} has the shape {list(weight.shape)}, where a {leaf} of the shape "
                f"{list(tensor.shape)} is expected"
            )
        found[name] = weight
    if given:
        raise UnknownArchitecture(f"it has {len(given)} tensors too many, such as {given[0][0]!a}")
    return found


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def reference_weights(
    settings: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return weights of this package under the names of the reference.

    Args:
        settings: Name and options of the network, as in the header of its file.
        weights: Its state dict.

    Raises:
        UnknownArchitecture: The reference has no such network.
    """
    _check_reference(settings)
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        layer, _, leaf = name.rpartition(".")
        layers.setdefault(layer, {})[leaf] = tensor
    found: dict[str, Tensor] = {}
    for name, tensors in zip(NAMES[settings["name"]](settings), layers.values(), strict=True):
        found |= {f"{name}.{leaf}": tensor for leaf, tensor in tensors.items()}
        if "running_mean" in tensors:
            found[name + COUNTER] = torch.tensor(0)
    return found


def reference_options(settings: Mapping[str, Any]) -> str:
    """Return the options of the reference that build a network, as typed."""
    if settings["name"] == "unet":
        return f"--netG unet_{2 ** settings['depth']} --ngf {settings['width']}"
    if settings["name"] == "resnet":
        return f"--netG resnet_{settings['blocks']}blocks --ngf {settings['width']}"
    if settings["name"] == "pixelgan":
        return f"--netD pixel --ndf {settings['width']}"
    return f"--netD n_layers --n_layers_D {settings['layers']} --ndf {settings['width']}"


# Values of options that the reference has; an option that is missing here must have its default.
ANY = None
SUPPORTED: dict[str, dict[str, tuple[Any, ...] | None]] = {
    "unet": {"depth": (7, 8), "dropout": (0.0, 0.5), "dropout_from": ANY, "dropout_layers": ANY},
    "resnet": {"blocks": (6, 9), "dropout": (0.0, 0.5)},
    "patchgan": {"layers": ANY},
    "pixelgan": {},
}
NORMS = "batch", "instance"  # without norm, convolutions of the reference have no biases


def _check_reference(settings: Mapping[str, Any]) -> None:
    name = settings["name"]
    if name not in SUPPORTED:
        raise UnknownArchitecture(f"the reference has no network {name}")
    registry = GENERATORS | DISCRIMINATORS
    defaults = plain(registry[name][1]())
    free = {"width": ANY, "norm": NORMS, "groups": ANY, "init": ANY, **SUPPORTED[name]}
    for option, value in settings.items():
        if option == "name":
            continue
        allowed = free.get(option, (defaults.get(option),))
        if allowed is not ANY and value not in allowed:
            values = " or ".join(map(as_typed, allowed))
            raise UnknownArchitecture(
                f"the reference has no {name} with {option} {as_typed(value)}, only {values}"
            )


def _unet_names(settings: Mapping[str, Any]) -> list[str]:
    """Names of the layers with weights: encoder levels, then decoder levels from the innermost.

    Every level is a block inside of the block of the level above.
    """
    depth, normed = settings["depth"], settings["norm"] == "batch"
    downs, ups = ["model.model.0"], ["model.model.3"]
    block = "model.model.1.model"
    for level in range(1, depth):
        innermost = level == depth - 1
        up = 3 if innermost else 5
        downs += [f"{block}.1"] + [f"{block}.2"] * (normed and not innermost)
        ups = [f"{block}.{up}"] + [f"{block}.{up + 1}"] * normed + ups
        block += ".3.model"
    return downs + ups


def _resnet_names(settings: Mapping[str, Any]) -> list[str]:
    normed, second = settings["norm"] == "batch", 6 if settings["dropout"] else 5

    def pair(prefix: str, place: int) -> list[str]:
        return [f"{prefix}.{place}"] + [f"{prefix}.{place + 1}"] * normed

    samplings = settings["downsamplings"]
    first_block = 4 + 3 * samplings
    first_up = first_block + settings["blocks"]
    names = [name for number in range(samplings + 1) for name in pair("model", 1 + 3 * number)]
    for number in range(first_block, first_up):
        block = f"model.{number}.conv_block"
        names += pair(block, 1) + pair(block, second)
    for number in range(samplings):
        names += pair("model", first_up + 3 * number)
    return [*names, f"model.{first_up + 3 * samplings + 1}"]


def _patchgan_names(settings: Mapping[str, Any]) -> list[str]:
    normed, layers = settings["norm"] == "batch", settings["layers"]
    names = ["model.0"]
    for number in range(layers):
        names += [f"model.{2 + 3 * number}"] + [f"model.{3 + 3 * number}"] * normed
    return [*names, f"model.{2 + 3 * layers}"]


def _pixelgan_names(settings: Mapping[str, Any]) -> list[str]:
    return ["net.0", "net.2", *["net.3"] * (settings["norm"] == "batch"), "net.5"]


NAMES: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "unet": _unet_names,
    "resnet": _resnet_names,
    "patchgan": _patchgan_names,
    "pixelgan": _pixelgan_names,
}
