"""The one family of errors that a user can cause and mend."""

from __future__ import annotations


class UserError(ValueError):
    """What was found, what would fit, and which file or option it is about, in one sentence."""
