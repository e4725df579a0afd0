"""Training diagnostics: problems found in translations, gradients and validation errors."""

from .detectors import Diagnostics, Finding
from .signs import Translations, signs

__all__ = ["Diagnostics", "Finding", "Translations", "signs"]
