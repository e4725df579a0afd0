"""The one family of errors that a user can cause and mend, and the end that a user asks for."""

from __future__ import annotations


class UserError(ValueError):
    """What was found, what would fit, and which file or option it is about, in one sentence."""


class Stopped(Exception):
    """A run that ended early because it was asked to, with all of it saved; and its exit code."""

    def __init__(self, why: str, code: int):
        super().__init__(why)
        self.code = code
