"""Headers of safetensors files, read without torch.

The metadata of the format contain a JSON header, and the SHA-256 of header and tensors.
"""

from __future__ import annotations

import hashlib
import json
import stat
import struct
from pathlib import Path
from typing import Any

from ..config.compatibility import current_header
from ..directions import ENDS
from ..errors import UserError
from .exported import header_text, is_exported, refuse_exported

HEADER, DIGEST = "viceversa", "sha256"  # keys of the metadata
LARGEST_HEADER = 4 * 2**20
MAX_DEPTH = 64  # nested lists and tables in the header
MAX_TENSORS = 2**14  # a checkpoint of CycleGAN has some 1,000
FORMAT = 1  # of model files
# Required fields of the header by kind of file; others are checked where they are used.
FIELDS: dict[str, dict[str, type]] = {
    "translator": {"direction": str, "generator": dict, "source": dict, "target": dict},
    "ensemble": {
        "direction": str,
        "generator": dict,
        "source": dict,
        "target": dict,
        "members": list,
    },
    "discriminator": {"domain": str, "discriminator": dict},
    "features": {"name": str},
}


class Damaged(UserError):
    """A readable file with invalid contents."""


def read_header(path: Path) -> dict[str, Any]:
    """Return the header of a model file. Raises UserError if it is not a valid one."""
    header = read_any_header(path)
    if header.get("format") != FORMAT:
        raise UserError(
            f"{path} has format {header.get('format')!r}; this version reads format {FORMAT}",
            path=path,
        )
    for part, kind in FIELDS.get(str(header.get("kind")), {}).items():
        valid = isinstance(header.get(part), kind)
        if valid and part in ("generator", "discriminator"):
            valid = isinstance(header[part].get("name"), str)
        if not valid:
            raise UserError(f"{path} has no valid field `{part}` in its header", path=path)
    if not isinstance(header.get("paired", True), bool):
        raise UserError(f"{path} has an invalid field `paired` in its header", path=path)
    if (direction := header.get("direction")) not in (None, *ENDS):
        raise UserError(f"{path} has the direction {direction!r}, not ab or ba", path=path)
    return current_header(header)


def translator_files(path: Path) -> list[Path]:
    """Return the translators in a folder, or the file itself. Raises UserError if none exist."""
    if not path.is_dir():
        return [path]
    files = [path / f"{direction}.safetensors" for direction in ("ab", "ba")]
    files = [file for file in files if file.is_file()]
    if not files:
        raise UserError(
            f"the folder {path} has neither ab.safetensors nor ba.safetensors", path=path
        )
    return files


def translator_file(path: Path) -> Path:
    """Return the translator in a folder, or the file itself.

    Raises UserError if the folder has none, or two.
    """
    file, *others = translator_files(path)
    if others:
        raise UserError(
            f"{path} has translators of both directions; name one: {file} or {others[0]}",
            path=path,
        )
    return file


def read_any_header(path: Path) -> dict[str, Any]:
    """Return the header of a model file or a checkpoint. Raises UserError for any other file."""
    return read_metadata(path)[0]


def read_digest(path: Path) -> str:
    """Return the SHA-256 in a file, which loading verifies. Raises UserError.

    For an exported file, return the SHA-256 of its header, which contains the SHA-256 of the
    model.
    """
    return read_metadata(path)[2]


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors in a file, from its header. Raises UserError."""
    refuse_exported(path)
    try:
        table = json.loads(_header_text(path))
        found = {name: tuple(one["shape"]) for name, one in table.items() if name != "__metadata__"}
        if not all(type(size) is int for shape in found.values() for size in shape):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError):
        raise UserError(f"{path} is damaged: its list of tensors is invalid", path=path) from None
    return found


def read_metadata(path: Path) -> tuple[dict[str, Any], str, str]:
    """Return the header, its text, and the digest of a file."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            files = ", ".join(map(str, sorted(path.glob("*.safetensors"))))
            reason = f"name a file in it: {files}" if files else "it contains no model file"
            raise UserError(f"{path} is a folder; {reason}", path=path)
        if not stat.S_ISREG(mode):
            raise UserError(f"{path} is not a regular file", path=path)
        text, expected = _exported(path) if is_exported(path) else _safetensors(path)
        header = json.loads(text)
        if not isinstance(header, dict) or not isinstance(expected, str) or _too_deep(header):
            raise ValueError
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError):
        origin = "a file that `export`" if is_exported(path) else "a .safetensors file that `train`"
        raise Damaged(f"{path} is not a model of viceversa ({origin} wrote)", path=path) from None
    except FileNotFoundError:
        raise UserError(f"there is no model {path}", path=path) from None
    except OSError as error:
        raise unreadable(path, error) from None
    return header, text, expected


def _safetensors(path: Path) -> tuple[str, str]:
    """Return the text of the header of a safetensors file, and the digest."""
    text_of_table = _header_text(path)
    if text_of_table.count(b'"data_offsets"') > MAX_TENSORS:  # before they are parsed
        raise ValueError
    table = json.loads(text_of_table)
    if len(table) > MAX_TENSORS + 1:
        raise ValueError
    metadata = table["__metadata__"]
    return metadata[HEADER], metadata[DIGEST]


def _exported(path: Path) -> tuple[str, str]:
    """Return the text of the header of an exported file, and its digest."""
    text = header_text(path)
    return text, hashlib.sha256(f"{path.suffix.lower()} {text}".encode()).hexdigest()


def _too_deep(value: Any, level: int = 0) -> bool:
    """Return whether lists and tables are nested deeper than MAX_DEPTH."""
    if level > MAX_DEPTH:
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_too_deep(one, level + 1) for one in inner)


def unreadable(path: Path, error: OSError) -> UserError:
    """Return the error for a file that the system could not read."""
    return UserError(f"{path} cannot be read: {error.strerror or error}", path=path)


def _header_text(path: Path) -> bytes:
    """Return the bytes of the safetensors header; empty if its length is invalid."""
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(LARGEST_HEADER, path.stat().st_size):
            return b""
        return file.read(length)
