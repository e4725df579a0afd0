"""Settings of a study: a recipe with a section `study`, its options, and its variants."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..errors import UserError
from ..fields import fill, number, plain
from .command_line import given_value, run_settings
from .options import options_of
from .recipes import NAMED, STUDY, Sections, flat, merge, read_recipe, read_table
from .run import RunConfig

RECIPE = "recipe"  # a variant's key for another recipe
Setting = tuple[str, str]
"""An option and its value."""


@dataclass(frozen=True)
class StudyEvaluation:
    """Options of `viceversa evaluate` for every run."""

    metrics: tuple[str, ...] = ()
    """Metrics; empty: all that are available."""
    pairs: Literal["auto", "yes", "no"] = "auto"
    """Whether the images are pairs; auto: if the method of a variant trains on pairs."""
    size: str = "trained"
    """trained: resized as in training, but not cropped; own: as the files are; or pixels: 256 for
    squares, 256,512 for height,width."""
    policy: Literal["image", "running", "paper"] = "image"
    """Batch norm and dropout, as in viceversa evaluate."""
    flips: bool = False
    """Average the outputs for each image and for its mirror images."""
    classes: str = ""
    """Colours of the target's classes, #rrggbb,...: adds pixel accuracy and IoU."""
    features: str = ""
    """Folder of the feature networks (default: that of viceversa features)."""


@dataclass(frozen=True)
class StudyOptions:
    run: str = ""
    """Folder of the study (default: studies/RECIPE). A study in it is resumed."""
    folds: int = number(0, min=0)
    """Number of folds, each of which is tested once; 0: the test split of the dataset."""
    seeds: int = number(1, min=1)
    """Runs of each variant and fold, with the seeds train.seed, train.seed + 1, ..."""
    groups: str = ""
    """Groups that no fold divides: column:NAME of a manifest, folder:NUMBER (negative: from the
    end) or name:REGULAR EXPRESSION; empty: the groups of the dataset, else each image or pair."""
    val: float = number(0.1, min=0, below=1)
    """Fraction of the images outside of test that is val, cut by group, to select the best model;
    0: none, the last epoch is evaluated."""
    fold_seed: int = number(0, min=0)
    """Seed of the folds."""
    over: tuple[str, ...] = ()
    """Variants: an option and its values, such as method.gan_loss=lsgan,hinge, or
    recipe=pix2pix,cyclegan; several: all combinations."""
    evaluate: StudyEvaluation = field(default_factory=StudyEvaluation)
    """Evaluation of each run on its test images."""
    jobs: int = number(0, min=0)
    """Runs at a time; 0: one per GPU, or 1 on a CPU."""
    max_time: float = number(0.0, min=0)
    """Save all runs and stop after this many minutes; 0: no limit."""
    dry_run: bool = False
    """List the runs and their state, and stop."""


class Variant(NamedTuple):
    """Settings that a study compares with others."""

    name: str
    recipe: str
    """Another recipe than that of the study; empty: the same."""
    words: tuple[str, ...]
    """Options of the command line."""


@dataclass(frozen=True)
class StudyConfig:
    """A study: its options, and the settings of each variant."""

    options: StudyOptions
    variants: Mapping[str, RunConfig]


def study_settings(recipe: str, words: Sequence[str]) -> StudyConfig | None:
    """Return the options of `viceversa study` and the settings of each variant; None after --help.

    Raises UserError for an invalid option.
    """
    options, variants = split_study(recipe)
    own = [*options_of(options, panel="Study", negative=False)]
    if given_value(words, "--train.run") is not None:
        raise UserError(
            "--train.run names a single run; name the folder of the study with --run",
            option="--train.run",
        )
    settings = run_settings("study", recipe, words, own)
    if settings is None:
        return None
    options = fill(StudyOptions, merge({STUDY: plain(options)}, {STUDY: settings[0]})[STUDY], STUDY)
    if variants and options.over:
        raise UserError("--over cannot be combined with study.variants", option="--over")
    configs = {}
    for one in variants or over_variants(options.over, recipe):
        for option in (word.partition("=")[0] for word in one.words):
            if given_value(words, option) is not None:
                raise UserError(f"{option} is varied by the study; leave it out", option=option)
        sections = variant_sections(recipe, one)
        every = [*words, *one.words]
        found = run_settings("study", recipe, every, own, sections)
        assert found is not None  # --help returned above
        configs[one.name] = found[1]
    return StudyConfig(options, configs)


def split_study(recipe: str) -> tuple[StudyOptions, list[Variant]]:
    """Return the section `study` of a recipe file: its options and its named variants.

    Raises:
        UserError: An option is unknown or invalid.
    """
    table = dict(read_table(Path(recipe)).get(STUDY, {}) if Path(recipe).is_file() else {})
    named = table.pop("variants", {})
    if isinstance(table.get("over"), Mapping):
        table["over"] = [f"{key}={_listed(key, values)}" for key, values in flat(table["over"])]
    options = fill(StudyOptions, table, STUDY)
    if not isinstance(named, Mapping) or not all(
        isinstance(one, Mapping) for one in named.values()
    ):
        raise UserError(
            f"{recipe}: study.variants takes a table for each variant", option="study.variants"
        )
    variants = []
    for name, settings in named.items():
        rest = dict(settings)
        other = str(rest.pop(RECIPE, ""))
        words = tuple(f"--{key}={_word(value)}" for key, value in flat(rest))
        variants.append(Variant(_checked(name), other, words))
    return options, variants


def over_variants(over: Sequence[str], recipe: str) -> list[Variant]:
    """Return the combinations of the values of `--over`; without any, the recipe itself.

    Raises:
        UserError: One is not KEY=VALUE,VALUE, or two variants would have the same name.
    """
    axes: list[list[Setting]] = []
    for text in over:
        key, equals, values = text.partition("=")
        listed = [value.strip() for value in values.split(",")]
        if not (key and equals and all(listed)):
            raise UserError(f"--over takes OPTION=VALUE,VALUE, not {text!r}", option="--over")
        key = f"{key}.name" if key in NAMED else key
        axes.append([(key, value) for value in listed])
    variants = []
    for chosen in itertools.product(*axes):
        name = "_".join(map(_short_name, chosen)) or Path(recipe).stem
        other = next((value for key, value in chosen if key == RECIPE), "")
        words = tuple(f"--{key}={value}" for key, value in chosen if key != RECIPE)
        variants.append(Variant(re.sub(r"[^\w.+-]", "-", name), other, words))
    names = [one.name for one in variants]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"--over names the variant {twice} twice", option="--over")
    return variants


def variant_sections(recipe: str, variant: Variant) -> Sections:
    """Return the sections of a variant before its options: those of a study file on its recipe."""
    if not variant.recipe:
        return read_recipe(recipe)
    own: Sections = {}
    if Path(recipe).is_file():
        skipped = ("base", STUDY)
        own = {
            name: table for name, table in read_table(Path(recipe)).items() if name not in skipped
        }
    return merge(read_recipe(variant.recipe), own)


def _short_name(setting: Setting) -> str:
    """Return a part of a variant's name: the value, and the option if the value is no name."""
    key, value = setting
    if key == RECIPE:
        return Path(value).stem
    is_name = re.match("[A-Za-z]", value) and value not in ("true", "false")
    return value if is_name else f"{key.rpartition('.')[2]}-{value}"


def _listed(key: str, values: Any) -> str:
    """Return the values of an option in the notation of `--over`. Raises UserError for lists."""
    values = values if isinstance(values, list) else [values]
    if any(isinstance(value, list) for value in values):
        raise UserError(
            f"study.over.{key} has a value that is a list; name each variant in study.variants",
            option="study.over",
        )
    return ",".join(map(_word, values))


def _word(value: Any) -> str:
    """Return a value of TOML as a word of the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(_word, value)) if isinstance(value, list) else str(value)


def _checked(name: str) -> str:
    if not re.fullmatch(r"[\w.+-]+", name) or name in (".", ".."):
        raise UserError(
            f"study.variants.{name}: the name of a variant consists of letters, digits and . + - _",
            option="study.variants",
        )
    return name
