"""What is wrong with a data set, and what to do. Every file is decoded once, and remembered."""

from .checked import Checked, Progress, check, usable
from .telling import plain, text

__all__ = ["Checked", "Progress", "check", "plain", "text", "usable"]
