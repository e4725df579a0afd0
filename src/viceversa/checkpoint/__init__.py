"""Checkpoints and model files. Nothing is unpickled: all files are safetensors with a digest."""

from .container import read_digest
from .models import (
    fit_weights,
    load_network,
    read_header,
    read_weights,
    save_network,
)
from .state import (
    Checkpoints,
    age,
    hold,
    load_state,
    save_state,
    state_from_bytes,
    state_to_bytes,
)

__all__ = [
    "Checkpoints",
    "age",
    "fit_weights",
    "hold",
    "load_network",
    "load_state",
    "read_digest",
    "read_header",
    "read_weights",
    "save_network",
    "save_state",
    "state_from_bytes",
    "state_to_bytes",
]
