"""Dataclasses of settings: ranges of numbers, plain values into dataclasses and back."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from .errors import UserError

LARGEST_OF_NETWORK = 2**13  # in the settings of a network; hostile model files contain more
# Ranges of all numbers of a section; fields may have their own.
RANGES: dict[str, dict[str, float]] = {
    "method": {"min": 0.0},
    "generator": {"max": LARGEST_OF_NETWORK},
    "discriminator": {"max": LARGEST_OF_NETWORK},
}
T = TypeVar("T")
ImageSize = int | tuple[int, int]
"""Height and width in pixels; one number is both."""


def number(default: T, min: float = -math.inf, max: float = math.inf, below: float = math.inf) -> T:
    """Return a dataclass field with a range: at least `min`, at most `max`, less than `below`.

    The range holds for a number, and for each number of a list or a table. It is checked when the
    settings of a run are read.

    Args:
        default: Default of the field.
        min: Smallest value.
        max: Largest value.
        below: Upper limit that is itself not allowed.
    """
    limits = {"min": min, "max": max, "below": below}
    known = {name: limit for name, limit in limits.items() if math.isfinite(limit)}
    field: T = dataclasses.field(default=default, metadata=known)
    return field


def choice(default: str, names: tuple[str, ...], registered: Callable[[], Iterable[str]]) -> str:
    """Return a dataclass field for a name in a registry that users may extend.

    `fill` checks it. `registered` returns all names; it is called only for a name that is not in
    `names`, so that a packaged one needs no import.
    """
    metadata = {"names": names, "registered": registered}
    field: str = dataclasses.field(default=default, metadata=metadata)
    return field


def fill(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Return the dataclass of a section from plain values.

    Args:
        cls: The dataclass.
        values: Values by the names of its fields; the others take their defaults.
        where: The section or file, for messages.

    Raises:
        UserError: A name is unknown, or a value has another type or is out of range.
    """
    hints = typing.get_type_hints(cls)
    converted: dict[str, Any] = {}
    for key, value in values.items():
        option = f"{where}.{key}"
        if key not in hints:
            raise UserError(
                f"{where} has no option {key!r}{did_you_mean(key, hints)}; "
                f"it has {', '.join(hints)}",
                option=option,
            )
        hint = hints[key]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
            converted[key] = fill(hint, value, option)
            continue
        _check_type(value, hint, option)
        converted[key] = tuple(value) if isinstance(value, list) else value
    check_choices(cls, converted, where)
    check_ranges(cls, converted, where)
    try:
        return cls(**converted)
    except ValueError as error:  # most dataclasses do not know the name of their section
        text, name = str(error), option_of(error)
        if name is None and text.startswith(f"{where}."):
            name = text.split()[0]
        if name and "." not in name:
            name = f"{where}.{name}"
        raise UserError(text if f"{where}." in text else f"{where}: {text}", option=name) from None


def check(config: Any, where: str) -> None:
    """Raise UserError if a field of a dataclass, or of one in it, is invalid as in `fill`.

    Args:
        config: The dataclass.
        where: Its section, or a prefix of its options that ends in a hyphen, such as `--`.
    """
    for name, hint in typing.get_type_hints(type(config)).items():
        value, option = getattr(config, name), _option(name, where)
        if dataclasses.is_dataclass(value):
            check(value, option)
        else:
            _check_type(value, hint, option)
    check_choices(type(config), vars(config), where)
    check_ranges(type(config), vars(config), where)


def _option(name: str, where: str) -> str:
    """Return the option of a field in a section, or after a prefix."""
    return where + name if where.endswith("-") else f"{where}.{name}"


def _check_type(value: Any, hint: Any, option: str) -> None:
    if not _fits(value, hint):
        raise UserError(f"{option} takes {_in_words(hint)}, not {value!r}", option=option)


def option_of(error: Exception) -> str | None:
    """Return the option that an error names."""
    return error.option if isinstance(error, UserError) else None


def check_choices(cls: Any, values: Mapping[str, Any], where: str) -> None:
    """Raise UserError if a name is not in the registry of its field."""
    for field in dataclasses.fields(cls):
        names, name = field.metadata.get("names"), values.get(field.name)
        if names is None or name is None or name in names:
            continue
        names = tuple(field.metadata["registered"]())
        if name not in names:
            option = _option(field.name, where)
            known = ", ".join(names)
            raise UserError(f"{option} takes one of {known}, not {name!r}", option=option)


def check_ranges(cls: Any, values: Mapping[str, Any], where: str) -> None:
    """Raise UserError if a number is out of the range of its field."""
    ranges = {field.name: field.metadata for field in dataclasses.fields(cls)}
    for key, value in values.items():
        limits = {**RANGES.get(where, {}), **ranges[key]}
        least, most = limits.get("min", -math.inf), limits.get("max", math.inf)
        below = limits.get("below", math.inf)
        for one in _numbers(value):
            if least <= one <= most and one < below:
                continue
            if least == 0 and below == 1:
                limit = "from 0 to less than 1"
            elif math.isfinite(least) and math.isfinite(min(most, below)):
                limit = f"from {least:g} to {most:g}"
            else:
                limit = f"at least {least:g}" if one < least else f"at most {most:g}"
            option = _option(key, where)
            raise UserError(f"{option} must be {limit}, not {value}", option=option)


def _numbers(value: Any) -> list[float]:
    """The numbers in a value: itself, or those of a list or a table."""
    if isinstance(value, Mapping):
        value = list(value.values())
    values = value if isinstance(value, list | tuple) else [value]
    return [one for one in values if isinstance(one, int | float) and not isinstance(one, bool)]


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value has a type."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in inner
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        if inner[-1] is Ellipsis:
            return all(_fits(element, inner[0]) for element in value)
        return len(value) == len(inner) and all(map(_fits, value, inner))
    if origin is dict:
        return isinstance(value, dict) and all(_fits(v, inner[1]) for v in value.values())
    if hint is float:
        if isinstance(value, int):
            return _fits(value, int)
        return isinstance(value, float) and math.isfinite(value)
    if hint is int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and abs(value) < 2**63
    if hint is str:
        return isinstance(value, str) and "\0" not in value  # no path can contain it
    return isinstance(value, hint)


def _in_words(hint: Any) -> str:
    """A type as text for a message."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint == ImageSize:
        return "a whole number, or two: height and width"
    if origin is Literal:
        return "one of " + ", ".join(map(str, inner))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_in_words(one) for one in inner)
    if origin is tuple:
        if inner[-1] is Ellipsis:
            return f"a list ({_in_words(inner[0])} each)"
        return f"{len(inner)} values ({', '.join(map(_in_words, inner))})"
    names = {
        int: "a whole number",
        float: "a number",
        str: "text",
        bool: "true or false",
        Path: "a path",
    }
    return names.get(hint, "nothing" if hint is type(None) else "a table")


def height_width(size: ImageSize) -> tuple[int, int]:
    """Return the height and the width of a size in the settings."""
    return (size, size) if isinstance(size, int) else size


def size_text(size: ImageSize) -> str:
    """Return a size in the settings for a message: `256`, `256 512 (height width)`."""
    return as_typed(size) if isinstance(size, int) else f"{as_typed(size)} (height width)"


def pixels_text(height: int, width: int) -> str:
    """Return the size of an image as text: `256x256`, `height 256, width 512`."""
    return f"{width}x{height}" if height == width else f"height {height}, width {width}"


def as_typed(value: Any) -> str:
    """Return a value as a user would type it; an empty text for an empty value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(map(as_typed, value))
    return "" if value is None or value == {} else str(value)


def listed(size: str | ImageSize) -> str:
    """Return a size given in Python as an option of text: `own`, `256`, `256,512`."""
    return as_typed(size).replace(" ", ",")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ' (did you mean X?)' if a known word is similar, else an empty text."""
    similar = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {similar[0]}?)" if similar else ""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 file`, `2 files`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def evenly_spaced(items: Sequence[T], most: int) -> list[T]:
    """Return at most `most` items, evenly spaced in their order."""
    count = min(most, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def nested(values: Any, *names: str) -> dict[str, Any]:
    """Return a nested table of plain values; an empty one if it is missing or not a table."""
    for name in names:
        values = values.get(name) if isinstance(values, Mapping) else None
    return dict(values) if isinstance(values, Mapping) else {}


def plain(config: Any) -> dict[str, Any]:
    """Return a dataclass as plain values, for JSON."""
    return dataclasses.asdict(config)
