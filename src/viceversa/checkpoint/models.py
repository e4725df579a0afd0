"""Networks in files that describe themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .. import __version__
from ..config.compatibility import current_header
from ..errors import UserError
from ..fields import LARGEST_OF_NETWORK
from . import container

FORMAT = 1
# What a file of each kind must say, and how; the rest of it is checked where it is used.
PARTS: dict[str, dict[str, type]] = {
    "translator": {"direction": str, "generator": dict, "source": dict, "target": dict},
    "discriminator": {"domain": str, "discriminator": dict},
    "features": {"name": str},
}


def save_network(path: Path, weights: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Weights with a header that says how to rebuild and use the network."""
    described = {"format": FORMAT, "version": __version__, **header}
    container.save(path, weights, described)


def read_header(path: Path) -> dict[str, Any]:
    """What a network's file says of itself. Raises UserError for a file that is none of ours."""
    header = container.read_header(path)
    if header.get("format") != FORMAT:
        raise UserError(
            f"{path} is of format {header.get('format')!r}; this version reads format {FORMAT}"
        )
    for part, kind in PARTS.get(str(header.get("kind")), {}).items():
        told = isinstance(header.get(part), kind)
        if told and part in ("generator", "discriminator"):
            told = isinstance(header[part].get("name"), str)
        if not told:
            raise UserError(f"{path} does not say what its {part} is")
    if not isinstance(header.get("paired", True), bool):
        raise UserError(f"{path} has an invalid field `paired` in its header", path=path)
    return current_header(header)


def load_network(path: Path, make: Callable[[], nn.Module]) -> nn.Module:
    """The network that `make` builds, with a file's weights.

    It is built without memory first, and only filled where the file's tensors are the network's:
    what a file claims costs nothing until then. Raises UserError where they are not, where the
    file is damaged, and where a weight is not finite.
    """
    given = container.shapes(path)
    header = container.read_header(path)
    for settings in (header.get("generator"), header.get("discriminator")):
        if isinstance(settings, Mapping) and any(map(_too_large, settings.values())):
            raise UserError(f"{path} describes a network with a number beyond {LARGEST_OF_NETWORK}")
    try:
        # A header can ask for a thousand million layers: no more is built than the file can fill.
        with torch.device("meta"), _AtMost(2 * len(given) + 16):
            network = make()
    except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} describes a network that cannot be built: {reason}") from None
    _check_shapes(network, given, path)
    network.load_state_dict(_fitting(network, path), assign=True)
    return network


def fit_weights(network: nn.Module, path: Path) -> None:
    """Load a file's weights into a network that is there. Raises UserError as `load_network`."""
    _check_shapes(network, container.shapes(path), path)
    network.load_state_dict(_fitting(network, path))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a network's file. Raises UserError where it is damaged or not finite."""
    weights, _ = container.load(path)
    strange = [name for name, weight in weights.items() if not bool(weight.isfinite().all())]
    if strange:
        raise UserError(f"{path} holds weights that are not finite, the first in {strange[0]}")
    return weights


class _AtMost(TorchFunctionMode):
    """While it is entered, torch makes so many tensors and no more, in this thread.

    Nor does it draw random numbers: without memory there is nothing to draw, and torch loads 800
    modules, in a second, to do so.
    """

    DRAWS = torch.Tensor.normal_, torch.Tensor.uniform_

    def __init__(self, tensors: int):
        super().__init__()
        self.left = tensors

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function in self.DRAWS or getattr(function, "__module__", "") == "torch.nn.init":
            return args[0] if args else None
        if function in (torch.empty, torch.zeros, torch.ones):
            self.left -= 1
            if self.left < 0:
                raise ValueError("it has more layers than the file has weights")
        return function(*args, **(kwargs or {}))


def _too_large(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) > LARGEST_OF_NETWORK


def _fitting(network: nn.Module, path: Path) -> dict[str, Tensor]:
    """A file's weights, of the types that the network computes with."""
    weights = read_weights(path)
    for name, own in network.state_dict().items():
        if name in weights and weights[name].dtype != own.dtype:
            raise UserError(f"{path} holds {name} as {weights[name].dtype}, not as {own.dtype}")
    return weights


def _check_shapes(network: nn.Module, given: dict[str, tuple[int, ...]], path: Path) -> None:
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    wrong = sorted({name for name, _ in own.items() ^ given.items()})
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise UserError(
            f"{path} is of another architecture: {len(wrong)} tensors differ: "
            f"{', '.join(wrong[:5])}{more}"
        )
