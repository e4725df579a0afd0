"""What can go wrong in training, and how one sees it."""

from .detectors import Finding, Health
from .signs import Way, signs
from .watch import Fault, Watch

__all__ = ["Fault", "Finding", "Health", "Watch", "Way", "signs"]
