"""The size at which images are translated, and files with A and B side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import command_error, command_output, train_arguments

from viceversa.checkpoint import container, read_header
from viceversa.errors import UserError
from viceversa.images import read
from viceversa.images.domain import DomainConfig
from viceversa.images.loading import resize_for
from viceversa.images.preprocessing import Preprocessing
from viceversa.inference import Translator

QUICK = ["--validate.every", "0", "--train.samples", "1"]


def put(path: Path, width: int, height: int, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pairs (side by side, 80x40 and one of 81x40) and its run; load_size 36, crop_size 32."""
    from viceversa.cli import main

    root = tmp_path_factory.mktemp("sizes")
    for number in range(4):
        put(root / "pairs" / f"{number}.png", 80 + (number == 3), 40, number)
    put(root / "pairs" / "3.png", 80, 40, 3)
    main([str(word) for word in train_arguments(root / "pairs", root / "run", *QUICK)])
    return root


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


# -- scale


@pytest.mark.parametrize(("words", "made"), [
    ([], (70, 50)), (["--size", "own"], (70, 50)), (["--size", "trained"], (32, 32)),
    (["--size", "48"], (48, 48)),
])  # fmt: skip
def test_size_of_a_translation(
    words: list[str], made: tuple[int, int], place: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    image = put(tmp_path / "x.png", 70, 50)
    told = command_output(
        capsys, "translate", place / "run/ab.safetensors", image, "-o", tmp_path / "r.png", *words
    )
    assert size(tmp_path / "r.png") == made
    assert ("1.5 times the size in training (36x36)" in told) == (made[0] > 54)
    translate = Translator.load(place / "run/ab.safetensors", "cpu", size=([*words, "own"])[-2]
                                if words else "own")  # fmt: skip
    assert np.array_equal(np.asarray(translate(image)), read(tmp_path / "r.png"))
    resized = resize_for(read(image), made[1], made[0], DomainConfig())
    own = Translator.load(place / "run/ab.safetensors", "cpu")
    assert np.array_equal(own(resized), read(tmp_path / "r.png"))


def test_one_note_names_the_images_that_are_large(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        put(tmp_path / "in" / f"{number}.png", 100, 90)
    put(tmp_path / "in" / "small.png", 54, 54)
    told = command_output(
        capsys, "translate", place / "run/ab.safetensors", tmp_path / "in", "-o", tmp_path / "out"
    )
    assert told.count("note: ") == 1 and "2.png and 2 more: more than 1.5 times" in told
    assert "small.png" not in told and "--size trained" in told
    told = command_output(
        capsys, "translate", place / "run/ab.safetensors", tmp_path / "in", "-o", tmp_path / "two",
        "--size", "trained",
    )  # fmt: skip
    assert "note:" not in told


@pytest.mark.parametrize(("preprocess", "width", "height", "trained", "whole", "words"), [
    ("resize_and_crop", 100, 50, 50 / 36, (32, 32), "36x36"),
    ("resize", 100, 50, 50 / 32, (32, 32), "32x32"),
    ("scale_width", 100, 50, 100 / 36, (18, 36), "36 pixels wide"),
    ("scale_width_and_crop", 100, 50, 100 / 36, (18, 36), "36 pixels wide"),
    ("scale_shortside", 100, 50, 50 / 36, (36, 72), "36 pixels on the shorter side"),
    ("crop", 100, 50, 1, (50, 100), ""), ("none", 100, 50, 1, (50, 100), ""),
])  # fmt: skip
def test_sizes_of_every_preprocessing(
    preprocess: str, width: int, height: int, trained: float, whole: tuple[int, int], words: str
) -> None:
    framing = Preprocessing(preprocess, 36, 32)
    pixels = np.zeros((height, width, 3), np.uint8)
    resized = framing.resized(pixels, "trained", DomainConfig())
    assert resized.shape[:2] == whole
    if preprocess in ("resize_and_crop", "resize"):
        trained = max(trained, width / (36 if "crop" in preprocess else 32))
    assert framing.enlargement(pixels, pixels) == pytest.approx(trained)
    assert words in framing.trained_size
    assert framing.resized(pixels, "own", DomainConfig()) is pixels
    assert framing.resized(pixels, "20", DomainConfig()).shape == (20, 20, 3)


@pytest.mark.parametrize("value", ["0", "-3", "big", "1.5", "", "9000"])
def test_a_size_that_is_none(
    value: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = put(tmp_path / "x.png", 20, 20)
    model = place / "run/ab.safetensors"
    told = command_error(capsys, "translate", model, image, "-o", tmp_path / "o", f"--size={value}")
    assert "--size" in told and not (tmp_path / "o").exists()
    explain = ["explain", place / "run", image, "-o", tmp_path / "e.png", f"--size={value}"]
    assert "--size" in command_error(capsys, *explain)
    with pytest.raises(UserError) as caught:
        Translator.load(model, "cpu", size=value)
    assert caught.value.option == "--size"


@pytest.mark.parametrize("trained", [
    None, 3, {}, {"data": 3}, {"data": {}}, {"data": {"preprocess": "resize"}},
    {"data": {"preprocess": "resize", "load_size": "x", "crop_size": 0}},
])  # fmt: skip
def test_a_model_that_does_not_say_its_size(trained: Any, place: Path, tmp_path: Path) -> None:
    tensors, header = container.load(place / "run/ab.safetensors")
    path = tmp_path / "ab.safetensors"
    container.save(path, tensors, {**header, "trained": trained, "side_by_side": "x"})
    image = put(tmp_path / "x.png", 80, 40)
    assert Translator.load(path, "cpu")(image).size == (80, 40)
    with pytest.raises(UserError, match="does not contain the size of the training images"):
        Translator.load(path, "cpu", size="trained")


def test_explain_at_the_size_of_training(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = put(tmp_path / "x.png", 90, 90)
    words = ["explain", place / "run", image, "--json", "--overwrite", "-o", tmp_path / "e.png"]

    def patches(*more: str) -> list[int]:
        found: list[int] = json.loads(command_output(capsys, *words, *more))["images"][0]["map"]
        return found

    assert patches("--size", "90") == patches() and patches("--size", "trained") != patches()
    assert patches("--size", "32") == patches("--size", "trained")
    note = "1.5 times the size in training"
    assert note in json.loads(command_output(capsys, *words))["notes"][0]
    words.remove("--json")
    assert note in command_output(capsys, *words)
    assert note not in command_output(capsys, *words, "--size", "trained")


# -- side by side


def test_the_header_has_the_shape_of_the_files(place: Path) -> None:
    for name in ("ab", "d_b"):
        assert read_header(place / "run" / f"{name}.safetensors")["side_by_side"] == [2.0]


@pytest.mark.parametrize(("width", "height", "refused_"), [
    (80, 40, True), (40, 20, True), (162, 80, True), (2000, 1001, True), (160, 80, True),
    (40, 40, False), (86, 40, False), (74, 40, False), (40, 80, False), (50, 30, False),
])  # fmt: skip
def test_a_file_of_that_shape_needs_a_half(
    width: int, height: int, refused_: bool, place: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    image = put(tmp_path / "in" / "x.png", width, height)
    model = place / "run/ab.safetensors"
    words = ["translate", model, image, "-o", tmp_path / "r.png", "--overwrite"]
    translate = Translator.load(model, "cpu")
    if not refused_:
        command_output(capsys, *words)
        assert size(tmp_path / "r.png") == translate(image).size == (width, height)
        return
    told = command_error(capsys, *words)
    assert f"is {width}x{height}, the aspect ratio of the side-by-side training files" in told
    assert all(f"--half {part}" in told for part in ("left", "right", "whole"))
    with pytest.raises(UserError, match="--half") as caught:
        translate(image)
    assert caught.value.option == "--half"
    with Image.open(image) as opened, pytest.raises(UserError, match="--half"):
        translate(opened)
    for part in ("left", "right", "whole"):
        command_output(capsys, *words, "--half", part)
        made = read(tmp_path / "r.png")
        assert made.shape[1] == (width if part == "whole" else width // 2)
        assert np.array_equal(np.asarray(translate(image, half=part)), made)


def test_the_others_are_translated(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "in" / "pair.png", 80, 40)
    put(tmp_path / "in" / "single.png", 40, 40)
    told = command_error(
        capsys, "translate", place / "run/ab.safetensors", tmp_path / "in", "-o", tmp_path / "out"
    )
    assert "pair.png is 80x40" in told
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["single.png"]


def test_explain_needs_a_half_too(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = put(tmp_path / "x.png", 80, 40)
    words = ["explain", place / "run", image, "-o", tmp_path / "e.png", "--overwrite"]
    assert "--half whole" in command_error(capsys, *words)
    for part in ("left", "right", "whole"):
        command_output(capsys, *words, "--half", part)
    words[1] = place / "run/d_b.safetensors"
    other = put(tmp_path / "y.png", 80, 40)
    assert "--half whole" in command_error(capsys, *words, "--source", other)
    command_output(capsys, *words, "--source", other, "--half", "whole")


def test_files_of_several_shapes() -> None:
    framing = Preprocessing(side_by_side=(2.0, 1.0))

    def half(width: int, height: int) -> None:
        framing.half(height, width, None, "x")

    with pytest.raises(UserError, match="side-by-side"):
        half(200, 100)
    half(100, 100)  # also the shape of a half of the others
    half(50, 100)
    with pytest.raises(UserError, match="has no halves"):
        framing.half(5, 1, "left", "x")
    Preprocessing().half(100, 200, None, "x")
