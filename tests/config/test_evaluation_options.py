"""Options of `viceversa evaluate`: one dataclass, checked for the command and for Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import raises_user_error

from viceversa.config.command_line import evaluate_options, evaluate_settings
from viceversa.config.evaluation import OF_FOLDERS, OF_MODELS, EvaluationData, EvaluationOptions
from viceversa.images.domain import DomainConfig


@pytest.mark.slow
def test_arguments_become_options() -> None:
    words = "run data -o out --json --metrics l1 ssim --data.layout photos --data.b.range -1,2.5"
    settings = evaluate_settings(words.split())
    assert settings is not None
    assert (settings.first, settings.second) == (Path("run"), "data")
    assert (settings.out, settings.json) == (Path("out"), True)
    data = EvaluationData("photos", b=DomainConfig(range="-1,2.5"))
    assert settings.options == EvaluationOptions(metrics=("l1", "ssim"), data=data)
    defaults = evaluate_settings(["run"])
    assert defaults is not None and defaults.second == ""
    assert (defaults.out, defaults.json) == (None, False)
    assert defaults.options == EvaluationOptions()


def test_every_option_has_one_panel() -> None:
    panels = {one.key: one.panel for one in evaluate_options()}
    assert panels["split"] == "Models only" and panels["data.b.unit"] == "Folders of images only"
    assert panels["data.a.masks"] == "Models only" and panels["data.b.masks"] == "Evaluation"
    assert panels["metrics"] == panels["out"] == "Evaluation"


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({"batch_size": 0}, "--batch_size"),
        ({"batch_size": 1.5}, "--batch_size"),
        ({"split": "all"}, "--split"),
        ({"hold_out": -0.1}, "--hold_out"),
        ({"features": "folder"}, "--features"),
        ({"metrics": ["l1"], "seed": -1}, "--seed"),
        ({"metrics": ("l3",)}, "--metrics"),
        ({"classes": "#12345"}, "--classes"),
        ({"data": EvaluationData(layout="rows")}, "--data.layout"),  # type: ignore[arg-type]
        ({"data": EvaluationData(b=DomainConfig(channels=0))}, "--data.b.channels"),
    ],
)
def test_invalid_values_are_refused(values: dict[str, Any], option: str) -> None:
    with raises_user_error(option=option):
        EvaluationOptions(**values)


def test_options_of_another_kind_are_refused() -> None:
    options = EvaluationOptions(seed=1, data=EvaluationData(b=DomainConfig(unit="m")))
    with raises_user_error(option="--seed"):
        options.refuse(OF_MODELS, "models")
    with raises_user_error(option="--flips"):
        EvaluationOptions(flips=True).refuse(OF_MODELS, "models")
    with raises_user_error(option="--data.b.unit"):
        options.refuse(OF_FOLDERS, "folders")
    EvaluationOptions().refuse((*OF_MODELS, *OF_FOLDERS), "anything")
    EvaluationOptions(batch_size=2).refuse((*OF_MODELS, *OF_FOLDERS), "anything")


@pytest.mark.slow
def test_help_loads_no_torch() -> None:
    code = (
        "import sys, contextlib, io\nfrom viceversa.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()): main(['evaluate', '--help'])\n"
        "sys.exit('torch' in sys.modules or 'viceversa.config.evaluation' not in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
