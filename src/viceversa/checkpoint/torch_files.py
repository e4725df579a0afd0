"""Files of `torch.save` with the weights of a network, as other implementations write them."""

from __future__ import annotations

import pickletools
import re
import stat
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from ..errors import UserError
from ..files import write_atomically
from .header import MAX_TENSORS, unreadable

FLOATS = torch.float16, torch.bfloat16, torch.float32, torch.float64
COUNTER = "num_batches_tracked"  # the only weight that is an integer
PICKLES = 5  # in a file of torch 1.5 or earlier, before the data
# All that a pickle of weights refers to.
REFERENCES = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor(_v2)?|parameter)"
    r"|torch (Half|BFloat16|Float|Double|Long)Storage"
)
OTHER_OPCODES = {"STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"}  # other ways to refer to code
ADVICE = "save the state_dict() of one network with torch.save"


def read_torch_file(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, in float32 on the CPU.

    The file is checked before it is loaded: it needs no more memory than its size, and refers to
    nothing but tensors. It is loaded with `weights_only`, which runs no code.

    Raises:
        UserError: The file cannot be read, contains anything but floating-point tensors by name,
            tensors that are larger than the file, or non-finite ones.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise UserError(f"{path} is not a regular file", path=path)
        size = path.stat().st_size
        with path.open("rb") as file:
            found = _load(file) if _has_only_tensors(file, size) else None
    except FileNotFoundError:
        raise UserError(f"there is no file {path}", path=path) from None
    except OSError as error:
        raise unreadable(path, error) from None
    if found is None:
        raise UserError(f"{path} is damaged, or not a file of weights alone; {ADVICE}", path=path)
    if not isinstance(found, Mapping) or not found or not all(map(_is_weight, found.items())):
        keys = f": it has {', '.join(map(repr, found))[:80]}" if isinstance(found, Mapping) else ""
        raise UserError(
            f"{path} does not contain the weights of one network by name{keys}; {ADVICE}", path=path
        )
    if len(found) > MAX_TENSORS or sum(one.nbytes for one in found.values()) > size:
        raise UserError(f"{path} describes more weights than it contains", path=path)
    weights = {name: weight.float() for name, weight in found.items()}
    bad = [name for name, weight in weights.items() if not bool(weight.isfinite().all())]
    if bad:
        raise UserError(f"{path} has non-finite weights, the first in {bad[0]!a}", path=path)
    return weights


def _has_only_tensors(file: IO[bytes], size: int) -> bool:
    """Whether the pickles of a file refer to tensors alone, and its data are not compressed."""
    try:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            return all(_refers_to_tensors(file) for _ in range(PICKLES))
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not stored or sum(entry.file_size for entry in entries) > size:
                return False
            (name,) = [entry.filename for entry in entries if entry.filename.endswith("data.pkl")]
            with archive.open(name) as pickled:
                return _refers_to_tensors(pickled)
    except OSError:
        raise
    except Exception:  # a damaged file can raise anything
        return False


def _refers_to_tensors(pickled: IO[bytes]) -> bool:
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name in OTHER_OPCODES:
            return False
        if opcode.name == "GLOBAL" and not REFERENCES.fullmatch(str(argument)):
            return False
    return True


def _load(file: IO[bytes]) -> Any:
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as on files of TorchScript
            return torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception:  # a damaged file can raise anything
        return None


def _is_weight(entry: tuple[Any, Any]) -> bool:
    name, weight = entry
    if not isinstance(name, str) or not isinstance(weight, Tensor):
        return False
    return weight.dtype in FLOATS or (weight.dtype == torch.int64 and name.endswith(COUNTER))


def write_torch_file(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write weights by name with `torch.save`, atomically. Raises UserError."""
    plain = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    needed = sum(weight.nbytes for weight in plain.values())

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            torch.save(plain, file)

    write_atomically(path, write, needed)
