"""Command-line options on top of a recipe. The options depend on the recipe: on its method and
networks. So they are defined when a command runs."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.config import Dict

from ..errors import UserError
from ..fields import fill, option_of, plain
from .compatibility import refuse_old_options
from .recipes import NAMED, SECTIONS, Sections, merge, read_recipe
from .run_folder import refuse_lost_data

KEYWORD, FIRST = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_ONLY
NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
NUMBERS = re.compile(rf"{NUMBER}(,\s*{NUMBER})*")
SHORT = {"--seed": "--train.seed", "--deterministic": "--train.deterministic"}
# Defaults of the classes are not shown: those of the recipe differ.
NO_DEFAULTS = Parameter(name_transform=lambda name: name, negative_iterable=(), show_default=False)


@dataclasses.dataclass(frozen=True)
class PlanOptions:
    steps: int = 4
    """Number of steps to time; the first is a warm-up; 0: no timing."""
    json: bool = False
    """Print the estimate as JSON: bytes, multiply-accumulates, seconds."""


def train_settings(recipe: str, words: Sequence[str]) -> Any:
    """Return the settings of `viceversa train RECIPE` with these options; None after --help."""
    settings = _settings("train", f"Train with the recipe {recipe}.", recipe, words, [])
    return settings and settings[1]


def plan_settings(recipe: str, words: Sequence[str]) -> tuple[PlanOptions, Any] | None:
    """Return the options of `viceversa plan` and the settings of the run; None after --help."""
    text = f"Estimate the costs of a run with the recipe {recipe}."
    own = _own_options(PlanOptions())
    settings = _settings("plan", text, recipe, words, [own])
    return settings and (settings[0] or PlanOptions(), settings[1])


def _settings(
    command: str,
    text: str,
    recipe: str,
    words: Sequence[str],
    own: list[inspect.Parameter],
    defaults: Mapping[str, Any] = MappingProxyType({}),
    sections: Sections | None = None,
) -> Any:
    """Return the command's own options and the settings of a run; None after --help.

    `defaults`: those of the command's own options; `sections`: replace those of the recipe.
    """
    from .run import registered, resolve

    refuse_old_options(words)
    words = [SHORT.get(word, word) for word in words]
    sections = read_recipe(recipe) if sections is None else sections
    for section in NAMED:  # the options depend on the method and the networks
        if name := _given(words, f"--{section}.name"):
            sections = merge(sections, {section: {"name": name}})
    config = resolve(sections)  # before the options, so that the recipe's errors name the recipe
    typed = vars(config)
    parameters = [_data_folder(), *own]
    for section in SECTIONS:
        if section in NAMED:
            parameters.append(_name_option(section, config.name(section)))
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
    collected = _run(name, collect, parameters, {**config.sections, **defaults}, words, text)
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
    """Recipe whose method and settings of the data are used."""
    pairs: Literal["auto", "yes", "no"] = "auto"
    """Whether A and B are pairs; auto: detect."""
    json: bool = False
    """Print the result as JSON."""
    sheet: Path | None = None
    """Image file to write: samples of A and B next to each other."""
    preview: Path | None = None
    """Image file to write: inputs of the networks, with augmentation."""
    verify: bool = False
    """Hash every file again, even if its size and time did not change."""


def check_settings(words: Sequence[str]) -> tuple[CheckOptions, Any, str] | None:
    """Return the options of `viceversa check`, the settings of the data and the method's name.

    The name is empty without a recipe; None after --help. Loads no torch, so that a repeated check
    answers at once.
    """
    from ..data import DataConfig

    refuse_old_options(words)
    recipe = _given(words, "--recipe")
    sections = read_recipe(recipe) if recipe else {}
    data = fill(DataConfig, sections.get("data", {}), "data")
    options = [_own_options(CheckOptions()), _section("data", data)]

    def collect(data_folder: str = "", **given: Any) -> tuple[CheckOptions, Any, str]:
        chosen = given.get("data", data)  # not passed without options
        if data_folder:
            chosen = dataclasses.replace(chosen, path=data_folder)
        method = str(sections.get("method", {}).get("name", ""))
        checked = fill(DataConfig, plain(chosen), "data")
        return given.get("options", CheckOptions()), checked, method

    parameters = [_data_folder(), *options]
    text = "Decode every file of a dataset once, and report its contents, problems and advice."
    chosen: tuple[CheckOptions, Any, str] | None = _run(
        "viceversa check", collect, parameters, {"data": plain(data)}, words, text
    )
    return chosen


def _run(
    name: str,
    collect: Callable[..., Any],
    parameters: list[inspect.Parameter],
    defaults: Mapping[str, Any],
    words: Sequence[str],
    text: str = "",
) -> Any:
    """Parse the words and call `collect` with these parameters; None after --help."""
    collect.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    collect.__annotations__ = {}  # cyclopts prefers them to those of the signature, with the help
    app = App(
        name=name,
        help=text,
        config=Dict(_without_empty(defaults), use_commands_as_keys=False, source="the recipe"),
        default_parameter=NO_DEFAULTS,
        result_action="return_value",
        version_flags=[],
    )
    app.default(collect)
    try:
        return app(number_lists(words, parameters), exit_on_error=False, print_error=False)
    except ValueError as error:  # from __post_init__ of a dataclass
        raise UserError(str(error), option=option_of(error)) from None


def number_lists(words: Sequence[str], parameters: Sequence[inspect.Parameter]) -> list[str]:
    """Return the words with every list of numbers in the form that its option takes.

    A user may write `--x -1000 2000`, `--x -1000,2000` or `--x=-1000,2000` for any option that
    takes several numbers; cyclopts parses -1000,2000 as an option.
    """
    types: dict[str, Any] = {}
    for parameter in parameters:
        types |= _option_types(f"--{parameter.name}", typing.get_args(parameter.annotation)[0])
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


def _option_types(option: str, kind: Any) -> dict[str, Any]:
    """The options of a dataclass, --section.key, with their types."""
    if not dataclasses.is_dataclass(kind):
        return {option: kind}
    types: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(kind).items():
        types |= _option_types(f"{option}.{name}", hint)
    return types


def _data_folder() -> inspect.Parameter:
    """The dataset, after the recipe."""
    text = "The dataset: a folder, a .zip or .tar archive, or a .csv or .jsonl manifest."
    annotation: Any = Annotated[str, Parameter(help=text, show_default=False)]
    return inspect.Parameter("data_folder", FIRST, default="", annotation=annotation)


def _own_options(default: Any) -> inspect.Parameter:
    """Options of a command itself: --key for each field of a dataclass."""
    annotation: Any = Annotated[
        type(default), Parameter(name="*", negative="", consume_multiple=True)
    ]
    return inspect.Parameter("options", KEYWORD, default=default, annotation=annotation)


def _name_option(section: str, default: str) -> inspect.Parameter:
    """--method.name, --generator.name or --discriminator.name."""
    from .run import REGISTRIES

    names: Any = Literal[tuple(REGISTRIES[section])]
    annotation: Any = Annotated[names, Parameter(name=f"--{section}.name")]
    return inspect.Parameter(f"{section}_name", KEYWORD, default=default, annotation=annotation)


def _section(name: str, default: Any) -> inspect.Parameter:
    """Options of a section: --name.key for each field."""
    annotation: Any = Annotated[type(default), Parameter(name=name)]
    return inspect.Parameter(name, KEYWORD, default=default, annotation=annotation)


def _given(words: Sequence[str], option: str) -> str | None:
    """The last value of an option among the words."""
    value = None
    for number, word in enumerate(words):
        if word.startswith(option + "="):
            value = word.partition("=")[2]
        elif word == option and number + 1 < len(words):
            value = words[number + 1]
    return value


def _without_empty(table: Mapping[str, Any]) -> dict[str, Any]:
    """Tables without the values that cyclopts cannot represent: empty tables, lists and texts."""
    return {
        key: _without_empty(value) if isinstance(value, Mapping) else value
        for key, value in table.items()
        if value not in ("", {}, [], ())
    }
