"""Use a finished translator, on images and on files."""

from .files import expand, plan, translate_files
from .translator import Policy, Translator

__all__ = ["Policy", "Translator", "expand", "plan", "translate_files"]
