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
]
