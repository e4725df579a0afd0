"""The words of a command line, on top of a recipe, to settings. Which options there are, the
recipe says: so they are made when a command runs, and not before."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.config import Dict

from ..errors import UserError
from ..fields import fill, plain
from .compatibility import refuse_old_options
from .recipes import NAMED, SECTIONS, Sections, merge, read_recipe
from .run_folder import refuse_lost_data

KEYWORD, FIRST = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_ONLY
NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
NUMBERS = re.compile(rf"{NUMBER}(,\s*{NUMBER})*")
SHORT = {"--seed": "--train.seed", "--deterministic": "--train.deterministic"}
# Defaults are not shown: those of the classes are not the recipe's.
SET_ASIDE = Parameter(name_transform=lambda name: name, negative_iterable=(), show_default=False)


@dataclasses.dataclass(frozen=True)
class PlanOptions:
    steps: int = 4
    """Steps to time, the first of which warms up; 0 only counts."""
    json: bool = False
    """Write the plan as JSON: bytes, multiply-accumulates, seconds."""


def train_settings(recipe: str, words: Sequence[str]) -> Any:
    """The resolved settings of a recipe under the words of a command line; None after --help."""
    settings = _settings("train", f"Train with the recipe {recipe}.", recipe, words, [])
    return settings and settings[1]


def plan_settings(recipe: str, words: Sequence[str]) -> tuple[PlanOptions, Any] | None:
    """(options, resolved settings of a recipe) of a command line; None after --help."""
    text = f"Say what a run with the recipe {recipe} costs."
    own = _own_options(PlanOptions())
    settings = _settings("plan", text, recipe, words, [own])
    return settings and (settings[0] or PlanOptions(), settings[1])


def _settings(
    command: str, text: str, recipe: str, words: Sequence[str], own: list[inspect.Parameter]
) -> Any:
    """(the command's `own` options where one is given, resolved settings); None after --help."""
    from .run import REGISTRIES, registered, resolve

    refuse_old_options(words)
    words = [SHORT.get(word, word) for word in words]
    sections = read_recipe(recipe)
    for section in NAMED:  # another network by name changes which options there are
        if name := _given(words, f"--{section}.name"):
            sections = merge(sections, {section: {"name": name}})
    resolved = resolve(sections)  # the recipe's own mistakes are told as the recipe's

    typed = {
        "method": resolved.method, "generator": resolved.generator,
        "discriminator": resolved.discriminator, "data": resolved.data, "train": resolved.train,
        "validate": resolved.validate, "speed": resolved.speed,
    }  # fmt: skip
    parameters = [_data_folder(), *own]
    for section in SECTIONS:
        if section in NAMED:
            names = Literal[tuple(REGISTRIES[section])]  # type: ignore[valid-type]
            parameters.append(inspect.Parameter(
                f"{section}_name", KEYWORD, default=resolved.name(section),
                annotation=Annotated[names, Parameter(name=f"--{section}.name")]))  # fmt: skip
        parameters.append(_section(section, typed[section]))

    def collect(data_folder: str = "", **given: Any) -> tuple[Any, Sections]:
        # A section without options is not passed.
        chosen = {name: plain(given.get(name, typed[name])) for name in SECTIONS}
        for section in NAMED:
            name = given[f"{section}_name"]
            registered(section, name)
            chosen[section]["name"] = name
        if data_folder:
            chosen["data"]["path"] = data_folder
        return given.get("options"), chosen

    text = f"{text} Its values: viceversa show {recipe}"
    name = f"viceversa {command} {recipe}"
    collected = _run(name, collect, parameters, resolved.sections, words, text)
    if collected is None:
        return None
    options, chosen = collected
    if command == "train" and not Path(chosen["data"]["path"]).exists():
        refuse_lost_data(recipe)
    if not chosen["train"]["run"]:
        chosen["train"]["run"] = str(Path("runs") / Path(recipe).stem)
    return options, resolve(chosen)


@dataclasses.dataclass(frozen=True)
class CheckOptions:
    recipe: str = ""
    """A recipe or preset whose settings of the data, and whose method, to check against."""
    pairs: Literal["auto", "yes", "no"] = "auto"
    """Whether A and B are pairs; auto tries, and says."""
    json: bool = False
    """Write what was found as JSON."""
    sheet: Path | None = None
    """A picture to write: images of A and B beside each other."""
    preview: Path | None = None
    """A picture to write: what the network will really see, augmentation included."""
    verify: bool = False
    """Hash every file anew, instead of trusting its size and time."""


def check_settings(words: Sequence[str]) -> tuple[CheckOptions, Any, str] | None:
    """(options, settings of the data, method or "") of a command line; None after --help.

    Needs no torch, so that a check that was made before answers at once.
    """
    from ..data import DataConfig

    refuse_old_options(words)
    recipe = _given(words, "--recipe")
    sections = read_recipe(recipe) if recipe else {}
    data = fill(DataConfig, sections.get("data", {}), "data")
    options = [_own_options(CheckOptions()), _section("data", data)]

    def collect(data_folder: str = "", **given: Any) -> tuple[CheckOptions, Any, str]:
        chosen = given.get("data", data)  # a section nobody names options of is not passed
        if data_folder:
            chosen = dataclasses.replace(chosen, path=data_folder)
        method = str(sections.get("method", {}).get("name", ""))
        return given.get("options", CheckOptions()), chosen, method

    parameters = [_data_folder(), *options]
    chosen: tuple[CheckOptions, Any, str] | None = _run(
        "viceversa check", collect, parameters, {"data": plain(data)}, words
    )
    return chosen


def _run(
    name: str, collect: Callable[..., Any], parameters: list[inspect.Parameter],
    defaults: Mapping[str, Any], words: Sequence[str], text: str = "",
) -> Any:  # fmt: skip
    """What `collect` makes of the words, called with these parameters; None after --help."""
    collect.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app = App(
        name=name,
        help=text,
        config=Dict(_without_empty(defaults), use_commands_as_keys=False, source="the recipe"),
        default_parameter=SET_ASIDE,
        result_action="return_value",
        version_flags=[],
    )
    app.default(collect)
    try:
        return app(number_lists(words, parameters), exit_on_error=False, print_error=False)
    except ValueError as error:  # a setting that its class refuses
        raise UserError(str(error)) from None


def number_lists(words: Sequence[str], parameters: Sequence[inspect.Parameter]) -> list[str]:
    """The words with every list of numbers in the form that its option takes.

    A user may write `--x -1000 2000`, `--x -1000,2000` or `--x=-1000,2000` for any option that
    takes several numbers; cyclopts takes -1000,2000 for an option.
    """
    hints: dict[str, Any] = {}
    for parameter in parameters:
        hints |= _hints(f"--{parameter.name}", typing.get_args(parameter.annotation)[0])
    made: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        option, equals, value = word.partition("=")
        hint = hints.get(option)
        if not any(typing.get_origin(one) is tuple for one in (hint, *typing.get_args(hint))):
            made.append(word)
            continue
        values = [value] if equals else []
        while left and NUMBERS.fullmatch(left[0]) and "," not in "".join(values):
            values.append(left.pop(0))
        if not values or not all(map(NUMBERS.fullmatch, values)):
            made += [word, *values[bool(equals) :]]
        elif typing.get_origin(hint) is tuple:  # a word for each number
            made += [option, *",".join(values).replace(" ", "").split(",")]
        else:  # one word, as of all options that take text too
            made.append(f"{option}={','.join(values)}")
    return made


def _hints(option: str, kind: Any) -> dict[str, Any]:
    """The options of a dataclass, --section.key, with their types."""
    if not dataclasses.is_dataclass(kind):
        return {option: kind}
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(kind).items():
        found |= _hints(f"{option}.{name}", hint)
    return found


def _data_folder() -> inspect.Parameter:
    """The folder of images, behind the recipe."""
    text = "The images: a folder, a .zip or .tar archive, or a .csv or .jsonl manifest."
    return inspect.Parameter("data_folder", FIRST, default="", annotation=Annotated[
        str, Parameter(help=text, show_default=False)])  # fmt: skip


def _own_options(default: Any) -> inspect.Parameter:
    """Options of a command itself: --key for each key of a dataclass."""
    return inspect.Parameter(
        "options", KEYWORD, default=default,
        annotation=Annotated[type(default), Parameter(name="*", negative="")],
    )  # fmt: skip


def _section(name: str, default: Any) -> inspect.Parameter:
    """A section of settings: --name.key for each key it has."""
    return inspect.Parameter(
        name, KEYWORD, default=default, annotation=Annotated[type(default), Parameter(name=name)]
    )


def _given(words: Sequence[str], option: str) -> str | None:
    """The last value that an option has among the words."""
    value = None
    for number, word in enumerate(words):
        if word.startswith(option + "="):
            value = word.partition("=")[2]
        elif word == option and number + 1 < len(words):
            value = words[number + 1]
    return value


def _without_empty(table: Mapping[str, Any]) -> dict[str, Any]:
    """Tables without what cyclopts would take for words: empty tables, lists and texts."""
    return {
        key: _without_empty(value) if isinstance(value, Mapping) else value
        for key, value in table.items()
        if value not in ("", {}, [], ())
    }
