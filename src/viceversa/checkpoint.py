"""Files of a run: the state to go on from, and translators that describe themselves.

Nothing here unpickles code: states load with `weights_only`, translators are safetensors.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .errors import UserError

KEY = "viceversa"  # where a safetensors header keeps ours
FORMAT = 1
LARGEST_HEADER = 4 * 2**20


def write_aside(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file so that `path` is always the whole old one or the whole new one."""
    aside = path.with_name(path.name + ".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write(aside)
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise UserError(f"{path} could not be written: {error.strerror}") from None
    finally:
        aside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """A readable JSON file, whole or not at all."""
    text = json.dumps(value, indent=2) + "\n"
    write_aside(path, lambda aside: aside.write_text(text))


def save_state(path: Path, state: dict[str, Any]) -> None:
    """The state of training: tensors and plain values alone."""
    write_aside(path, lambda aside: torch.save(state, aside))


def load_state(path: Path) -> dict[str, Any]:
    """The state that `save_state` wrote. Raises UserError where the file is damaged."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
        raise UserError(
            f"{path} is damaged, so this run cannot go on from it; "
            "remove it to start anew, or choose another train.run"
        ) from None


def save_network(path: Path, weights: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Weights with a header that says how to rebuild and use the network."""
    described = {"format": FORMAT, "version": version("viceversa"), **header}
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_aside(path, lambda aside: save_file(plain, aside, {KEY: json.dumps(described)}))


def read_header(path: Path) -> dict[str, Any]:
    """What a network's file says of itself. Raises UserError for a file that is none of ours."""
    not_ours = UserError(
        f"{path} is not a model of viceversa (a .safetensors file that train made)"
    )
    if not path.is_file():
        raise UserError(f"there is no model {path}")
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(LARGEST_HEADER, path.stat().st_size):
            raise not_ours
        text = file.read(length)
    try:
        header: dict[str, Any] = json.loads(json.loads(text)["__metadata__"][KEY])
        known = header["format"]
    except (ValueError, KeyError, TypeError):
        raise not_ours from None
    if known != FORMAT:
        raise UserError(f"{path} is of format {known}; this version reads format {FORMAT}")
    return header


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a network's file. Raises UserError where it is damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is damaged: {error}") from None


def fit_weights(network: torch.nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Load weights into a network. Raises UserError where they are of another architecture."""
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if own != given:
        wrong = sorted(own.items() ^ given.items())
        raise UserError(
            f"{path} is of another architecture: {len({name for name, _ in wrong})} tensors "
            f"differ, the first is {wrong[0][0]}"
        )
    network.load_state_dict(weights)
