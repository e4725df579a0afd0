"""Inference: translation by trained generators, and patch scores of trained discriminators."""

from ..networks.config import Policy
from .ensemble import with_spread, write_ensemble
from .files import FileOptions, Outcome, translate_files
from .inputs import Inputs, expand
from .outputs import STREAM, names_image, plan
from .record import Record
from .translator import Translator

__all__ = [
    "STREAM",
    "FileOptions",
    "Inputs",
    "Outcome",
    "Policy",
    "Record",
    "Translator",
    "expand",
    "names_image",
    "plan",
    "translate_files",
    "with_spread",
    "write_ensemble",
]
