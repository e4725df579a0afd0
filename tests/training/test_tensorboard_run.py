"""What a run tells TensorBoard: what its log and its sheets tell, once each, and at no price."""

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
from monitored_runs import METHODS, data_set, lines, settings, tiny
from PIL import Image
from support import checkpoint_state, identical, train_until_crash

from viceversa.config.run import RunConfig
from viceversa.training import loop as training
from viceversa.training.log import Log

pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
Points = dict[str, list[tuple[int, float]]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_set(tmp_path_factory.mktemp("board"))


def watched(name: str, data: Path, run: Path, /, **train: Any) -> RunConfig:
    """A run with a line, a validation and a sheet each four images; of twelve images in all."""
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
    """The numbers of the log, as TensorBoard's files hold numbers."""
    found: Points = {}

    def add(line: dict[str, Any], group: str, values: dict[str, float]) -> None:
        for name, value in values.items():
            point = line["images"], float(np.float32(value))
            found.setdefault(f"{group}/{name}", []).append(point)

    for line in lines(run, "losses"):
        add(line, "losses", line["losses"])
        add(line, "gradients", line["gradients"])
        add(line, "training", {name: line[name] for name in ("lr", "images_per_s")})
    for line in lines(run, "validation"):
        add(line, "validation", line["validation"]["raw"])
        add(line, "validation/ema", line["validation"]["ema"])
    return found


def pictures(run: Path, kind: str) -> list[tuple[int, Any]]:
    return [
        (event.step, np.asarray(Image.open(io.BytesIO(event.encoded_image_string))))
        for event in read(run).Images(kind)
    ]


def refuse_other_pictures(run: Path) -> None:
    """Every sheet of the run's folder is there once, and no other."""
    for kind in ("samples", "patch_maps"):
        sheets = sorted((run / kind).iterdir())
        shown = pictures(run, kind)
        assert [images for images, _ in shown] == [int(sheet.stem) for sheet in sheets]
        for (_, pixels), sheet in zip(shown, sheets, strict=True):
            assert np.array_equal(pixels, np.asarray(Image.open(sheet)))


@pytest.mark.parametrize("name", METHODS)
def test_numbers_and_pictures_are_those_of_the_run(name: str, data: Path, tmp_path: Path) -> None:
    run = training.train(watched(name, data, tmp_path / "run"))
    found = scalars(run)
    assert found == logged(run)
    names = {
        "pix2pix": ("losses/g_l1", "validation/l1", "validation/ema/l1"),
        "cyclegan": ("losses/g_cycle_a", "validation/swd", "validation/ema/swd_ab"),
    }
    for tag in (*names[name], "gradients/generator", "training/lr"):
        assert [images for images, _ in found[tag]] == [4, 8, 12]
    refuse_other_pictures(run)
    assert len(pictures(run, "samples")) == 4  # of the networks as they begin, too


@pytest.mark.parametrize("at", [1, 6, 9])
def test_a_run_that_was_stopped_and_goes_on_has_no_moment_twice(
    at: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before the first checkpoint, between two of them, and past numbers not yet saved."""
    config = watched("pix2pix", data, tmp_path / "run", save_every=5, log_every=1, sample_every=1)
    train_until_crash(monkeypatch, at, config)
    run = training.train(config)
    assert len(list((run / "tensorboard").iterdir())) == 2
    assert scalars(run) == logged(run)
    assert [images for images, _ in scalars(run)["losses/g_l1"]] == list(range(1, 13))
    refuse_other_pictures(run)


def test_a_finished_run_adds_nothing_and_a_longer_one_what_is_new(
    data: Path, tmp_path: Path
) -> None:
    config = watched("pix2pix", data, tmp_path / "run")
    run = training.train(config)
    before = scalars(run)
    training.train(config)
    assert scalars(run) == before == logged(run)
    refuse_other_pictures(run)
    time.sleep(1.1)  # files are read in the order of their names, which begin with the second
    training.train(watched("pix2pix", data, run, epochs=3))
    assert scalars(run) == logged(run) and len(scalars(run)["losses/g_l1"]) == 5
    refuse_other_pictures(run)


@pytest.mark.parametrize("name", METHODS)
def test_it_changes_nothing_that_is_learnt(name: str, data: Path, tmp_path: Path) -> None:
    with_it, without, other = (
        checkpoint_state(training.train(watched(name, data, tmp_path / folder, **more)))
        for folder, more in (("with", {}), ("without", {"loggers": ()}), ("other", {"seed": 1}))
    )
    for part in ("method", "optimizers", "random"):
        assert identical(with_it[part], without[part])
    assert not identical(with_it["method"], other["method"])  # the control
    assert not (tmp_path / "without" / "tensorboard").exists()


def test_a_file_in_the_way_costs_tensorboard_alone(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tensorboard").write_text("not a folder")
    run = training.train(watched("pix2pix", data, tmp_path / "run"))
    told = [line for line in capsys.readouterr().out.splitlines() if "TensorBoard" in line]
    assert len(told) == 1 and told[0].endswith("training continues without it")
    assert len(lines(run, "losses")) == 3 and (run / "ab.safetensors").is_file()


@pytest.mark.parametrize("first", [True, False])
def test_of_several_processes_the_first_alone_writes(first: bool, tmp_path: Path) -> None:
    log = Log(tmp_path, 4, 0, 2, writes=first, tensorboard=True)
    for _ in range(4):
        log.add(1, 1, {"g_l1": torch.tensor(0.5)}, {})
        if log.due:
            log.write_line(1, 0.1)
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


@pytest.mark.parametrize("board", [True, False])
def test_without_the_package_a_run_does_not_begin(board: bool, tmp_path: Path) -> None:
    """Not even with data that is not there: the package is asked for before anything else."""
    words = ["train", "pix2pix", "nowhere", "--train.run", "run"]
    words += ["--train.loggers", "tensorboard"] * board
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *words], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == "" and list(tmp_path.iterdir()) == []
    assert done.stderr == (
        "viceversa: train.loggers needs the package tensorboard; install it with "
        "pip install 'viceversa[tensorboard]'\n"
        if board else "viceversa: there is no data folder or file nowhere\n"
    )  # fmt: skip


def test_a_run_without_it_needs_no_tensorboard(data: Path, tmp_path: Path) -> None:
    sections = tiny("pix2pix", data, tmp_path / "run", train={"epochs": 1})
    recipe = tmp_path / "config.json"
    recipe.write_text(json.dumps(sections))
    subprocess.run(
        [sys.executable, "-c", WITHOUT, "train", str(recipe)], check=True, capture_output=True
    )
    assert (tmp_path / "run" / "ab.safetensors").is_file()
