"""Command-line options on top of a recipe. The options depend on the recipe: on its method and
networks. So they are defined when a command runs."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from cyclopts import Parameter

from ..fields import fill, plain
from .compatibility import refuse_old_options
from .help import (
    CHECK_EXAMPLES,
    CHECK_HELP,
    EVALUATE_EXAMPLES,
    EVALUATE_HELP,
    HELP_WORDS,
    common_first,
    example_lines,
    recipe_help,
)
from .options import FIRST, Option, options_of, parse
from .recipes import NAMED, SECTIONS, Sections, merge, read_recipe
from .run_folder import refuse_lost_data

if TYPE_CHECKING:
    from .evaluation import EvaluationOptions

SHORT = {"--seed": "--train.seed", "--deterministic": "--train.deterministic"}


@dataclasses.dataclass(frozen=True)
class PlanOptions:
    steps: int = 4
    """Number of steps to time; the first is a warm-up; 0: no timing."""
    json: bool = False
    """Print the estimate as JSON: bytes, multiply-accumulates, seconds."""


def train_settings(recipe: str, words: Sequence[str]) -> Any:
    """Return the settings of `viceversa train RECIPE` with these options; None after --help."""
    settings = run_settings("train", recipe, words, [])
    return settings and settings[1]


def plan_settings(recipe: str, words: Sequence[str]) -> tuple[PlanOptions, Any] | None:
    """Return the options of `viceversa plan` and the settings of the run; None after --help."""
    own = [*options_of(PlanOptions(), panel="Estimate", negative=False)]
    settings = run_settings("plan", recipe, words, own)
    return settings and (PlanOptions(**settings[0]), settings[1])


def run_settings(
    command: str,
    recipe: str,
    words: Sequence[str],
    own: Sequence[Option],
    sections: Sections | None = None,
) -> tuple[dict[str, Any], Any] | None:
    """Return the given options of a command itself, as tables, and the settings of a run.

    The settings are validated before the options are defined, so that an error in the recipe names
    the recipe.

    Args:
        command: `train`, or a command that takes the options of `train`.
        recipe: Name or file of the recipe.
        words: The words after the recipe.
        own: Options of the command itself.
        sections: Settings in place of those of the recipe.

    Returns:
        None after --help.
    """
    from .run import refuse_option_of_other, resolve

    refuse_old_options(words)
    words = [SHORT.get(word, word) for word in words]
    sections = read_recipe(recipe) if sections is None else sections
    for section in NAMED:  # the options depend on the method and the networks
        if name := given_value(words, f"--{section}.name"):
            sections = merge(sections, {section: {"name": name}})
    config = resolve(sections)
    for section in NAMED:
        start = f"--{section}."
        keys = [
            word.partition("=")[0].removeprefix(start).removeprefix("no-")
            for word in words
            if word.startswith(start)
        ]
        refuse_option_of_other(section, config.name(section), keys)
    options = [*own, *run_options(config)]
    if set(HELP_WORDS) & set(words):
        options = common_first(options, "--help-all" in words)
        words = ["--help"]
    collected = parse(
        f"viceversa {command} {recipe}",
        recipe_help(command, recipe),
        words,
        options,
        [_data_folder()],
    )
    if collected is None:
        return None
    given, changes = _split(collected, own)
    chosen = merge(config.sections, changes)
    if command == "train" and not Path(chosen["data"]["path"]).exists():
        refuse_lost_data(recipe)
    if not chosen["train"]["run"]:
        chosen["train"]["run"] = str(Path("runs") / Path(recipe).stem)
    return given, resolve(chosen)


def run_options(config: Any) -> list[Option]:
    """Return all options of a run with their values in `config`, a RunConfig."""
    from .run import REGISTRIES

    options: list[Option] = []
    for section in SECTIONS:
        if section in NAMED:
            names: Any = Literal[tuple(REGISTRIES[section])]
            text = f"Name of the {section}."
            options.append(Option(f"{section}.name", names, config.name(section), text, section))
        options += options_of(getattr(config, section), section, section)
    return options


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
    recipe = given_value(words, "--recipe")
    sections = read_recipe(recipe) if recipe else {}
    data = fill(DataConfig, sections.get("data", {}), "data")
    own = [*options_of(CheckOptions(), panel="Check", negative=False)]
    found = parse(
        "viceversa check",
        f"{CHECK_HELP}\n\n{example_lines(CHECK_EXAMPLES)}",
        words,
        [*own, *options_of(data, "data", "data")],
        [_data_folder()],
    )
    if found is None:
        return None
    given, changes = _split(found, own)
    merged = merge({"data": plain(data)}, changes)["data"]
    method = str(sections.get("method", {}).get("name", ""))
    return CheckOptions(**given), fill(DataConfig, merged, "data"), method


class EvaluateSettings(NamedTuple):
    """Arguments of `viceversa evaluate`."""

    first: Path
    """The model, or the folder of generated images."""
    second: str
    """The dataset, or the folder of real images."""
    out: Path | None
    json: bool
    options: EvaluationOptions


def evaluate_options() -> list[Option]:
    """Return the options of `viceversa evaluate`."""
    from .evaluation import PANELS, EvaluationOptions, belongs

    out = "Folder for the results; empty: evaluation beside the model, or FAKES-evaluation."
    options = [Option("out", Path | None, None, out, "Evaluation", negative=False, short="-o")]
    text = "Print JSON in place of a table."
    options.append(Option("json", bool, False, text, "Evaluation", negative=False))
    for one in options_of(EvaluationOptions(), negative=False):
        panels = [title for title, keys in PANELS.items() if belongs(one.key, keys)]
        options.append(dataclasses.replace(one, panel=panels[0]))
    return options


def evaluate_settings(words: Sequence[str]) -> EvaluateSettings | None:
    """Return the arguments of `viceversa evaluate`; None after --help. Loads no torch."""
    from ..images.domain import DomainConfig
    from .evaluation import EvaluationData, EvaluationOptions

    first = (
        "A run folder (both directions of CycleGAN, and its cycle error), one translator, or a "
        "folder of generated images."
    )
    second = "The dataset (empty: that of the model's run), or the folder of real images."
    found = parse(
        "viceversa evaluate",
        f"{EVALUATE_HELP}\n\n{example_lines(EVALUATE_EXAMPLES)}",
        words,
        evaluate_options(),
        [
            _positional("model_or_fakes", Path, first),
            _positional("data_or_reals", str, second, ""),
        ],
    )
    if found is None:
        return None
    (model, *data), given = found
    chosen = _nested(given)
    out, json = chosen.pop("out", None), chosen.pop("json", False)
    sections = chosen.pop("data", {})
    images = fill(DomainConfig, sections.pop("b", {}), "data.b")
    options = EvaluationOptions(**chosen, data=EvaluationData(**sections, b=images))
    return EvaluateSettings(model, data[0] if data else "", out, json, options)


def _split(
    parsed: tuple[list[Any], dict[str, Any]], own: Sequence[Option]
) -> tuple[dict[str, Any], Sections]:
    """Return the given options of a command itself, and the settings of a run, as tables.

    Args:
        parsed: What `parse` returned; a positional value is the dataset.
        own: Options of the command itself.
    """
    folder, given = parsed
    names = {option.key for option in own}
    changes = _nested({key: value for key, value in given.items() if key not in names})
    if folder:
        changes.setdefault("data", {})["path"] = folder[0]
    return _nested({key: value for key, value in given.items() if key in names}), changes


def _nested(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options by key as tables: `data.a.kind` in the table `a` of the section `data`."""
    table: dict[str, Any] = {}
    for key, value in given.items():
        inner: dict[str, Any] = table
        *sections, name = key.split(".")
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return table


def _data_folder() -> inspect.Parameter:
    """The dataset, after the recipe."""
    text = "The dataset: a folder, a .zip or .tar archive, or a .csv or .jsonl manifest."
    annotation: Any = Annotated[str, Parameter(name="data", help=text, show_default=False)]
    return inspect.Parameter("data_folder", FIRST, default="", annotation=annotation)


def _positional(
    name: str, kind: Any, text: str, default: Any = inspect.Parameter.empty
) -> inspect.Parameter:
    """Return an argument without an option."""
    annotation: Any = Annotated[kind, Parameter(help=text, show_default=False)]
    return inspect.Parameter(name, FIRST, default=default, annotation=annotation)


def given_value(words: Sequence[str], option: str) -> str | None:
    """Return the last value of an option among the words."""
    value = None
    for number, word in enumerate(words):
        if word.startswith(option + "="):
            value = word.partition("=")[2]
        elif word == option and number + 1 < len(words):
            value = words[number + 1]
    return value
