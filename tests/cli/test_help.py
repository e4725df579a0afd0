"""Help: the overview of commands, examples, and the options of a recipe with its values."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from typing import Any

import pytest
from support import check_networks, command_output

from viceversa.cli.app import EXAMPLES, ORDER, app
from viceversa.config.command_line import (
    check_settings,
    evaluate_options,
    evaluate_settings,
    plan_settings,
    run_options,
    train_settings,
)
from viceversa.config.help import COMMON, recipe_help
from viceversa.config.recipes import read_recipe, recipes
from viceversa.config.run import RunConfig, resolve
from viceversa.config.study import study_settings
from viceversa.errors import UserError
from viceversa.metrics.registry import selectable

SETTINGS = {"train": train_settings, "plan": plan_settings, "study": study_settings}


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")  # no option is wrapped


def help_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return a help text as one line, without the frames of the panels."""
    return " ".join(command_output(capsys, *words).replace("│", " ").split())


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]], ids=str)
def test_the_overview_has_every_command_in_the_order_of_use(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = command_output(capsys, *words).splitlines()
    names = [line.split()[0] for line in lines[2:-3:2]]
    assert names == [name for name in ORDER if name in EXAMPLES]
    assert set(names) == {name for name in app if not name.startswith("-")}
    for name, example in zip(names, lines[3:-3:2], strict=True):
        assert example.split()[:2] == ["viceversa", name]


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_valid_commands(name: str) -> None:
    assert EXAMPLES[name]
    for example, _ in EXAMPLES[name]:
        command, *words = shlex.split(example.partition(" > ")[0])
        if command in SETTINGS:
            settings = SETTINGS[command](words[0], words[1:])
            assert settings is not None or "--help" in words
            if command != "study" and settings is not None:
                check_networks(settings[1] if command == "plan" else settings)
        elif command == "check":
            assert check_settings(words) is not None
        elif command == "evaluate":
            assert evaluate_settings(words) is not None
        else:
            app.parse_args([command, *words], exit_on_error=False, print_error=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_help_begins_with_the_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys, name, "--help")
    before, _, after = text.partition(" For example: ")
    assert len(before) < 250 and after
    for example, meaning in EXAMPLES[name]:
        assert f"# {meaning} viceversa {example}" in after


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "plan", "study"])
@pytest.mark.parametrize(
    ("recipe", "own", "other", "default"),
    [
        ("pix2pix", "method.lambda_l1", "method.lambda_cycle", "Number of epochs. [default: 200]"),
        ("cyclegan", "method.pool_size", "method.lambda_l1", "[default: cyclegan]"),
        ("gdl", "method.lambda_cycle", "method.lambda_l1", "[default: gdl-unet]"),
    ],
)
def test_help_lists_common_options_with_the_values_of_the_recipe(
    command: str,
    recipe: str,
    own: str,
    other: str,
    default: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = resolve(read_recipe(recipe))
    options = [option.key for option in run_options(config)]
    short, full = (help_of(capsys, command, recipe, word) for word in ("--help", "--help-all"))
    assert default in short and default in full
    for text in (short, full):
        assert f"--{own} " in text and f"--{other} " not in text
    assert [key for key in options if f"--{key} " not in full] == []
    in_short = [key for key in options if f"--{key} " in short]
    expected = [key for key in options if key in COMMON or key.startswith("method.")]
    assert in_short == expected and len(in_short) < len(options) / 3


CHECKED: set[str] = set()  # most examples change no option of networks or data


def check_networks_once(config: RunConfig) -> None:
    """Check networks unless networks with the same settings were checked."""
    sections = {
        **config.sections,
        "train": config.train.batch_size,
        "validate": None,
        "speed": None,
    }
    key = json.dumps(sections, sort_keys=True)
    if key not in CHECKED:
        check_networks(config)
        CHECKED.add(key)


@pytest.mark.slow
@pytest.mark.parametrize("command", SETTINGS)
@pytest.mark.parametrize("recipe", recipes())
def test_examples_in_the_help_of_a_recipe_are_runs_whose_networks_fit(
    command: str, recipe: str
) -> None:
    examples = [
        shlex.split(line.strip())
        for line in recipe_help(command, recipe).splitlines()
        if line[:3] == "  v"
    ]
    assert len(examples) >= 2
    for _, name, _, *words in examples:
        settings: Any = SETTINGS[name](recipe, words)
        if name == "study":
            for config in settings.variants.values():
                check_networks_once(config)
        else:
            check_networks_once(settings[1] if name == "plan" else settings)


def test_an_example_whose_size_does_not_fit_is_detected() -> None:
    settings = train_settings(
        "pix2pix", ["photos", "--data.load_size", "143", "--data.crop_size", "128"]
    )
    with pytest.raises(UserError, match="multiples of 256"):
        check_networks(settings)


@pytest.mark.slow
def test_common_options_exist() -> None:
    for recipe in recipes():
        options = {option.key for option in run_options(resolve(read_recipe(recipe)))}
        assert set(COMMON) <= options


def test_help_lists_every_metric() -> None:
    (metrics,) = (one for one in evaluate_options() if one.key == "metrics")
    assert f"Names of metrics: {', '.join(selectable())}; empty" in metrics.help


def test_help_describes_every_option() -> None:
    options = [*evaluate_options()]
    for recipe in recipes():  # the options of every method, with inherited ones
        options += run_options(resolve(read_recipe(recipe)))
    for option in options:
        assert option.help.endswith((".", ")", "...")), option.key


@pytest.mark.slow
def test_the_command_line_loads_no_numpy_before_a_command_runs() -> None:
    """Importing numpy takes longer than all other imports of the command line."""
    code = "import sys, viceversa.cli; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    code = "import sys, viceversa.cli, numpy; sys.exit('numpy' in sys.modules)"  # negative control
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1
