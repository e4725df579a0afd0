"""Test the size at which images are translated, and files with A and B side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import command_error, command_output, raises_user_error, train_arguments

from viceversa.checkpoint import container, read_header
from viceversa.cli import main
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
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `pairs` (side-by-side files of 80x40) and `run`, trained on them."""
    root = tmp_path_factory.mktemp("sizes")
    for number in range(4):
        put(root / "pairs" / f"{number}.png", 80, 40, number)

    main([str(word) for word in train_arguments(root / "pairs", root / "run", *QUICK)])
    return root


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


# -- scale


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (None, (70, 50)),
        ("own", (70, 50)),
        ("trained", (32, 32)),
        ("48", (48, 48)),
        ("24,40", (40, 24)),
    ],
)
def test_size_of_a_translation(
    size: str | None,
    expected: tuple[int, int],
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = put(tmp_path / "x.png", 70, 50)
    model, result = root / "run/ab.safetensors", tmp_path / "r.png"
    options = ["--size", size] if size else []
    text = command_output(capsys, "translate", model, image, "-o", result, *options)
    assert size_of(result) == expected
    assert ("1.5 times the size in training (36x36)" in text) == (expected[0] > 54)
    translate = Translator.load(model, "cpu", size=size or "own")
    assert np.array_equal(np.asarray(translate(image)), read(result))
    resized = resize_for(read(image), expected[1], expected[0], DomainConfig())
    own = Translator.load(root / "run/ab.safetensors", "cpu")
    assert np.array_equal(own(resized), read(tmp_path / "r.png"))


def test_one_note_lists_the_images_larger_than_in_training(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        put(tmp_path / "in" / f"{number}.png", 100, 90)
    put(tmp_path / "in" / "small.png", 54, 54)
    text = command_output(
        capsys, "translate", root / "run/ab.safetensors", tmp_path / "in", "-o", tmp_path / "out"
    )
    assert text.count("note: ") == 1 and "2.png and 2 more: more than 1.5 times" in text
    assert "small.png" not in text and "--size trained" in text
    words = ["translate", root / "run/ab.safetensors", tmp_path / "in", "-o", tmp_path / "two"]
    assert "note:" not in command_output(capsys, *words, "--size", "trained")


@pytest.mark.parametrize(
    ("preprocess", "width", "height", "enlargement", "size", "text"),
    [
        ("resize_and_crop", 100, 50, 50 / 36, (32, 32), "36x36"),
        ("resize", 100, 50, 50 / 32, (32, 32), "32x32"),
        ("scale_width", 100, 50, 100 / 36, (18, 36), "36 pixels wide"),
        ("scale_width_and_crop", 100, 50, 100 / 36, (18, 36), "36 pixels wide"),
        ("scale_shortside", 100, 50, 50 / 36, (36, 72), "36 pixels on the shorter side"),
        ("crop", 100, 50, 1, (50, 100), ""),
        ("none", 100, 50, 1, (50, 100), ""),
    ],
)
def test_sizes_of_every_preprocessing(
    preprocess: str, width: int, height: int, enlargement: float, size: tuple[int, int], text: str
) -> None:
    framing = Preprocessing(preprocess, 36, 32)
    pixels = np.zeros((height, width, 3), np.uint8)
    resized = framing.resized(pixels, "trained", DomainConfig())
    assert resized.shape[:2] == size
    if preprocess in ("resize_and_crop", "resize"):
        enlargement = max(enlargement, width / (36 if "crop" in preprocess else 32))
    assert framing.enlargement(pixels.shape, pixels.shape) == pytest.approx(enlargement)
    assert text in framing.trained_size
    assert framing.resized(pixels, "own", DomainConfig()) is pixels
    assert framing.resized(pixels, "20", DomainConfig()).shape == (20, 20, 3)


@pytest.mark.parametrize(
    "value", ["0", "-3", "big", "1.5", "", "9000", "24,0", "24,40,8", "24x40", "24,", "9000,8000"]
)
def test_invalid_size_is_refused(
    value: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = put(tmp_path / "x.png", 20, 20)
    model = root / "run/ab.safetensors"
    text = command_error(capsys, "translate", model, image, "-o", tmp_path / "o", f"--size={value}")
    assert "--size" in text and not (tmp_path / "o").exists()
    explain = ["explain", root / "run", image, "-o", tmp_path / "e.png", f"--size={value}"]
    assert "--size" in command_error(capsys, *explain)
    with raises_user_error("--size"):
        Translator.load(model, "cpu", size=value)


@pytest.mark.parametrize(
    "trained",
    [
        None,
        3,
        {},
        {"data": 3},
        {"data": {}},
        {"data": {"preprocess": "resize"}},
        {"data": {"preprocess": "resize", "load_size": "x", "crop_size": 0}},
    ],
)
def test_model_without_a_training_size(trained: Any, root: Path, tmp_path: Path) -> None:
    tensors, header = container.load(root / "run/ab.safetensors")
    path = tmp_path / "ab.safetensors"
    container.save(path, tensors, {**header, "trained": trained, "side_by_side": "x"})
    image = put(tmp_path / "x.png", 80, 40)
    assert Translator.load(path, "cpu")(image).size == (80, 40)
    with pytest.raises(UserError, match="does not contain the size of the training images"):
        Translator.load(path, "cpu", size="trained")


@pytest.mark.slow
def test_explain_has_the_option_size(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = put(tmp_path / "x.png", 90, 90)
    words = ["explain", root / "run", image, "--json", "--overwrite", "-o", tmp_path / "e.png"]

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


def test_model_header_contains_the_aspect_ratio_of_side_by_side_files(root: Path) -> None:
    for name in ("ab", "d_b"):
        assert read_header(root / "run" / f"{name}.safetensors")["side_by_side"] == [2.0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "height", "needs_half"),
    [
        (80, 40, True),
        (40, 20, True),
        (162, 80, True),
        (2000, 1001, True),
        (160, 80, True),
        (40, 40, False),
        (86, 40, False),
        (74, 40, False),
        (40, 80, False),
        (50, 30, False),
    ],
)
def test_file_of_the_aspect_ratio_of_pairs_needs_the_option_half(
    width: int,
    height: int,
    needs_half: bool,
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = put(tmp_path / "in" / "x.png", width, height)
    model = root / "run/ab.safetensors"
    words = ["translate", model, image, "-o", tmp_path / "r.png", "--overwrite"]
    translate = Translator.load(model, "cpu")
    if not needs_half:
        command_output(capsys, *words)
        assert size_of(tmp_path / "r.png") == translate(image).size == (width, height)
        return
    text = command_error(capsys, *words)
    assert f"is {width}x{height}, the aspect ratio of the side-by-side training files" in text
    assert all(f"--half {part}" in text for part in ("left", "right", "whole"))
    assert "images for this model are their left half: --half left (or" in text
    with raises_user_error("--half"):
        translate(image)
    with Image.open(image) as opened, raises_user_error("--half"):
        translate(opened)
    for part in ("left", "right", "whole"):
        command_output(capsys, *words, "--half", part)
        result = read(tmp_path / "r.png")
        assert result.shape[1] == (width if part == "whole" else width // 2)
        assert np.array_equal(np.asarray(translate(image, half=part)), result)


@pytest.mark.parametrize(
    ("direction", "advice"),
    [
        ("ba", "their right half: --half right (or --half left, --half whole)"),
        ("ab", "their left half: --half left (or --half right, --half whole)"),
    ],
)
def test_the_message_names_the_half_of_the_direction(
    direction: str, advice: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors, header = container.load(root / "run/ab.safetensors")
    model = tmp_path / f"{direction}.safetensors"
    container.save(model, tensors, {**header, "direction": direction})
    for number in range(5):
        put(tmp_path / "in" / f"{number}.png", 80, 40)
    out = tmp_path / "out"
    text = command_error(capsys, "translate", model, tmp_path / "in", "-o", out)
    assert advice in text
    assert "2.png and 2 more are 80x40, the aspect ratio" in text  # not: "2 more: is"
    with raises_user_error("--half") as caught:
        Translator.load(model, "cpu")(tmp_path / "in" / "0.png")
    assert advice in str(caught.value)


def test_nothing_is_reported_as_translated_if_all_images_fail(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "in" / "pair.png", 80, 40)
    words = ["translate", root / "run/ab.safetensors", tmp_path / "in", "-o", tmp_path / "out"]
    with pytest.raises(SystemExit):
        main([*map(str, words)])
    printed = capsys.readouterr()
    assert "pair.png is 80x40" in printed.err and "images translated" not in printed.out
    put(tmp_path / "in" / "single.png", 40, 40)  # negative control
    with pytest.raises(SystemExit):
        main([*map(str, words)])
    printed = capsys.readouterr()
    assert "pair.png is 80x40" in printed.err and "1 of 2 images translated" in printed.out


def test_other_images_of_the_folder_are_translated(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "in" / "pair.png", 80, 40)
    put(tmp_path / "in" / "single.png", 40, 40)
    text = command_error(
        capsys, "translate", root / "run/ab.safetensors", tmp_path / "in", "-o", tmp_path / "out"
    )
    assert "pair.png is 80x40" in text
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["single.png"]


@pytest.mark.slow
def test_explain_needs_the_option_half_too(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = put(tmp_path / "x.png", 80, 40)
    words = ["explain", root / "run", image, "-o", tmp_path / "e.png", "--overwrite"]
    assert "--half whole" in command_error(capsys, *words)
    for part in ("left", "right", "whole"):
        command_output(capsys, *words, "--half", part)
    words[1] = root / "run/d_b.safetensors"
    other = put(tmp_path / "y.png", 80, 40)
    assert "--half whole" in command_error(capsys, *words, "--source", other)
    command_output(capsys, *words, "--source", other, "--half", "whole")


def test_side_by_side_files_of_several_aspect_ratios() -> None:
    framing = Preprocessing(side_by_side=(2.0, 1.0))

    def half(width: int, height: int) -> None:
        framing.half(height, width, None, "x")

    with pytest.raises(UserError, match="side-by-side"):
        half(200, 100)
    half(100, 100)  # a half of the other files has this aspect ratio too
    half(50, 100)
    with pytest.raises(UserError, match="has no halves"):
        framing.half(5, 1, "left", "x")
    Preprocessing().half(100, 200, None, "x")
