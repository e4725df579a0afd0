"""Meaning of folder names: a split, a domain, or both (`train`, `A`, `trainA`, `B_valid`)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from ...images.sources import Source

SPLITS = ("train", "val", "test")
SPELLINGS = {split: split for split in SPLITS}
SPELLINGS |= {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
WORDS = "|".join(sorted(SPELLINGS, key=len, reverse=True))
# `trainA`, `train_a`; `A_train`, `ATrain`: without a separator in front, the letter is a capital.
AFTER = re.compile(rf"(?P<split>{WORDS})(?:[-_. ]?(?P<domain>[ab]))?", re.IGNORECASE)
BEFORE = re.compile(rf"(?P<domain>[abAB](?=[-_. ])|[AB])[-_. ]?(?P<split>(?i:{WORDS}))")
NEAR = re.compile(rf"(?<![a-z])({WORDS})(?=$|[^a-z]|set|data|split|im(?:g|ag))")


class Role(NamedTuple):
    """Split (`train`, `val`, `test`) and domain (`a`, `b`) that a folder's name means, or ""."""

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
    """Return the split that a word means (`Valid`: val), or an empty text."""
    return SPELLINGS.get(word.lower(), "")


@lru_cache(maxsize=4096)
def resembles(folder: str) -> str:
    """Return the split that a name without a role contains (`train2017`, `test_images`)."""
    match = None if any(role_of(folder)) else NEAR.search(folder.lower())
    return SPELLINGS[match[1]] if match else ""


def other_domain(folder: str) -> str:
    """Return the name of the other domain's folder: `B_train` for `A_train`."""
    at = -1 if (match := AFTER.fullmatch(folder)) and match["domain"] else 0
    other = {"a": "b", "b": "a", "A": "B", "B": "A"}[folder[at]]
    return folder[:-1] + other if at else other + folder[1:]


class FolderRole(NamedTuple):
    """Meaning of a folder's path, which may name a split and a domain at any depth."""

    split: str
    domain: str
    group: str
    """Folders above the domain's folder that have no role."""
    rest: str
    """All folders except those that name the split and the domain."""
    pattern: str
    """Path down to the last folder with a role; `*` replaces folders without one."""
    named: str
    """The same path with all names."""
    nested: bool
    """Whether the split's folder is inside a folder without a role."""
    path: str
    conflict: str
    """Path of a folder whose role contradicts that of a folder around it, or an empty text."""


@lru_cache(maxsize=65536)
def read_folder(path: str, domains: bool, splits: bool) -> FolderRole:
    """Interpret a folder's path; `domains`, `splits`: whether such names have a meaning."""
    parts = path.split("/") if path else []
    split = domain = group = conflict = ""
    nested, end = False, 0
    rest: list[str] = []
    pattern: list[str] = []
    for i, part in enumerate(parts):
        role = role_of(part)
        new_split, new_domain = role.split * splits, role.domain * domains
        if (split and new_split not in ("", split)) or (domain and new_domain not in ("", domain)):
            conflict = conflict or "/".join(parts[: i + 1])
        elif (new_split and not split) or (new_domain and not domain):
            if new_split and not split:
                split, nested = new_split, bool(rest)
            if new_domain and not domain:
                domain, group = new_domain, "/".join(rest)
            pattern += ["*", part] if i > end else [part]
            end = i + 1
            continue
        rest.append(part)
    named = "/".join(parts[:end])
    return FolderRole(
        split, domain, group, "/".join(rest), "/".join(pattern), named, nested, path, conflict
    )


class Entry(NamedTuple):
    """An image of a tree."""

    name: str
    """Path without the folders of the split and the domain; the same for a pair."""
    source: Source
    folder: FolderRole


def common_folder(entries: Sequence[Entry]) -> str:
    """Return the folder that images have in common; `*` replaces their groups."""
    paths = {entry.folder.named for entry in entries}
    if len(paths) == 1:
        return paths.pop()
    return Counter(entry.folder.pattern for entry in entries).most_common(1)[0][0]
