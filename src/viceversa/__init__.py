"""viceversa: image-to-image translation with pix2pix and CycleGAN.

The public names load on first use, so that the command answers before torch is imported.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"
_HOMES = {
    "Translator": "inference",
    "train": "training.loop",
    "evaluate": "evaluation",
    "resolve": "config.run",
    "read_recipe": "config.recipes",
    "METHODS": "methods",
    "Pix2Pix": "methods.pix2pix",
    "CycleGAN": "methods.cyclegan",
    "GENERATORS": "networks",
    "DISCRIMINATORS": "networks",
    "UserError": "errors",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'viceversa' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
