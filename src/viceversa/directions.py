"""Domains and directions of translation, and their names in the data."""

from __future__ import annotations

from typing import Literal

DomainName = Literal["a", "b"]
Direction = Literal["ab", "ba"]
SWAPPED = {"a": "b", "b": "a", "ab": "ba", "ba": "ab"}


def in_data(name: str, direction: Direction) -> str:
    """Return the name that a domain or a direction of the method has in the data.

    Domain `a` of a method is the source. With data.direction `ba` the source is domain B of the
    data.
    """
    return name if direction == "ab" else SWAPPED[name]
