"""Names and SHA-256 of the images of a split, so that a resumed run detects changes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..images.sources import Source, printable

DIGEST = 32  # bytes of a SHA-256
FIRST = 3  # number of names that a message lists


@dataclass(frozen=True)
class Contents:
    """The images of a split: (name, SHA-256) of each, by domain, in their order."""

    a: tuple[tuple[str, bytes], ...]
    b: tuple[tuple[str, bytes], ...]

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the contents of all images, in order, without their names."""
        total = hashlib.sha256()
        for side in (self.a, self.b):
            total.update(b"side" + b"".join(digest for _, digest in side))
        return total.hexdigest()

    @cached_property
    def state(self) -> dict[str, Any]:
        """The contents as tensors, for a checkpoint; only `a` if the files of A and B are equal."""
        sides = {"a": self.a} if self.a == self.b else {"a": self.a, "b": self.b}
        return {
            name: {
                "names": _tensor("\0".join(name for name, _ in side).encode(*CODEC)),
                "digests": _tensor(b"".join(digest for _, digest in side)).view(-1, DIGEST),
            }
            for name, side in sides.items()
        }

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Contents:
        """Restore from `state`. Raises ValueError, KeyError or TypeError if it is invalid."""
        sides = {name: tuple(_side(**state[name])) for name in state}
        return cls(sides["a"], sides.get("b", sides["a"]))


CODEC = ("utf-8", "surrogateescape")


def _tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _side(names: Tensor, digests: Tensor) -> Iterator[tuple[str, bytes]]:
    listed = names.numpy().tobytes().decode(*CODEC).split("\0")
    content = digests.numpy().tobytes()
    parts = [content[i : i + DIGEST] for i in range(0, len(content), DIGEST)]
    return zip(listed, parts, strict=True)


def contents(
    sides: Sequence[Sequence[Source]], digests: Mapping[Source, str], root: Path
) -> Contents:
    """Return the contents of the files of A and B, with names relative to the dataset."""
    start = os.path.join(root if root.is_dir() else root.parent, "")

    def name(source: Source) -> str:
        path = "" if source.path == root else str(source.path).removeprefix(start)
        return "/".join(part for part in (path, source.member) if part)

    a, b = (
        tuple((name(source), bytes.fromhex(digests[source])) for source in side) for side in sides
    )
    return Contents(a, b)


@dataclass(frozen=True)
class Changes:
    """Differences between the contents of a split then and now."""

    text: str
    """Description, such as `2 images of A added (4.png, 5.png)`; empty if there are none."""
    swapped: bool
    """Whether more images changed their domain than stayed in it."""
    common: bool
    """Whether any image stayed in its domain, by content."""
    names: bool
    """Whether any name stayed in its domain."""


def compare(before: Contents, now: Contents) -> Changes:
    """Compare the images of a split with those that a checkpoint lists."""
    if before.fingerprint == now.fingerprint:
        return Changes("", swapped=False, common=True, names=True)
    old, new = ([{digest for _, digest in side} for side in (c.a, c.b)] for c in (before, now))
    stayed = len(old[0] & new[0]) + len(old[1] & new[1])
    crossed = len(old[0] & new[1]) + len(old[1] & new[0])
    one = now.a == now.b and before.a == before.b
    sides = (
        [("", before.a, now.a)] if one else [(" of A", before.a, now.a), (" of B", before.b, now.b)]
    )
    parts = [text for side in sides for text in _of_side(*side)]
    names = any({n for n, _ in was} & {n for n, _ in now} for _, was, now in sides)
    return Changes(
        ", ".join(parts) or "the images are in another order", crossed > stayed, stayed > 0, names
    )


def _of_side(
    side: str, before: Sequence[tuple[str, bytes]], now: Sequence[tuple[str, bytes]]
) -> Iterator[str]:
    """Yield changes of a domain, such as `2 images of A added (4.png, 5.png)`."""
    old, new = dict(before), dict(now)
    gone = {name: digest for name, digest in old.items() if name not in new}
    added = {name: digest for name, digest in new.items() if name not in old}
    lost, found = set(gone.values()), set(added.values())
    for what, names in (
        ("changed", [name for name in new if name in old and old[name] != new[name]]),
        ("added", [name for name, digest in added.items() if digest not in lost]),
        ("removed", [name for name, digest in gone.items() if digest not in found]),
        ("renamed", [name for name, digest in added.items() if digest in lost]),
    ):
        if names:
            more = ", ..." if len(names) > FIRST else ""
            listed = ", ".join(map(printable, names[:FIRST])) + more
            yield f"{len(names)} image{'s' * (len(names) > 1)}{side} {what} ({listed})"
