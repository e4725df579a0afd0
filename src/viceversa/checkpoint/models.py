"""Model files: weights, and a header that describes the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .. import __version__
from ..errors import UserError
from ..fields import LARGEST_OF_NETWORK
from . import container
from .header import FORMAT, read_any_header, shapes


def save_network(path: Path, weights: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write weights with a header from which the network can be rebuilt and used."""
    described = {"format": FORMAT, "version": __version__, **header}
    container.save(path, weights, described)


def load_network(path: Path, make: Callable[[], nn.Module]) -> nn.Module:
    """Build a network and load the weights of a file into it.

    The network is built on the meta device first and gets memory only if the shapes of the file
    match it, so an invalid header cannot cost memory.

    Args:
        path: The model file.
        make: Builds the network.

    Raises:
        UserError: The file is damaged, does not match the network, or has non-finite weights.
    """
    given = shapes(path)
    header = read_any_header(path)
    for settings in (header.get("generator"), header.get("discriminator")):
        if isinstance(settings, Mapping) and any(map(_too_large, settings.values())):
            raise UserError(
                f"{path} has an option of a network beyond {LARGEST_OF_NETWORK}", path=path
            )
    try:
        # A header can request any number of layers: no more are built than the file has tensors.
        with torch.device("meta"), _TensorLimit(2 * len(given) + 16):
            network = make()
    except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} describes an invalid network: {reason}", path=path) from None
    _check_shapes(network, given, path)
    network.load_state_dict(_matching_weights(network, path), assign=True)
    return network


def fit_weights(network: nn.Module, path: Path) -> None:
    """Load the weights of a file into a network. Raises UserError as `load_network`."""
    _check_shapes(network, shapes(path), path)
    network.load_state_dict(_matching_weights(network, path))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights of a file. Raises UserError if it is damaged or they are not finite."""
    weights, _ = container.load(path)
    bad = [name for name, weight in weights.items() if not bool(weight.isfinite().all())]
    if bad:
        raise UserError(f"{path} has non-finite weights, the first in {bad[0]}", path=path)
    return weights


class _TensorLimit(TorchFunctionMode):
    """Limit the number of tensors that torch creates in this thread.

    It also skips random initialization: on the meta device torch would load 800 modules for it,
    which takes a second.
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
                raise ValueError("it has more layers than the file has tensors")
        return function(*args, **(kwargs or {}))


def _too_large(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) > LARGEST_OF_NETWORK


def _matching_weights(network: nn.Module, path: Path) -> dict[str, Tensor]:
    """Return the weights of a file, checked to have the dtypes of the network."""
    weights = read_weights(path)
    for name, own in network.state_dict().items():
        if name in weights and weights[name].dtype != own.dtype:
            raise UserError(
                f"{name} in {path} is {weights[name].dtype}, not {own.dtype}", path=path
            )
    return weights


def _check_shapes(network: nn.Module, given: dict[str, tuple[int, ...]], path: Path) -> None:
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    wrong = sorted({name for name, _ in own.items() ^ given.items()})
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise UserError(
            f"{path} has another architecture: {len(wrong)} tensors differ: "
            f"{', '.join(wrong[:5])}{more}",
            path=path,
        )
