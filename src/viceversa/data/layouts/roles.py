"""Roles of folder names: a split, a domain, or both (`train`, `A`, `trainA`, `B_valid`).

`role_of` reads a single name, `place_of` the path of a folder.
"""

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


class Place(NamedTuple):
    """Meaning of a folder's path, which may name a split and a domain at any depth."""

    split: str
    domain: str
    group: str
    """Folders above the domain's."""
    rest: str
    """All folders but the split's and the domain's."""
    marks: tuple[str, ...]
    """Path down to the last folder with a role; `*` stands for the folders without one."""
    path: str
    """The same path as it is."""
    nested: bool
    """The split's folder is inside of a folder without a role."""
    folder: str
    """The whole path."""
    clash: str
    """Path of a folder whose role contradicts that of a folder around it, or nothing."""


@lru_cache(maxsize=65536)
def place_of(folder: str, domains: bool, splits: bool) -> Place:
    """Read a folder's path; `domains` and `splits`: whether such names have a meaning."""
    parts = folder.split("/") if folder else []
    split = domain = clash = ""
    known: list[int] = []
    split_at = domain_at = 0
    for i, part in enumerate(parts):
        role = role_of(part)
        says_split, says_domain = role.split * splits, role.domain * domains
        if (split and says_split not in ("", split)) or (
            domain and says_domain not in ("", domain)
        ):
            clash = clash or "/".join(parts[: i + 1])
            continue
        if says_split and not split:
            split, split_at = says_split, i
            known.append(i)
        if says_domain and not domain:
            domain, domain_at = says_domain, i
            known += [i] if i not in known else []
    last = known[-1] + 1 if known else 0
    plain = [i for i in range(len(parts)) if i not in known]
    marks: list[str] = []
    for i in range(last):
        if i in known or marks[-1:] != ["*"]:
            marks.append(parts[i] if i in known else "*")
    group = "/".join(parts[i] for i in plain if i < domain_at)
    rest = "/".join(parts[i] for i in plain)
    nested = bool(split) and any(i < split_at for i in plain)
    return Place(
        split, domain, group, rest, tuple(marks), "/".join(parts[:last]), nested, folder, clash
    )
