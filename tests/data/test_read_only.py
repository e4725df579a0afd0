"""Nothing is written into a data set: not by name, by a link, or in the data of a model."""

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
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/A, data/B, loose/0.png, and run, which was trained on data by a relative path."""
    root = tmp_path_factory.mktemp("place")
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
def there(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("data", "loose", "run"):
        shutil.copytree(place / name, tmp_path / name)
    shutil.copytree(place / "run", tmp_path / "run" / "best")
    shutil.copytree(place / "run", tmp_path / "copy")
    (tmp_path / "link").symlink_to("data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("out", ["data", "data/train/out", "out/../data/new/er", "link/out"])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_writes_into_the_data(
    command: str, out: str, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digest(there / "data")
    told = command_error(capsys, *COMMANDS[command](out))
    assert "is inside the data folder" in told, told
    assert digest(there / "data") == before and not (there / "out").exists()


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "train"])
def test_elsewhere_they_write(
    command: str, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digest(there / "data")
    command_output(
        capsys, *COMMANDS[command]("out"), *(["--device", "cpu"] if "run" in command else [])
    )
    assert any((there / "out").iterdir()) and digest(there / "data") == before


def test_a_folder_to_translate_is_one_and_a_glob_is_not(
    there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["translate", "run/ab.safetensors"]
    assert "data folder loose" in command_error(capsys, *words, "loose", "-o", "loose/out")
    assert not (there / "loose" / "out").exists()
    command_output(capsys, *words, "loose/*.png", "-o", "loose/out")
    command_output(capsys, *words, "loose/0.png", "-o", "loose/out2")
    command_output(capsys, *words, "loose/0.png", "-o", "loose/r.jpg")
    (there / "deep").mkdir()
    (there / "deep" / "in").symlink_to(there / "loose")
    command_output(capsys, *words, "loose/out", "-o", "loose/out3")  # beside it
    (there / "results").mkdir()
    (there / "results" / "sub").symlink_to(there / "data")
    (there / "tree" / "sub").mkdir(parents=True)
    shutil.copy(there / "loose" / "0.png", there / "tree" / "sub" / "new.png")
    assert "data folder" in command_error(capsys, *words, "tree", "-o", "results")
    assert not (there / "data" / "new.png").exists()


def test_a_function_refuses_as_the_command_does(there: Path) -> None:
    with raises_user_error("-o", Path("data/ev")):
        evaluate("run", "data", out="data/ev")


def test_the_current_folder_as_data_and_a_run_that_works(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(there / "data")
    words = [str(word) for word in train_arguments(Path("."), Path("x"))]
    at = words.index("--train.run")
    words = words[:at] + words[at + 2 :]
    told = command_error(capsys, *words)
    assert "train.run runs/pix2pix is inside the data folder" in told
    advised = told.split("--train.run ")[1].split()[0]
    before = digest(there / "data")
    command_output(capsys, *words, "--train.run", advised, "--validate.every", "0")
    assert digest(there / "data") == before
    assert (there / "runs" / "pix2pix" / "ab.safetensors").is_file()


@pytest.mark.parametrize("name", ["set.zip", "pairs.csv", "pairs.jsonl"])
def test_an_archive_or_a_manifest_stands_for_its_folder(
    name: str, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = there / "data" / name
    if name.endswith("zip"):
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr("x", b"")
    else:
        data.write_text("a,b\n")
    with raises_user_error("-o", Path("data/out")):
        refuse_output_in_data(Path("data/out"), Path("data") / name, "-o")
    refuse_output_in_data(Path("out"), Path("data") / name, "-o")
    monkeypatch.chdir(there / "data")  # which holds runs/ too
    refuse_output_in_data(Path("runs/mine"), Path(name), "train.run")
    refuse_output_in_data(Path("runs/mine"), Path("nowhere.zip"), "train.run")


def test_the_data_of_a_model(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def header(path: str, run: str) -> dict[str, object]:
        return {"trained": {"data": {"path": path}, "train": {"run": run}}}

    model = Path("run/ab.safetensors")
    assert training_data(header("data", "run"), model) == there / "data"
    best = Path("run/best/ab.safetensors")
    assert training_data(header("data", "run"), best) == there / "data"
    assert training_data(header(str(there / "data"), "gone"), model) == there / "data"
    assert training_data(header("gone", "run"), model) is None
    assert training_data({}, model) is None and training_data({"trained": 3}, model) is None
    assert training_data(header(".", "gone"), model) is None  # "." was another folder
    (there / "else").mkdir()
    monkeypatch.chdir(there / "else")
    model = there / model
    assert training_data(header("data", "run"), model) == there / "data"  # from anywhere
    assert training_data(header(".", "run"), model) == there
