"""Checkpoints and model files: safetensors with a digest, of which nothing is unpickled.

The names load on first use: headers are read without importing torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .header import read_digest, read_header, translator_file, translator_files

if TYPE_CHECKING:
    from .models import fit_weights, load_network, read_weights, save_network
    from .state import (
        Checkpoints,
        age,
        load_state,
        lock_run,
        save_state,
        state_from_bytes,
        state_to_bytes,
    )

__all__ = [
    "Checkpoints",
    "age",
    "fit_weights",
    "load_network",
    "load_state",
    "lock_run",
    "read_digest",
    "read_header",
    "read_weights",
    "save_network",
    "save_state",
    "state_from_bytes",
    "state_to_bytes",
    "translator_file",
    "translator_files",
]
_OF_MODELS = {"fit_weights", "load_network", "read_weights", "save_network"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "models" if name in _OF_MODELS else "state"
    return getattr(importlib.import_module(f".{home}", __name__), name)
