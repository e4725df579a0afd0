"""Outcome of a translation: the lines that are printed, and the error or signal at its end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import RunStopped, UserError

if TYPE_CHECKING:
    from ..images.sources import Unread
    from ..inference import Outcome

VERBS = {  # at the start of a message, for one file: for several
    "is ": "are ",
    "has ": "have ",
    "holds ": "hold ",
    "could ": "could ",
    "cannot ": "cannot ",
}


def report(
    outcome: Outcome, unread: Sequence[Unread], inputs: int, out: object, kind: str = "images"
) -> list[str]:
    """Return the lines that a translation prints."""
    from ..inference.spread import about_maps

    lines = [f"note: {line}" for line in by_kind(outcome.notes)]
    lines += [about_maps(outcome.spreads)] if outcome.spreads else []
    lines += [f"not read: {group}" for group in unread]
    if outcome.failures and not (outcome.written or outcome.skipped):
        return lines  # the error says what failed
    total = inputs + sum(len(group.names) for group in unread)
    skipped = f"; {len(outcome.skipped)} were translated before" if outcome.skipped else ""
    return [*lines, f"{len(outcome.written)} of {total} {kind} translated to {out}{skipped}"]


def raise_end(outcome: Outcome, signals: Sequence[int], advice: str) -> None:
    """Raise RunStopped after a stop signal, or UserError if files failed."""
    if signals:
        raise RunStopped("interrupted", 128 + signals[0], advice)
    if outcome.failures:
        raise UserError("; ".join(by_kind(outcome.failures)))


def by_kind(messages: Iterable[tuple[object, str]]) -> list[str]:
    """Return one sentence for all files with the same message, with the first three names."""
    from ..images.sources import printable

    kinds: dict[str, tuple[str, list[str]]] = {}
    for path, text in messages:
        kind = re.sub(r"[\d.]+ [kMG]B", "", text)  # the free space changes from file to file
        kinds.setdefault(kind, (text, []))[1].append(printable(str(path)))
    lines = []
    for text, names in kinds.values():
        more = f" and {len(names) - 3} more" if names[3:] else ""
        colon = "" if text.startswith(tuple(VERBS)) else ":"
        if names[1:] and not colon:
            verb, _, rest = text.partition(" ")
            text = f"{VERBS[f'{verb} ']}{rest}"
        lines.append(f"{', '.join(names[:3])}{more}{colon} {text}")
    return lines
