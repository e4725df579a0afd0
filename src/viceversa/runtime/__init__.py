"""Device, precision, speed, random numbers, signals, processes: the only room that knows them."""

from .config import SpeedConfig
from .device import Runtime
from .formats import now
from .memory import free_memory, out_of_memory, peak_memory
from .randomness import random_state, restore_random_state, seed_everything
from .ranks import Ranks, join
from .signals import asked_to_stop

__all__ = [
    "Ranks", "Runtime", "SpeedConfig", "asked_to_stop", "free_memory", "join", "now",
    "out_of_memory", "peak_memory", "random_state", "restore_random_state", "seed_everything",
]  # fmt: skip
