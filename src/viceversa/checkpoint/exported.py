"""Headers of the files that `viceversa export` writes for other runtimes."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from ..errors import UserError
from ..extras import import_extra

ENTRY = "viceversa"  # name of the header in the metadata of a file
SUFFIXES = (".onnx", ".xml")  # of ONNX and OpenVINO


def is_exported(path: Path) -> bool:
    """Return whether the name of a file is that of an exported file."""
    return path.suffix.lower() in SUFFIXES


def refuse_exported(path: Path) -> None:
    """Raise UserError for an exported file, which contains no weights to load."""
    if is_exported(path):
        raise UserError(
            f"{path} is an exported file, which only translate and evaluate use; name the "
            ".safetensors file that it was exported from",
            path=path,
        )


def header_text(path: Path) -> str:
    """Return the header as JSON. Raises ValueError if there is none, UserError, OSError."""
    text: str | None = None
    if path.suffix.lower() == ".xml":
        try:
            entry = ElementTree.parse(path).find(f"rt_info/{ENTRY}")
        except ElementTree.ParseError:
            raise ValueError from None
        text = None if entry is None else entry.get("value")
    else:
        onnx = import_extra("onnx", "export", "an ONNX file")
        try:
            entries = onnx.load(path, load_external_data=False).metadata_props
        except OSError:
            raise
        except Exception:  # the decoder of the format has its own types
            raise ValueError from None
        text = next((one.value for one in entries if one.key == ENTRY), None)
    if text is None:
        raise ValueError
    return text
