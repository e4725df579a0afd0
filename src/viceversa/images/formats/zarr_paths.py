"""Files in the folder of an OME-Zarr."""

from __future__ import annotations

from pathlib import Path

from ..header import DAMAGED, Refused


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder. Raises Refused for devices and links to outside."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise Refused(f"refers to a file outside of its folder: {name}")
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise Refused(f"{DAMAGED}: {name} is not a regular file")
    return path
