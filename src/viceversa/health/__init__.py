"""What can go wrong in training, and how one sees it."""

from .detectors import Finding, Health
from .signs import Translations, signs
from .watch import Fault, Watch

__all__ = ["Fault", "Finding", "Health", "Translations", "Watch", "signs"]
