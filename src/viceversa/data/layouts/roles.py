"""Roles of folder names: a split, a domain, or both (`train`, `A`, `trainA`, `B_valid`)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

SPLITS = ("train", "val", "test")
SPELLINGS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
WORDS = "|".join(sorted(SPELLINGS, key=len, reverse=True))
# `trainA`, `train_a`; `A_train`, `ATrain`: without a separator in front, the letter is a capital.
AFTER = re.compile(rf"(?P<split>{WORDS})(?:[-_. ]?(?P<domain>[ab]))?", re.IGNORECASE)
BEFORE = re.compile(rf"(?P<domain>[abAB](?=[-_. ])|[AB])[-_. ]?(?P<split>(?i:{WORDS}))")
NEAR = re.compile(rf"(?<![a-z])({WORDS})(?=$|[^a-z]|set|data|split|im(?:g|ag))")


class Role(NamedTuple):
    """Split (`train`, `val`, `test`) and domain (`a`, `b`) of a folder's name; empty: none."""

    split: str
    domain: str


@lru_cache(maxsize=4096)
def role_of(folder: str) -> Role:
    """Return the role of a folder by its name."""
    if folder in ("A", "B"):
        return Role("", folder.lower())
    match = AFTER.fullmatch(folder) or BEFORE.fullmatch(folder)
    if match is None:
        return Role("", "")
    return Role(SPELLINGS[match["split"].lower()], (match["domain"] or "").lower())


def split_of(word: str) -> str:
    """Return the split that a word spells (`Valid`: val), or nothing."""
    return SPELLINGS.get(word.lower(), "")


@lru_cache(maxsize=4096)
def resembles(folder: str) -> str:
    """Return the split that a name without a role contains (`train2017`, `test_images`)."""
    match = None if any(role_of(folder)) else NEAR.search(folder.lower())
    return SPELLINGS[match[1]] if match else ""


def partner(folder: str) -> str:
    """Return the name of the other domain's folder: `B_train` for `A_train`."""
    other = {"a": "b", "b": "a", "A": "B", "B": "A"}
    match = AFTER.fullmatch(folder)
    if match and match["domain"]:
        return folder[:-1] + other[folder[-1]]
    return other[folder[0]] + folder[1:]
