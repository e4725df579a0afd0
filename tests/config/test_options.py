"""Options whose values are numbers: negative values, and the forms of lists."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cyclopts import CoercionError
from support import noise_pairs, raises_user_error

from viceversa.cli.app import EXAMPLES, app
from viceversa.config.command_line import (
    CheckOptions,
    PlanOptions,
    check_settings,
    evaluate_options,
    plan_settings,
    run_options,
    train_settings,
)
from viceversa.config.options import Option, has_int, options_of, parse
from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import resolve
from viceversa.config.study import StudyOptions
from viceversa.fields import fill


def data_settings(command: str, *words: str) -> Any:
    """Return the data settings of a command line."""
    if command == "check":
        checked = check_settings(words)
        assert checked is not None
        return checked[1]
    if command == "plan":
        planned = plan_settings("pix2pix", words)
        assert planned is not None
        return planned[1].data
    return train_settings("pix2pix", words).data


RANGES = (["-1000", "2000"], ["-1000,2000"], ["-1000, 2000"], ["-1e3,2.e3"], ["-1e3", "+2000"])


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check", "train", "plan"])
def test_forms_of_a_range_with_a_negative_limit(command: str) -> None:
    for words in RANGES:
        for arguments in (["--data.b.range", *words], [f"--data.b.range={words[0]}", *words[1:]]):
            data = data_settings(command, "ct", *arguments)
            assert data.b.given() == (-1000.0, 2000.0) and data.path == "ct", arguments
    assert data_settings(command, "ct", "--data.b.range", "-2,-1").b.given() == (-2, -1)
    assert data_settings(command, "ct", "--data.b.range", "[-2, 1]").b.given() == (-2, 1)
    assert data_settings(command, "ct", "--data.b.range", "minmax").b.range == "minmax"


@pytest.mark.slow
def test_forms_of_lists_of_a_fixed_length() -> None:
    for words in (["1", "99"], ["1,99"], ["1, 99"]):
        assert data_settings("check", "x", "--data.a.percentiles", *words).a.percentiles == (1, 99)
    for words in (["--train.betas=0.25,.75"], ["--train.betas", "0.25", ".75"]):
        assert train_settings("pix2pix", ["x", *words]).train.betas == (0.25, 0.75)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "option", "text"),
    [
        ("--train.betas -0.1 0.9", "train.betas", "not (-0.1, 0.9)"),
        ("--train.betas -.1,0.9", "train.betas", "not (-0.1, 0.9)"),
        ("--data.a.percentiles -1,99", "data.a.percentiles", "-1.0"),
        ("--train.seed -1", "train.seed", "at least 0, not -1"),
        ("--seed -1", "train.seed", "at least 0, not -1"),
        ("--train.lr -2e-4", "train.lr", "at least 0, not -0.0002"),
        ("--data.load_size -5", "data.load_size", "-5"),
        ("--data.rotate -5", "data.rotate", "rotate must be at least 0"),
        ("--data.b.range 2000,-1000", "data.b.range", "2000.0 to -1000.0"),
        ("--train.lr_per_network.generator -1e-4", "train.lr_per_network", "at least 0"),
    ],
)
def test_a_negative_number_is_read_as_a_number(arguments: str, option: str, text: str) -> None:
    """It is refused because of its value, not because it looks like an option."""
    with raises_user_error(option=option) as caught:
        train_settings("pix2pix", ["x", *arguments.split()])
    assert text in str(caught.value)


@pytest.mark.parametrize("value", ["2.7", "64.0", "1e3", "0x10", "nan", "many", "2,7"])
def test_a_whole_number_is_not_rounded(value: str) -> None:
    for words in (["--train.epochs", value], [f"--train.epochs={value}"]):
        with raises_user_error(option="train.epochs") as caught:
            train_settings("pix2pix", ["x", *words])
        assert str(caught.value) == f"--train.epochs takes a whole number, not {value}"


@pytest.mark.slow
def test_whole_numbers_and_their_signs() -> None:
    assert train_settings("pix2pix", ["x", "--train.epochs", "+7"]).train.epochs == 7
    assert train_settings("pix2pix", ["x", "--train.seed=12345678901234567"]).train.seed == (
        12345678901234567
    )
    assert train_settings("pix2pix", ["x", "--train.lr", "2"]).train.lr == 2.0


def test_lists_of_whole_numbers() -> None:
    option = Option("generator.rates", tuple[int, ...], (1,), "", "Generator")
    parsed = parse("viceversa x", "", ["--generator.rates", "1", "2"], [option])
    assert parsed == ([], {"generator.rates": (1, 2)})
    with raises_user_error(option="generator.rates"):
        parse("viceversa x", "", ["--generator.rates", "1", "2.5"], [option])


def test_every_option_of_type_int_takes_whole_numbers_only() -> None:
    """In every command, also those that are added later."""
    options = [
        *run_options(resolve(read_recipe("pix2pix"))),
        *evaluate_options(),
        *options_of(CheckOptions()),
        *options_of(PlanOptions()),
        *options_of(StudyOptions()),
    ]
    whole = [option for option in options if has_int(option.type)]
    assert len(whole) > 30
    for option in whole:
        with raises_user_error(option=option.key if "." in option.key else f"--{option.key}"):
            parse("viceversa x", "", [f"--{option.key}", "2.5"], [option])
    checked = 0
    for command in EXAMPLES:
        arguments = app[command].assemble_argument_collection()
        needed = [one for one in arguments if one.required]
        given = [
            word for one in needed for word in ([] if one.index is not None else [one.name, "x"])
        ]
        given += ["x" for one in needed if one.index is not None]
        for argument in arguments:
            if has_int(argument.field_info.annotation):
                words = [command, argument.name, "2.5", *given]
                with pytest.raises(CoercionError, match="takes a whole number, not"):
                    app.parse_args(words, exit_on_error=False, print_error=False)
                words[2] = "2"
                app.parse_args(words, exit_on_error=False, print_error=False)
                checked += 1
    assert checked >= 7


@pytest.mark.parametrize(
    ("recipe", "words", "option", "names"),
    [
        ("cyclegan", "--generator.depth 6", "generator.depth", "unet or gdl-unet, not of resnet"),
        ("cyclegan", "--generator.depth=6", "generator.depth", "--generator.name unet"),
        ("cyclegan", "--generator.no-skip", "generator.skip", "unet, not of resnet"),
        ("pix2pix", "--method.pool_size 5", "method.pool_size", "cyclegan or cyclegan-reg, not of"),
        (
            "pix2pix",
            "--discriminator.name pixelgan --discriminator.layers 2",
            "discriminator.layers",
            "patchgan, not of pixelgan",
        ),
    ],
)
def test_an_option_of_another_network_names_that_network(
    recipe: str, words: str, option: str, names: str
) -> None:
    with raises_user_error(option=option) as caught:
        train_settings(recipe, ["x", *words.split()])
    assert names in str(caught.value)


def test_an_option_of_another_network_in_a_recipe_names_that_network(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('base = "cyclegan"\n[generator]\ndepth = 6\n')
    with raises_user_error(option="generator.depth") as caught:
        train_settings(str(recipe), ["x"])
    assert "--generator.name unet" in str(caught.value)
    recipe.write_text('base = "cyclegan"\n[generator]\ndeepness = 6\n')  # of no network
    with raises_user_error(option="generator.deepness") as caught:
        train_settings(str(recipe), ["x"])
    assert "generator.name" not in str(caught.value)


def test_texts_that_look_like_numbers_are_not_changed() -> None:
    assert train_settings("pix2pix", ["1,2", "--train.run", "3,4"]).train.run == "3,4"
    assert train_settings("pix2pix", ["1,2", "--train.run", "3,4"]).data.path == "1,2"
    assert data_settings("check", "--data.b.range", "0,255", "7").path == "7"


def test_nan_in_a_recipe_is_valid_only_as_a_nodata_value(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('base = "pix2pix"\n[data.a]\nnodata = nan\n[data.b]\nnodata = -9999\n')
    data = train_settings(str(recipe), ["x"]).data
    assert math.isnan(data.a.nodata_value.value) and data.b.nodata_value.value == -9999
    recipe.write_text('base = "pix2pix"\n[train]\nlr = nan\n')
    with raises_user_error(option="train.lr") as caught:
        train_settings(str(recipe), ["x"])
    assert "train.lr takes a number, not 'nan'" in str(caught.value)


@pytest.mark.parametrize(
    "arguments", ["--help", "train cyclegan --help", "check --help", "show pix2pix"]
)
def test_help_and_settings_need_no_torch(arguments: str) -> None:
    code = (
        "import sys; from viceversa.cli import main; main(sys.argv[1:]); "
        "sys.exit('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, *arguments.split()]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0 and done.stdout


@pytest.mark.slow
def test_a_check_against_a_recipe_needs_no_torch(tmp_path: Path) -> None:
    noise_pairs(tmp_path / "data", 3, 16)
    code = (
        "import sys; from viceversa.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    words = ["check", str(tmp_path / "data"), "--recipe", "pix2pix"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=False)
    assert done.returncode == 0 and b"pix2pix" in done.stdout


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("train.epochs", 0),
        ("train.decay", 1.5),
        ("train.betas", [0.5, 1.0]),
        ("train.ema", 1),
        ("train.lr_per_network", {"generator": -1.0}),
        ("validate.images", 0),
        ("data.load_size", 0),
        ("data.zoom", 1.0),
        ("data.workers", -1),
        ("method.lambda_l1", -1.0),
        ("generator.width", 10**6),
        ("generator.depth", 1),
        ("discriminator.layers", 7),
    ],
)
def test_numbers_out_of_range_are_refused(option: str, value: object) -> None:
    section, key = option.split(".")
    sections = merge(read_recipe("pix2pix"), {section: {key: value}})
    with raises_user_error(option=option):
        resolve(sections)


def test_numbers_of_a_user_defined_method_are_at_least_0() -> None:
    """Unless their fields define a range, because a negative loss weight is an error."""

    @dataclass(frozen=True)
    class Config:
        weight: float = 1.0

    with raises_user_error(option="method.weight") as caught:
        fill(Config, {"weight": -1.0}, "method")
    assert "at least 0" in str(caught.value)
    assert fill(Config, {"weight": -1.0}, "elsewhere").weight == -1.0
