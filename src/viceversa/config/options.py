"""Fields of settings dataclasses as command-line options, and how the parser takes their values."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any

import cyclopts
from cyclopts import App, CoercionError, CycloptsError, Group, MissingArgumentError, Parameter
from docstring_parser import parse_from_object

from ..errors import UserError
from ..fields import ImageSize, as_typed, option_of

FIRST, KEYWORD = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.KEYWORD_ONLY
NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
NUMBERS = re.compile(rf"{NUMBER}(,\s*{NUMBER})*")


@dataclass(frozen=True)
class Option:
    """One option, `--key`.

    Attributes:
        key: Name with its sections, such as `data.a.range`.
        type: Type of the value.
        default: Value without the option.
        help: Help text.
        panel: Title of its panel in the help.
        negative: Whether a switch also has the form `--no-key`.
        short: Short form, such as `-o`, if there is one.
        names: Names of the package, if the value is a name in a registry that users may extend.
    """

    key: str
    type: Any
    default: Any
    help: str
    panel: str = "Options"
    negative: bool = True
    short: str = ""
    names: tuple[str, ...] = ()

    def parameter(self, name: str, group: Group) -> inspect.Parameter:
        """Return the option as a parameter for cyclopts."""
        shown = as_typed(self.default)
        annotation: Any = Annotated[
            self.type,
            Parameter(
                name=[f"--{self.key}", self.short] if self.short else f"--{self.key}",
                help=self.help,
                group=group,
                show_default=(lambda _: shown) if shown else False,
                consume_multiple=typing.get_args(self.type)[-1:] == (Ellipsis,),
                negative_bool="no-" if self.negative else (),
                negative_iterable=(),
                converter=strictly if has_int(self.type) else None,
            ),
        ]
        return inspect.Parameter(name, KEYWORD, default=self.default, annotation=annotation)


def options_of(
    values: Any, section: str = "", panel: str = "Options", negative: bool = True
) -> Iterator[Option]:
    """Yield the options of a dataclass, those of nested dataclasses included.

    Args:
        values: The dataclass; its values are the defaults.
        section: Name in front of the fields, such as `data`.
        panel: Title of the panel in the help.
        negative: Whether switches have the form `--no-key`.
    """
    classes = [cls for cls in reversed(type(values).__mro__) if dataclasses.is_dataclass(cls)]
    fields = chain.from_iterable(parse_from_object(cls).params for cls in classes)
    helps = {field.arg_name: field.description for field in fields}
    hints = typing.get_type_hints(type(values))
    for field in dataclasses.fields(values):
        key = f"{section}.{field.name}" if section else field.name
        value = getattr(values, field.name)
        if dataclasses.is_dataclass(value):
            yield from options_of(value, key, panel, negative)
            continue
        text = " ".join((helps.get(field.name) or "").replace("`", "").split())
        names = field.metadata.get("names", ())
        yield Option(key, hints[field.name], value, text, panel, negative, names=names)


def parse(
    name: str,
    text: str,
    words: Sequence[str],
    options: Sequence[Option],
    positional: Sequence[inspect.Parameter] = (),
) -> tuple[list[Any], dict[str, Any]] | None:
    """Return the positional values and the given options by key; None after --help.

    Args:
        name: The command, for the usage line.
        text: Help text.
        words: The words after the command.
        options: All options.
        positional: Parameters in front of them.

    Raises:
        UserError: From the type of an option.
        cyclopts.CycloptsError: An option is unknown, or its value has another type.
    """
    collect = collector(options, positional)
    app = App(
        name=name,
        help=text,
        help_format="plaintext",
        version_flags=[],
        group_commands=Group("Commands", show=False),
        result_action="return_value",
    )
    app.default(collect)
    types = {f"--{option.key}": option.type for option in options}
    try:
        found: tuple[list[Any], dict[str, Any]] | None = app(
            number_lists(words, types), exit_on_error=False, print_error=False
        )
    except CycloptsError as error:
        raise in_words(error, name.removeprefix("viceversa ")) from None
    except ValueError as error:  # from __post_init__ of a dataclass
        raise UserError(str(error), option=option_of(error)) from None
    return found


def has_int(hint: Any) -> bool:
    """Return whether a type takes whole numbers only: int, int | None, or a tuple of them."""
    kinds = {hint, *typing.get_args(hint)}
    return int in kinds and not {float, str} & kinds


def strictly(hint: Any, tokens: Sequence[cyclopts.Token]) -> Any:
    """Convert a value from the command line; cyclopts itself rounds 2.7 to a whole number.

    Raises:
        UserError: An option of type int has a value that is not a whole number.
    """
    numbers: list[int] = []
    for token in tokens if has_int(hint) else ():
        try:
            words = token.value.replace(",", " ").split() if hint == ImageSize else []
            numbers += map(int, words or [token.value])
        except ValueError:
            keyword = token.keyword or ""
            option = keyword.removeprefix("--") if "." in keyword else keyword
            takes = "a whole number"
            if hint == ImageSize:
                takes += ", or height and width such as 256 512"
            raise UserError(f"{keyword} takes {takes}, not {token.value}", option=option) from None
    if hint == ImageSize:
        return tuple(numbers) if numbers[1:] else numbers[0]
    return cyclopts.convert(hint, tokens)


def in_words(error: CycloptsError, command: str) -> Exception:
    """Return an error of the parser as UserError, if this module has a clearer sentence for it.

    Args:
        error: The error.
        command: The command, such as `translate`.
    """
    if isinstance(error, CoercionError) and isinstance(error.__cause__, UserError):
        return error.__cause__
    argument = error.argument
    missing = isinstance(error, MissingArgumentError) and error.keyword is None
    if not missing or argument is None or argument.tokens or "Did you mean" in str(error):
        return error
    option = name = min(argument.names, key=len)
    if argument.index is not None:  # given without its name
        name = name.lstrip("-").upper()
    elif argument.names[1:]:
        name = f"{name} ({max(argument.names, key=len)})"
    helps = {one.arg_name: one.description for one in parse_from_object(error.target).params}
    text = argument.parameter.help or helps.get(argument.field_info.name) or ""
    what = " ".join(text.split()).split(". ")[0].rstrip(".")
    return UserError(f"{command} needs {name}, {what[:1].lower()}{what[1:]}", option=option)


def collector(
    options: Sequence[Option], positional: Sequence[inspect.Parameter] = ()
) -> Callable[..., tuple[list[Any], dict[str, Any]]]:
    """Return a function for cyclopts that takes options and returns what is given, as `parse`."""
    keys = {option.key.replace(".", "__"): option for option in options}
    panels = list(dict.fromkeys(option.panel for option in options))
    groups = {panel: Group(panel, sort_key=number) for number, panel in enumerate(panels)}

    def collect(*values: Any, **given: Any) -> tuple[list[Any], dict[str, Any]]:
        return list(values), {keys[name].key: value for name, value in given.items()}

    parameters = [
        *positional,
        *(option.parameter(name, groups[option.panel]) for name, option in keys.items()),
    ]
    collect.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    collect.__annotations__ = {}  # cyclopts prefers them to those of the signature
    return collect


def number_lists(words: Sequence[str], types: Mapping[str, Any]) -> list[str]:
    """Return the words with every list of numbers in the form that its option takes.

    A user may write `--x -1000 2000`, `--x -1000,2000` or `--x=-1000,2000` for any option that
    takes several numbers; cyclopts parses -1000,2000 as an option.
    """
    converted: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        option, equals, value = word.partition("=")
        hint = types.get(option)
        if not any(typing.get_origin(one) is tuple for one in (hint, *typing.get_args(hint))):
            converted.append(word)
            continue
        values = [value] if equals else []
        while left and NUMBERS.fullmatch(left[0]) and "," not in "".join(values):
            values.append(left.pop(0))
        if not values or not all(map(NUMBERS.fullmatch, values)):
            converted += [word, *values[bool(equals) :]]
        elif typing.get_origin(hint) is tuple:  # a word for each number
            converted += [option, *",".join(values).replace(" ", "").split(",")]
        else:  # one word, as for all options that also take text
            converted.append(f"{option}={','.join(values)}")
    return converted
