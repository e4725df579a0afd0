"""Mistakes that are easy to make: no file is overwritten, and no run is mixed with another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import command_error, command_output, digest, noise_images, train_arguments

from viceversa.cli import main
from viceversa.errors import UserError
from viceversa.images import read
from viceversa.inference import Translator


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for domain in "AB":
        noise_images(tmp_path / "data" / domain)
    return tmp_path / "data"


@pytest.mark.parametrize("option", ["--sheet", "--preview"])
def test_no_image_is_written_into_the_data_folder(
    option: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digest(data)
    message = command_error(capsys, "check", data, option, data / "A" / "0.png")
    assert option in message and "data folder" in message
    assert digest(data) == before
    command_output(capsys, "check", data, option, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("inside", ["", "runs", "A"])
def test_a_run_inside_the_data_folder_is_refused(
    inside: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digest(data)
    message = command_error(capsys, *train_arguments(data, data / inside))
    assert "train.run" in message and "is inside the data folder" in message
    assert digest(data) == before


@pytest.mark.slow
def test_existing_files_are_overwritten_only_with_overwrite(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command_output(capsys, *train_arguments(data, tmp_path / "run"))
    arguments = ["translate", tmp_path / "run" / "ab.safetensors", data / "A", "--device", "cpu"]
    before = digest(data)
    assert "data folder" in command_error(capsys, *arguments, "-o", data / "B", "--overwrite")
    shutil.copytree(data / "B", tmp_path / "B")
    message = command_error(capsys, *arguments, "-o", tmp_path / "B")
    assert "B/0.png is there already, and 1 more" in message and "--overwrite" in message
    assert digest(data) == before
    command_output(capsys, *arguments, "-o", tmp_path / "out")
    first = digest(tmp_path / "out")
    command_error(capsys, *arguments, "-o", tmp_path / "out")
    (tmp_path / "out" / "0.png").write_bytes(b"")
    command_output(capsys, *arguments, "-o", tmp_path / "out", "--overwrite")
    assert digest(tmp_path / "out") == first


@pytest.mark.slow
def test_a_run_cannot_be_resumed_in_another_direction(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command_output(capsys, *train_arguments(data, run))
    before = (run / "ab.safetensors").read_bytes()
    message = command_error(capsys, *train_arguments(data, run, "--data.direction", "ba"))
    assert "data.direction ab" in message and not (run / "ba.safetensors").exists()
    assert (run / "ab.safetensors").read_bytes() == before


@pytest.mark.slow
def test_a_run_is_resumed_with_its_own_data_which_may_be_moved(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command_output(capsys, *train_arguments(data, run))
    for domain in "AB":
        noise_images(tmp_path / "other" / domain, size=(44, 44))
    message = command_error(
        capsys, *train_arguments(tmp_path / "other", run, "--train.epochs", "2")
    )
    assert "was trained on" in message and "other has no image in common" in message
    shutil.move(data, tmp_path / "moved")
    assert "resuming from" in command_output(
        capsys, *train_arguments(tmp_path / "moved", run, "--train.epochs", "2")
    )


@pytest.mark.slow
def test_fine_tuning_reports_the_initialized_networks_and_refuses_other_directions(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command_output(capsys, *train_arguments(data, tmp_path / "ba", "--data.direction", "ba"))
    message = command_error(
        capsys, *train_arguments(data, tmp_path / "run", "--train.init", str(tmp_path / "ba"))
    )
    assert "translates ba, this run translates ab" in message and not (tmp_path / "run").exists()
    init = str(tmp_path / "ba" / "ba.safetensors")
    options = ["--generator.name", "unet", "--train.init", init, "--generator.dropout_from", "2"]
    message = command_output(
        capsys, *train_arguments(data, tmp_path / "cycle", *options, method="cyclegan")
    )
    assert f"ba is initialized from {init}; ab is initialized randomly" in message


@pytest.mark.slow
@pytest.mark.parametrize("names", [("a", "b"), ("photos", "labels")])
def test_folders_with_other_names_are_not_read_as_side_by_side_files(
    names: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in names:
        noise_images(tmp_path / "data" / name)
    message = command_error(capsys, *train_arguments(tmp_path / "data", tmp_path / "run"))
    assert all(name in message for name in names) and "name them A and B" in message
    arguments = train_arguments(
        tmp_path / "data", tmp_path / "run", "--data.layout", "side-by-side"
    )
    assert "side-by-side files" in command_output(capsys, *arguments)


@pytest.mark.slow
def test_the_config_of_a_run_is_a_recipe(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command_output(capsys, *train_arguments(data, run))
    message = command_error(capsys, *train_arguments(data, run, "--generator.width", "8"))
    assert "generator.width 4 -> 8" in message and f"viceversa train {run}/config.json" in message
    assert "resuming from" in command_output(
        capsys, "train", run / "config.json", "--train.epochs", "2"
    )
    assert "width = 4\n" in command_output(capsys, "show", run / "config.json")
    (tmp_path / "list.json").write_text("[1]")
    assert "list.json" in command_error(capsys, "show", tmp_path / "list.json")


@pytest.mark.parametrize("arguments", [["show"], ["translate", "-o", "out", "x.png"]])
def test_a_folder_instead_of_a_file_is_reported(
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("x.png")
    (tmp_path / "run").mkdir()
    message = command_error(capsys, arguments[0], "run", *arguments[1:])
    assert "the folder run has neither ab.safetensors nor ba.safetensors" in message
    assert "run is a folder; the recipe comes first" in command_error(
        capsys, "train", "run", "pix2pix"
    )


def test_folders_that_cannot_be_created_are_reported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    assert "file" in command_error(capsys, *train_arguments(data, tmp_path / "file" / "run"))
    assert "file" in command_error(capsys, "check", data, "--sheet", tmp_path / "file" / "x.png")
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.slow
def test_check_reports_the_colors_that_train_refuses(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (data / "B").iterdir():
        Image.new("RGB", (40, 40), "#00ff80").save(path)
    labels = ["--data.b.kind", "labels", "--data.b.classes"]
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(["check", str(data), *labels, "#000000,#ffffff"])
    assert caught.value.code == 1
    message = capsys.readouterr().out
    assert "contains the colour #00ff80" in message and "No problems detected" not in message
    assert "#00ff80" in command_error(
        capsys, *train_arguments(data, tmp_path / "run", *labels, "#000000,#ffffff")
    )
    assert "#00ff80" not in command_output(capsys, "check", data, *labels, "#000000, #00ff80")


def test_check_ends_with_the_command_for_training(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data.crop_size", "32", "--sheet", tmp_path / "x.png", "--data.flip=false"]
    arguments = ["check", data, "--recipe", "facades", *options]
    line = command_output(capsys, *arguments).splitlines()[-1]
    expected = f"facades {data} --data.crop_size 32 --data.flip=false"
    assert line.endswith(f"viceversa train {expected}")
    message = json.loads(command_output(capsys, *arguments, "--json"))
    assert message["advice"][-1].endswith(expected)


@pytest.mark.slow
def test_training_prints_the_warnings_of_the_check(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(data / "A" / "0.png", data / "A" / "1.png")
    message = command_output(capsys, *train_arguments(data, tmp_path / "run"))
    assert "warning: images that are more than once" in message


@pytest.mark.slow
@pytest.mark.parametrize("half", ["left", "right"])
def test_half_of_a_pair_is_translated(
    half: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "run" / "ab.safetensors"
    command_output(capsys, *train_arguments(data, tmp_path / "run"))
    noise_images(tmp_path / "pairs", count=1, size=(24, 48))
    command_output(
        capsys, "translate", model, tmp_path / "pairs", "-o", tmp_path / "out", "--half", half
    )
    pair = read(tmp_path / "pairs" / "0.png")
    one = np.ascontiguousarray(pair[:, :24] if half == "left" else pair[:, 24:])
    assert np.array_equal(read(tmp_path / "out" / "0.png"), Translator.load(model, "cpu")(one))


@pytest.mark.slow
def test_an_unknown_policy_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command_output(capsys, *train_arguments(data, tmp_path / "run"))
    with pytest.raises(UserError, match="policy is one of image, running, paper, not 'papr'"):
        Translator.load(tmp_path / "run" / "ab.safetensors", policy="papr")  # type: ignore[arg-type]
