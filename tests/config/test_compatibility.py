"""Old names: refused in recipes and on the command line, converted in files that runs wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support import command_error, raises_user_error

from viceversa.config.command_line import check_settings, train_settings
from viceversa.config.compatibility import (
    FOLDERS,
    RENAMED,
    current_entry,
    current_header,
    current_state,
    folder_of,
    rename_folders,
    renamed,
)
from viceversa.config.recipes import read_recipe
from viceversa.config.run import resolve

OLD = {
    "method": {"name": "cyclegan", "pool": 7},
    "data": {"turn": True, "on_bad": "skip", "max_bad": 0.5},
    "train": {
        "board": True,
        "keep": 9,
        "on_full": "go_on",
        "accumulate": 4,
        "clip": 2.0,
        "player_lr": {"generator": 1e-3},
    },
    "validate": {"also": ["fid"], "best": "fid"},
    "speed": {"small_maps": False, "graph": "off", "recompute": "nothing", "together": True},
}


@pytest.mark.parametrize(("section", "key"), RENAMED)
def test_an_old_name_in_a_recipe_is_refused(section: str, key: str, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(f'base = "cyclegan"\n[{section}]\n{key} = 1\n')
    option = f"{section}.{RENAMED[section, key]}"
    with raises_user_error(option=option) as caught:
        read_recipe(str(recipe))
    assert option in str(caught.value)


@pytest.mark.parametrize("form", ["--{} 1", "--{}=1"])
@pytest.mark.parametrize(("section", "key"), RENAMED)
def test_an_old_name_on_the_command_line_is_refused(section: str, key: str, form: str) -> None:
    option = f"{section}.{RENAMED[section, key]}"
    arguments = ["data", *form.format(f"{section}.{key}").split()]
    with raises_user_error(option=option):
        train_settings("cyclegan", arguments)
    if section == "data":
        with raises_user_error(option=option):
            check_settings(arguments)


def test_the_message_names_the_new_option(capsys: pytest.CaptureFixture[str]) -> None:
    message = command_error(capsys, "train", "pix2pix", "data", "--train.no-board")
    assert message == "viceversa: --train.board is now --train.loggers\n"


def test_the_config_of_an_old_run_is_converted(tmp_path: Path) -> None:
    sections = renamed(OLD)
    assert not {(s, key) for s, values in sections.items() for key in values} & RENAMED.keys()
    assert sections["method"]["pool_size"] == 7
    assert sections["train"] == {
        "loggers": ["tensorboard"],
        "keep_last": 9,
        "on_disk_full": "continue",
        "accumulation_steps": 4,
        "grad_clip": 2.0,
        "lr_per_network": {"generator": 1e-3},
    }
    assert sections["speed"]["activation_checkpointing"] == "off"
    assert renamed({"train": {"board": False}})["train"] == {"loggers": []}
    (tmp_path / "config.json").write_text(json.dumps({"base": "cyclegan", **OLD}))
    assert resolve(read_recipe(str(tmp_path / "config.json"))).train.keep_last == 9


@pytest.mark.parametrize("value", [None, 3, [], {}, "text", {"train": []}, {"train": {"keep": []}}])
def test_invalid_values_are_kept(value: object) -> None:
    for convert in (current_header, current_state, current_entry, renamed):
        table = {"trained": value, "sections": value, "monitor": value, "validation": value}
        assert convert({**table, "weights": value}).keys() == {*table, "weights"}


def test_keys_of_headers_and_monitor_states_are_renamed() -> None:
    assert current_header({"images_seen": 7, "kind": "translator"}) == {
        "images_processed": 7,
        "kind": "translator",
    }
    case = {"told": True, "turned": 4, "times": 1, "since": 4, "saw": "it rises"}
    monitor = {
        "best": {"metric": "content_ab", "weights": "averaged"},
        "health": {"cases": {"over-fitting l1": case}, "norms": {"generator": [1.0]}},
        "averages": {"steps": 3},
        "looked": 19,
    }
    assert current_state({"monitor": monitor})["monitor"] == {
        "best": {"metric": "edge_correlation_ab", "weights": "ema"},
        "diagnostics": {
            "cases": {
                "over-fitting l1": {
                    "reported": True,
                    "changed": 4,
                    "times": 1,
                    "since": 4,
                    "text": "it rises",
                }
            },
            "norms": {"generator": [1.0]},
        },
        "ema": {"steps": 3},
        "monitored": 19,
    }


def test_names_of_log_values_are_converted() -> None:
    entry = {
        "images": 6,
        "validation": {
            "raw": {"content": 0.5, "content_ab": 0.25, "l1": 1.0},
            "averaged": {"content_ba": 0.75},
            "best": {"value": 0.5, "weights": "averaged"},
            "chosen_by": "cycle",
        },
    }
    assert current_entry(entry) == {
        "images": 6,
        "validation": {
            "raw": {"edge_correlation": 0.5, "edge_correlation_ab": 0.25, "l1": 1.0},
            "ema": {"edge_correlation_ba": 0.75},
            "best": {"value": 0.5, "weights": "ema"},
            "chosen_by": "cycle",
        },
    }


def test_folders_are_renamed_unless_the_new_name_exists(tmp_path: Path) -> None:
    for old in FOLDERS:
        (tmp_path / old).mkdir()
        (tmp_path / old / "file").write_text("old")
    (tmp_path / "ema").mkdir()
    assert folder_of(tmp_path, "patch_maps").name == "verdicts"
    assert folder_of(tmp_path, "samples").name == "samples"
    assert folder_of(tmp_path, "ema").name == "ema"
    rename_folders(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"patch_maps", "ema", "averaged", "tensorboard"}
    assert (tmp_path / "averaged" / "file").read_text() == "old"
    assert folder_of(tmp_path, "patch_maps").name == "patch_maps"
    rename_folders(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.skipif(os.geteuid() == 0, reason="root ignores file permissions")
def test_a_read_only_run_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "verdicts").mkdir()
    tmp_path.chmod(0o500)
    rename_folders(tmp_path)
    assert folder_of(tmp_path, "patch_maps").is_dir()
    tmp_path.chmod(0o700)
