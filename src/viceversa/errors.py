"""The one family of errors that a user can cause and mend, and the end that a user asks for."""

from __future__ import annotations

from pathlib import Path


class UserError(ValueError):
    """Error that the user can fix: what is wrong, where, and what to do, in one sentence.

    Args:
        message: The sentence that the command line prints.
        option: Name of the option or setting that causes the error, such as `data.crop_size` or
            `--seed`; None if no single option does.
        path: File or folder that causes the error; None if there is none.
    """

    def __init__(
        self, message: str, *, option: str | None = None, path: str | Path | None = None
    ) -> None:
        super().__init__(message)
        self.option = option
        self.path = None if path is None else Path(path)


class Stopped(Exception):
    """A run that ended early because it was asked to, with all of it saved; and its exit code."""

    def __init__(
        self, why: str, code: int, advice: str = "the same command goes on from here"
    ) -> None:
        super().__init__(why)
        self.code, self.advice = code, advice
