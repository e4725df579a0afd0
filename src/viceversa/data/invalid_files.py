"""Files that turn out to be invalid during training."""

from __future__ import annotations

from dataclasses import dataclass, field

from .check.result import FIRST, first_few


@dataclass
class InvalidFiles:
    """Messages about files that could not be loaded; `unreported`: those not yet reported."""

    files: list[str] = field(default_factory=list)
    unreported: list[str] = field(default_factory=list)

    def add(self, message: str) -> None:
        """Record a message once."""
        if message not in self.files:
            self.files.append(message)
            self.unreported.append(message)

    def report(self, last: bool) -> str:
        """Return a line about the unreported files, or an empty text.

        The first few are reported at once, later ones together at the `last` call of an epoch: a
        disk that fails causes one line, not one per image.
        """
        if not self.unreported or (len(self.files) - len(self.unreported) >= FIRST and not last):
            return ""
        line = f"{len(self.unreported)} more files: " if len(self.files) > FIRST else ""
        line += first_few(self.unreported)
        self.unreported.clear()
        return line
