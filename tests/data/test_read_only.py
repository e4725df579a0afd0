"""Test that no command writes into a dataset, whether named directly, by a link or by a model."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support import (
    command_error,
    command_output,
    digest,
    noise_images,
    raises_user_error,
    train_arguments,
)

from viceversa import evaluate
from viceversa.data.readonly import refuse_output_in_data, training_data


@pytest.fixture(scope="module")
def root_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data`, `loose/0.png`, and `run`, trained on `data` by a relative path."""
    root = tmp_path_factory.mktemp("root_folder")
    for domain in "AB":
        noise_images(root / "data" / "train" / domain)
        noise_images(root / "data" / "val" / domain)
    noise_images(root / "loose")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        from viceversa.cli import main

        words = train_arguments(Path("data"), Path("run"), "--validate.every", "0")
        main([str(word) for word in words])
    return root


COMMANDS: dict[str, Callable[[str], list[str]]] = {
    "translate one image": lambda out: [
        "translate",
        "run/ab.safetensors",
        "loose/0.png",
        "-o",
        out,
    ],
    "translate by a name": lambda out: [
        "translate",
        "run/ab.safetensors",
        "loose/0.png",
        "-o",
        f"{out}/r.png",
    ],
    "translate a folder": lambda out: ["translate", "run/ab.safetensors", "loose", "-o", out],
    "translate with the best": lambda out: [
        "translate",
        "run/best/ab.safetensors",
        "loose",
        "-o",
        out,
    ],
    "explain": lambda out: ["explain", "run", "loose/0.png", "-o", f"{out}/e.png"],
    "explain a discriminator": lambda out: [
        "explain",
        "run/d_b.safetensors",
        "loose/0.png",
        "--source",
        "loose/1.png",
        "-o",
        f"{out}/e.png",
    ],
    "evaluate": lambda out: ["evaluate", "run", "data", "-o", out],
    "evaluate the run's data": lambda out: ["evaluate", "run", "-o", out],
    "check --sheet": lambda out: ["check", "data", "--sheet", f"{out}/s.png"],
    "check --preview": lambda out: ["check", "data", "--preview", f"{out}/s.png"],
    "compare": lambda out: ["compare", "run", "copy", "-o", f"{out}/c.html"],
    "train": lambda out: ["train", "pix2pix", "data", "--train.run", out],
}


@pytest.fixture
def work(root_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("data", "loose", "run"):
        shutil.copytree(root_folder / name, tmp_path / name)
    shutil.copytree(root_folder / "run", tmp_path / "run" / "best")
    shutil.copytree(root_folder / "run", tmp_path / "copy")
    (tmp_path / "link").symlink_to("data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("out", ["data", "data/train/out", "out/../data/new/er", "link/out"])
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_refuse_to_write_into_the_dataset(
    command: str, out: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digest(work / "data")
    message = command_error(capsys, *COMMANDS[command](out))
    assert "is inside the data folder" in message, message
    assert digest(work / "data") == before and not (work / "out").exists()


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "train"])
def test_commands_write_outside_of_the_dataset(
    command: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digest(work / "data")
    command_output(
        capsys, *COMMANDS[command]("out"), *(["--device", "cpu"] if "run" in command else [])
    )
    assert any((work / "out").iterdir()) and digest(work / "data") == before


def test_folder_to_translate_is_protected_and_a_glob_is_not(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["translate", "run/ab.safetensors"]
    assert "data folder loose" in command_error(capsys, *words, "loose", "-o", "loose/out")
    assert not (work / "loose" / "out").exists()
    command_output(capsys, *words, "loose/*.png", "-o", "loose/out")
    command_output(capsys, *words, "loose/0.png", "-o", "loose/out2")
    command_output(capsys, *words, "loose/0.png", "-o", "loose/r.jpg")
    (work / "deep").mkdir()
    (work / "deep" / "in").symlink_to(work / "loose")
    command_output(capsys, *words, "loose/out", "-o", "loose/out3")  # beside it
    (work / "results").mkdir()
    (work / "results" / "sub").symlink_to(work / "data")
    (work / "tree" / "sub").mkdir(parents=True)
    shutil.copy(work / "loose" / "0.png", work / "tree" / "sub" / "new.png")
    assert "data folder" in command_error(capsys, *words, "tree", "-o", "results")
    assert not (work / "data" / "new.png").exists()


def test_evaluate_in_python_refuses_to_write_into_the_dataset(work: Path) -> None:
    with raises_user_error("-o", Path("data/ev")):
        evaluate("run", "data", out="data/ev")


def test_current_folder_as_dataset_and_the_advised_run_folder(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(work / "data")
    words = [str(word) for word in train_arguments(Path("."), Path("x"))]
    at = words.index("--train.run")
    words = words[:at] + words[at + 2 :]
    message = command_error(capsys, *words)
    assert "train.run runs/pix2pix is inside the data folder" in message
    advised = message.split("--train.run ")[1].split()[0]
    before = digest(work / "data")
    command_output(capsys, *words, "--train.run", advised, "--validate.every", "0")
    assert digest(work / "data") == before
    assert (work / "runs" / "pix2pix" / "ab.safetensors").is_file()


@pytest.mark.parametrize("name", ["set.zip", "pairs.csv", "pairs.jsonl"])
def test_archive_or_manifest_protects_its_folder(
    name: str, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = work / "data" / name
    if name.endswith("zip"):
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr("x", b"")
    else:
        data.write_text("a,b\n")
    with raises_user_error("-o", Path("data/out")):
        refuse_output_in_data(Path("data/out"), Path("data") / name, "-o")
    refuse_output_in_data(Path("out"), Path("data") / name, "-o")
    monkeypatch.chdir(work / "data")  # contains runs/ too
    refuse_output_in_data(Path("runs/mine"), Path(name), "train.run")
    refuse_output_in_data(Path("runs/mine"), Path("nowhere.zip"), "train.run")


def test_dataset_of_a_model(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def header(path: str, run: str) -> dict[str, object]:
        return {"trained": {"data": {"path": path}, "train": {"run": run}}}

    model = Path("run/ab.safetensors")
    assert training_data(header("data", "run"), model) == work / "data"
    best = Path("run/best/ab.safetensors")
    assert training_data(header("data", "run"), best) == work / "data"
    assert training_data(header(str(work / "data"), "gone"), model) == work / "data"
    assert training_data(header("gone", "run"), model) is None
    assert training_data({}, model) is None and training_data({"trained": 3}, model) is None
    assert training_data(header(".", "gone"), model) is None  # "." is not resolved
    (work / "else").mkdir()
    monkeypatch.chdir(work / "else")
    model = work / model
    assert training_data(header("data", "run"), model) == work / "data"  # from any current folder
    assert training_data(header(".", "run"), model) == work
