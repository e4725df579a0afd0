"""What can go wrong in training, and how one sees it."""

from ..gradients import Fault, Watch
from .detectors import Finding, Health
from .signs import Translations, signs

__all__ = ["Fault", "Finding", "Health", "Translations", "Watch", "signs"]
