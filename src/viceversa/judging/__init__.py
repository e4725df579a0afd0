"""What a discriminator says of images, patch by patch, and pictures of it."""

from .judge import Judge
from .sheet import Row, verdict_sheet
from .verdict import Verdict, on_one_scale, probability

__all__ = ["Judge", "Row", "Verdict", "on_one_scale", "probability", "verdict_sheet"]
