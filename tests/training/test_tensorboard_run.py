"""A run's event files contain the values of its log and its images once, and change nothing."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monitored_runs import METHODS, lines, noise_splits, settings, tiny_sections
from PIL import Image
from support import checkpoint_state, identical, train_until_crash, values

from viceversa.config.run import RunConfig
from viceversa.training import loop as training
from viceversa.training.log import Log
from viceversa.training.loggers import open_loggers

pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
Points = dict[str, list[tuple[int, float]]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_splits(tmp_path_factory.mktemp("board"))


def with_tensorboard(name: str, data: Path, run: Path, /, **train: Any) -> RunConfig:
    """Return settings of 12 images, with log lines, validations and sample grids every 4."""
    return settings(
        name, data, run, train={"loggers": ("tensorboard",), "ema": 0.5, "sample_every": 4, **train}
    )


def read(run: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run / "tensorboard"), {"scalars": 0, "images": 0}).Reload()


def scalars(run: Path) -> Points:
    found = read(run)
    return {
        tag: [(event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def logged(run: Path) -> Points:
    """Return the numbers of the log, rounded to float32 as in event files."""
    found: Points = {}

    def add(line: dict[str, Any], group: str, numbers: dict[str, float]) -> None:
        for name, value in numbers.items():
            point = line["images"], float(np.float32(value))
            found.setdefault(f"{group}/{name}", []).append(point)

    for line in lines(run, "train"):
        add(line, "losses", values(line, "loss"))
        add(line, "gradients", values(line, "grad_norm"))
        add(line, "training", {name: line[name] for name in ("lr", "images_per_s")})
    for line in lines(run, "validation"):
        add(line, "validation", values(line, "val"))
        add(line, "validation/ema", values(line, "val_ema"))
    return found


def images_of(run: Path, kind: str) -> list[tuple[int, Any]]:
    return [
        (event.step, np.asarray(Image.open(io.BytesIO(event.encoded_image_string))))
        for event in read(run).Images(kind)
    ]


def assert_images_equal_files(run: Path) -> None:
    """Check that the event files contain exactly the images of the run folder, once each."""
    for kind in ("samples", "patch_maps"):
        files = sorted((run / kind).iterdir())
        event_images = images_of(run, kind)
        assert [images for images, _ in event_images] == [int(file.stem) for file in files]
        for (_, pixels), file in zip(event_images, files, strict=True):
            assert np.array_equal(pixels, np.asarray(Image.open(file)))


@pytest.mark.parametrize("name", METHODS)
def test_values_and_images_equal_those_of_the_run(name: str, data: Path, tmp_path: Path) -> None:
    run = training.train(with_tensorboard(name, data, tmp_path / "run"))
    found = scalars(run)
    assert found == logged(run)
    names = {
        "pix2pix": ("losses/g_l1", "validation/l1", "validation/ema/l1"),
        "cyclegan": ("losses/g_cycle_a", "validation/swd", "validation/ema/swd_ab"),
    }
    for tag in (*names[name], "gradients/generator", "training/lr"):
        assert [images for images, _ in found[tag]] == [4, 8, 12]
    assert_images_equal_files(run)
    assert len(images_of(run, "samples")) == 4  # also before the first step


@pytest.mark.parametrize("at", [1, 6, 9])
def test_a_resumed_run_has_no_step_twice(
    at: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crashes before the first checkpoint, between two checkpoints, and after unsaved values."""
    config = with_tensorboard(
        "pix2pix", data, tmp_path / "run", save_every=5, log_every=1, sample_every=1
    )
    train_until_crash(monkeypatch, at, config)
    run = training.train(config)
    assert len(list((run / "tensorboard").iterdir())) == 2
    assert scalars(run) == logged(run)
    assert [images for images, _ in scalars(run)["losses/g_l1"]] == list(range(1, 13))
    assert_images_equal_files(run)


def test_a_finished_run_adds_nothing_and_a_longer_one_adds_new_values(
    data: Path, tmp_path: Path
) -> None:
    config = with_tensorboard("pix2pix", data, tmp_path / "run")
    run = training.train(config)
    before = scalars(run)
    training.train(config)
    assert scalars(run) == before == logged(run)
    assert_images_equal_files(run)
    time.sleep(1.1)  # files are read in the order of their names, which start with the time in s
    training.train(with_tensorboard("pix2pix", data, run, epochs=3))
    assert scalars(run) == logged(run) and len(scalars(run)["losses/g_l1"]) == 5
    assert_images_equal_files(run)


@pytest.mark.parametrize("name", METHODS)
def test_it_does_not_change_training(name: str, data: Path, tmp_path: Path) -> None:
    enabled, disabled, other = (
        checkpoint_state(training.train(with_tensorboard(name, data, tmp_path / folder, **more)))
        for folder, more in (("with", {}), ("without", {"loggers": ()}), ("other", {"seed": 1}))
    )
    for part in ("method", "optimizers", "random"):
        assert identical(enabled[part], disabled[part])
    assert not identical(enabled["method"], other["method"])  # the control
    assert not (tmp_path / "without" / "tensorboard").exists()


def test_a_file_instead_of_the_folder_does_not_stop_training(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tensorboard").write_text("not a folder")
    run = training.train(with_tensorboard("pix2pix", data, tmp_path / "run"))
    messages = [line for line in capsys.readouterr().out.splitlines() if "TensorBoard" in line]
    assert len(messages) == 1 and messages[0].endswith("training continues without it")
    assert len(lines(run, "train")) == 3 and (run / "ab.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False])
def test_only_the_first_of_several_processes_logs(first: bool, tmp_path: Path) -> None:
    loggers = open_loggers(["tensorboard"], tmp_path, {}, 0, print) if first else []
    log = Log(tmp_path, 4, 0, 2, writes=first, loggers=loggers)
    for _ in range(4):
        log.add(1, 1, 0.1, {"g_l1": torch.tensor(0.5)}, {})
        if log.due:
            log.write_line()
    log.close()
    assert (tmp_path / "tensorboard").is_dir() == first
    if first:
        assert scalars(tmp_path)["losses/g_l1"] == [(2, 0.5), (4, 0.5)]


WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorboard":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from viceversa.cli import main
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("board", [True, False])
def test_a_missing_package_is_reported_before_training(board: bool, tmp_path: Path) -> None:
    """It is checked before the data folder."""
    arguments = ["train", "pix2pix", "nowhere", "--train.run", "run"]
    arguments += ["--train.loggers", "tensorboard"] * board
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and done.stdout == "" and list(tmp_path.iterdir()) == []
    assert done.stderr == (
        "viceversa: train.loggers needs the package tensorboard; install it with "
        "pip install 'viceversa[tensorboard]'\n"
        if board
        else "viceversa: there is no data folder or file nowhere\n"
    )


@pytest.mark.slow
def test_a_run_without_the_logger_needs_no_tensorboard(data: Path, tmp_path: Path) -> None:
    sections = tiny_sections("pix2pix", data, tmp_path / "run", train={"epochs": 1})
    recipe = tmp_path / "config.json"
    recipe.write_text(json.dumps(sections))
    subprocess.run(
        [sys.executable, "-c", WITHOUT, "train", str(recipe)], check=True, capture_output=True
    )
    assert (tmp_path / "run" / "ab.safetensors").is_file()
