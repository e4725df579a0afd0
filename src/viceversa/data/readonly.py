"""The data folder is never written to."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError


def refuse_inside(path: Path, data: Path, option: str) -> None:
    """Raises UserError where a path lies in the data folder, which nothing is ever written to."""
    inside = path.absolute().resolve().is_relative_to(data.absolute().resolve())
    if data.is_dir() and inside:
        raise UserError(f"{option} {path} lies in the data folder {data}; choose another place")
