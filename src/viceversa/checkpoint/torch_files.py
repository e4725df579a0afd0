"""Files of `torch.save` with the weights of a network, as other implementations write them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..files import write_atomically
from .header import MAX_TENSORS, unreadable


def read_torch_file(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, in its order, in float32 on the CPU.

    Nothing but tensors is unpickled (`weights_only`).

    Raises:
        UserError: The file cannot be read, contains anything but tensors by name, or tensors that
            are larger than the file, non-finite, or not of floating point.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
    except FileNotFoundError:
        raise UserError(f"there is no file {path}", path=path) from None
    except OSError as error:
        raise unreadable(path, error) from None
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception:  # an invalid file can raise anything
        raise UserError(
            f"{path} is not a file of weights that torch can read without running code", path=path
        ) from None
    if not isinstance(found, Mapping) or not found or not all(map(_named_tensor, found.items())):
        raise UserError(
            f"{path} does not contain the weights of one network (tensors by name)", path=path
        )
    # A few bytes can describe a tensor of any size, whose values all share one place.
    if len(found) > MAX_TENSORS or sum(one.nbytes for one in found.values()) > 2 * size:
        raise UserError(f"{path} describes more weights than it contains", path=path)
    weights = {
        name: weight.float() if weight.is_floating_point() else weight
        for name, weight in found.items()
    }
    bad = [name for name, weight in weights.items() if not bool(weight.isfinite().all())]
    if bad:
        raise UserError(f"{path} has non-finite weights, the first in {bad[0]}", path=path)
    return weights


def _named_tensor(entry: tuple[Any, Any]) -> bool:
    name, weight = entry
    return isinstance(name, str) and isinstance(weight, Tensor) and weight.layout == torch.strided


def write_torch_file(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write weights by name with `torch.save`, atomically. Raises UserError."""
    plain = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    needed = sum(weight.nbytes for weight in plain.values())

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            torch.save(plain, file)

    write_atomically(path, write, needed)
