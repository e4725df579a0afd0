"""Options that take numbers: negative ones, and lists in every form that users write."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import noise_pairs

from viceversa.config.command_line import check_settings, plan_settings, train_settings
from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import resolve
from viceversa.errors import UserError
from viceversa.fields import fill


def settings(command: str, *words: str) -> Any:
    """The data settings that a command reads from its words."""
    if command == "check":
        found = check_settings(words)
        assert found is not None
        return found[1]
    if command == "plan":
        planned = plan_settings("pix2pix", words)
        assert planned is not None
        return planned[1].data
    return train_settings("pix2pix", words).data


LISTS = (["-1000", "2000"], ["-1000,2000"], ["-1000, 2000"], ["-1e3,2.e3"], ["-1e3", "+2000"])


@pytest.mark.parametrize("command", ["check", "train", "plan"])
def test_a_range_from_below_zero_in_every_form(command: str) -> None:
    for words in LISTS:
        for given in (["--data.b.range", *words], [f"--data.b.range={words[0]}", *words[1:]]):
            data = settings(command, "ct", *given)
            assert data.b.given() == (-1000.0, 2000.0) and data.path == "ct", given
    assert settings(command, "ct", "--data.b.range", "-2,-1").b.given() == (-2, -1)
    assert settings(command, "ct", "--data.b.range", "[-2, 1]").b.given() == (-2, 1)
    assert settings(command, "ct", "--data.b.range", "minmax").b.range == "minmax"


def test_lists_of_a_fixed_length_in_every_form() -> None:
    for words in (["1", "99"], ["1,99"], ["1, 99"]):
        assert settings("check", "x", "--data.a.percentiles", *words).a.percentiles == (1, 99)
    for words in (["--train.betas=0.25,.75"], ["--train.betas", "0.25", ".75"]):
        assert train_settings("pix2pix", ["x", *words]).train.betas == (0.25, 0.75)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--train.betas", "-0.1", "0.9"], "not (-0.1, 0.9)"),
        (["--train.betas", "-.1,0.9"], "not (-0.1, 0.9)"),
        (["--data.a.percentiles", "-1,99"], "-1.0"),
        (["--train.seed", "-1"], "at least 0, not -1"),
        (["--seed", "-1"], "at least 0, not -1"),
        (["--train.lr", "-2e-4"], "at least 0, not -0.0002"),
        (["--data.load_size", "-5"], "-5"),
        (["--data.rotate", "-5"], "rotate must be at least 0"),
        (["--data.b.range", "2000,-1000"], "2000.0 to -1000.0"),
        (["--train.lr_per_network.generator", "-1e-4"], "at least 0"),
    ],
    ids=" ".join,
)
def test_a_negative_number_is_read_as_a_number(words: list[str], told: str) -> None:
    """It is refused for its value, not taken for an option."""
    with pytest.raises(UserError) as caught:
        train_settings("pix2pix", ["x", *words])
    assert told in str(caught.value)


def test_text_that_looks_like_numbers_stays_as_it_is() -> None:
    assert train_settings("pix2pix", ["1,2", "--train.run", "3,4"]).train.run == "3,4"
    assert train_settings("pix2pix", ["1,2", "--train.run", "3,4"]).data.path == "1,2"
    assert settings("check", "--data.b.range", "0,255", "7").path == "7"


def test_nan_of_a_recipe_is_a_no_data_value_and_no_number(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('base = "pix2pix"\n[data.a]\nnodata = nan\n[data.b]\nnodata = -9999\n')
    data = train_settings(str(recipe), ["x"]).data
    assert math.isnan(data.a.nodata_value.value) and data.b.nodata_value.value == -9999
    recipe.write_text('base = "pix2pix"\n[train]\nlr = nan\n')
    with pytest.raises(UserError, match=r"train\.lr takes a number, not 'nan'"):
        train_settings(str(recipe), ["x"])


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "cyclegan", "--help"], ["check", "--help"], ["show", "pix2pix"]]
)
def test_help_and_settings_need_no_torch(words: list[str]) -> None:
    code = (
        "import sys; from viceversa.cli import main; main(sys.argv[1:]); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=False)
    assert done.returncode == 0 and done.stdout


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
    ("section", "key", "value"),
    [
        ("train", "epochs", 0), ("train", "decay", 1.5), ("train", "betas", [0.5, 1.0]),
        ("train", "ema", 1), ("train", "lr_per_network", {"generator": -1.0}),
        ("validate", "images", 0), ("data", "load_size", 0), ("data", "zoom", 1.0),
        ("data", "workers", -1), ("method", "lambda_l1", -1.0), ("generator", "width", 10**6),
        ("generator", "depth", 1), ("discriminator", "layers", 7),
    ],
)  # fmt: skip
def test_a_number_out_of_range_names_its_option(section: str, key: str, value: object) -> None:
    sections = merge(read_recipe("pix2pix"), {section: {key: value}})
    with pytest.raises(UserError) as caught:
        resolve(sections)
    assert caught.value.option == f"{section}.{key}"


def test_numbers_of_a_users_method_are_not_negative() -> None:
    """Without a range of their own: a weight of a loss below 0 is a mistake."""

    @dataclass(frozen=True)
    class Config:
        weight: float = 1.0

    with pytest.raises(UserError, match="at least 0") as caught:
        fill(Config, {"weight": -1.0}, "method")
    assert caught.value.option == "method.weight"
    assert fill(Config, {"weight": -1.0}, "elsewhere").weight == -1.0
