"""Errors that a user can fix, and the end of a run that a user requested."""

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


class RunStopped(Exception):
    """A run stopped early on request, after a checkpoint was saved.

    Args:
        why: Reason for the stop.
        code: Exit code of the process.
        advice: How to resume.
    """

    def __init__(
        self, why: str, code: int, advice: str = "run the same command again to resume"
    ) -> None:
        super().__init__(why)
        self.code, self.advice = code, advice
