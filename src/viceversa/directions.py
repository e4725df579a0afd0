"""Domains and directions of translation, and their names in the data."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

DomainName = Literal["a", "b"]
Direction = Literal["ab", "ba"]
ENDS: dict[Direction, tuple[DomainName, DomainName]] = {"ab": ("a", "b"), "ba": ("b", "a")}
"""The domains of the source and the target of each direction."""
SWAPPED: dict[Any, Any] = {"a": "b", "b": "a", "ab": "ba", "ba": "ab"}
Name = TypeVar("Name", bound=str)


def in_data(name: Name, direction: Direction) -> Name:
    """Return the name that a domain or a direction of the method has in the data.

    Domain `a` of a method is the source. With data.direction `ba` the source is domain B of the
    data.
    """
    swapped: Name = SWAPPED[name]
    return name if direction == "ab" else swapped


def opposite(direction: Direction) -> Direction:
    """Return the direction back."""
    return "ba" if direction == "ab" else "ab"
