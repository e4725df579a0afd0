"""Bounds of settings: what is outside of them is refused before anything is built."""

from __future__ import annotations

import math


def within(name: str, value: float, least: float, most: float = math.inf) -> None:
    """Raises ValueError, with what would fit, where a setting is not from `least` to `most`."""
    if not least <= value <= most:
        bound = f"from {least:g} to {most:g}" if math.isfinite(most) else f"at least {least:g}"
        raise ValueError(f"{name} is {bound}, not {value}")
