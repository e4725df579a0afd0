"""Moved and copied runs are resumed in the folder that contains their config.json."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import command_error, option_arguments

from viceversa.cli import main
from viceversa.config.recipes import read_recipe

TINY = option_arguments(
    {
        "generator.width": 2,
        "generator.depth": 2,
        "discriminator.width": 2,
        "discriminator.layers": 1,
        "data.load_size": 18,
        "data.crop_size": 16,
        "data.workers": 0,
        "train.device": "cpu",
        "train.precision": "fp32",
        "train.samples": 0,
        "validate.every": 0,
        "train.epochs": 1,
    }
)


def write_images(root: Path, first_seed: int = 0) -> None:
    for number in range(3):
        for domain in "AB":
            path = root / domain / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            seed = first_seed + number + 100 * (domain == "B")
            pixels = np.random.default_rng(seed).integers(0, 256, (18, 18, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)


def checkpoints(run: str | Path) -> list[int]:
    return sorted(int(path.stem) for path in (Path(run) / "checkpoints").glob("*.safetensors"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create data/ and a run of it, runs/one, in the current directory."""
    project_folder = tmp_path / "project"
    write_images(project_folder / "data")
    monkeypatch.chdir(project_folder)
    main(["train", "pix2pix", "data", "--train.run", "runs/one", *TINY])
    assert checkpoints("runs/one") == [3]
    return project_folder


def resume(recipe: str | Path, *more: str) -> None:
    main(["train", str(recipe), "--train.epochs", "2", *more])


@pytest.mark.slow
def test_a_copy_trains_in_its_own_folder(project: Path) -> None:
    shutil.copytree("runs/one", "runs/two")
    resume("runs/two/config.json")
    assert (checkpoints("runs/one"), checkpoints("runs/two")) == ([3], [3, 6])
    assert json.loads(Path("runs/two/config.json").read_text())["train"]["run"] == "runs/two"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["config.json", "", "/"])
def test_a_moved_run_is_resumed_where_it_is(
    name: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.move("runs/one", "new")
    resume(f"new/{name}" if name == "config.json" else f"new{name}")
    assert checkpoints("new") == [3, 6] and not Path("runs/one").exists()
    message = capsys.readouterr().out
    assert f"data: {project / 'data'}\n" in message and "the training images changed" not in message


def test_run_and_data_may_be_moved_together(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = project.rename(project.with_name("elsewhere"))
    for directory in (moved.parent, moved / "runs" / "one", Path("/")):
        monkeypatch.chdir(directory)
        capsys.readouterr()
        resume(moved / "runs" / "one" / "config.json")
        assert f"data: {moved / 'data'}\n" in capsys.readouterr().out
    assert checkpoints(moved / "runs" / "one") == [3, 6]


def test_a_copied_project_uses_its_own_data(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy, other = project.with_name("copy"), project.with_name("other")
    for folder in (copy, other):
        shutil.copytree(project, folder)
    resume(copy / "runs" / "one")
    assert f"data: {copy / 'data'}\n" in capsys.readouterr().out
    shutil.rmtree(other / "data")
    write_images(other / "data", first_seed=500)  # another dataset with the same names
    with pytest.raises(SystemExit):
        resume(other / "runs" / "one")
    assert "has no image in common" in capsys.readouterr().err


def test_a_moved_run_finds_its_data_by_the_absolute_path(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.move("runs/one", tmp_path / "far")
    monkeypatch.chdir(tmp_path)
    resume("far/config.json")
    assert f"data: {project / 'data'}\n" in capsys.readouterr().out
    assert checkpoints("far") == [3, 6]


def test_missing_data_are_reported_with_the_paths_that_were_tried(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("data").rename("images")
    message = command_error(capsys, "train", "runs/one", "--train.epochs", "2")
    assert f"tried {project / 'data'}; give its path: viceversa train runs/one DATA" in message
    resume("runs/one", "--data.path", "images")
    assert checkpoints("runs/one") == [3, 6]


def test_links_to_a_run_and_to_its_data(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.move("data", tmp_path / "store")
    Path("data").symlink_to(tmp_path / "store")
    Path("latest").symlink_to("runs/one")
    resume("latest/config.json")
    assert checkpoints("runs/one") == [3, 6]
    assert f"data: {project / 'data'}\n" in capsys.readouterr().out
    location = json.loads(Path("runs/one/config.json").read_text())["data_location"]
    assert location == {"absolute": str(project / "data"), "relative": "../../data"}


def test_with_train_run_a_config_is_a_recipe(project: Path) -> None:
    shutil.move("runs/one", "old")
    main(["train", "old/config.json", "--train.run", "fresh"])
    assert checkpoints("fresh") == checkpoints("old") == [3]


def test_a_recipe_based_on_a_run_has_a_separate_run(project: Path) -> None:
    Path("mine.toml").write_text('base = "runs/one/config.json"\n')
    main(["train", "mine.toml"])
    assert checkpoints("runs/mine") == checkpoints("runs/one") == [3]


def test_a_config_outside_of_a_run_folder_is_a_recipe(project: Path) -> None:
    Path("configs").mkdir()
    shutil.copy("runs/one/config.json", "configs/config.json")
    assert read_recipe("configs/config.json")["train"]["run"] == "runs/one"
    assert "data_location" not in read_recipe("configs/config.json")


def test_data_of_an_old_run_without_location_are_found_from_the_current_directory(
    project: Path,
) -> None:
    path = Path("runs/one/config.json")
    table = json.loads(path.read_text())
    del table["data_location"]
    path.write_text(json.dumps(table))
    shutil.move("runs/one", "new")
    resume("new")
    assert checkpoints("new") == [3, 6]
