"""Test advice on image sizes, and warnings about images that are resized to squares."""

from __future__ import annotations

import json
import re
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import command_error, command_output

from viceversa.networks.sizes import nearest_size

OPTIONS = (
    "--generator.depth 4 --generator.width 4 --discriminator.width 4 --discriminator.layers 2 "
    "--train.epochs 1 --train.device cpu --train.precision fp32 --train.samples 1 "
    "--validate.every 0"
)
TINY = OPTIONS.split()


def data(root: Path, width: int, height: int, side_by_side: bool = False) -> Path:
    rng = np.random.default_rng(0)
    for number in range(2):
        for name in ("",) if side_by_side else ("A", "B"):
            (root / name).mkdir(parents=True, exist_ok=True)
            shape = height, width * (1 + side_by_side), 3
            pixels = rng.integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.mark.parametrize("side_by_side", [False, True])
@pytest.mark.parametrize(
    ("preprocess", "load_size", "crop_size", "advice"),
    [
        ("scale_width", 64, 64, "load_size 48 gives height 32, width 48"),
        ("scale_shortside", 43, 64, "load_size 32 gives height 32, width 48"),
        ("resize", None, 72, "crop_size 64 gives 64x64"),
        ("resize_and_crop", 72, 71, "crop_size 64 gives 64x64"),
        ("resize_and_crop", 10, 10, "load_size 16 --data.crop_size 16 gives 16x16"),
        ("crop", None, 39, "crop_size 32 gives 32x32"),
        ("scale_width_and_crop", 60, 39, "crop_size 32 gives 32x32"),
    ],
)
def test_advised_size_can_be_trained_on(
    preprocess: str,
    load_size: int | None,
    crop_size: int,
    advice: str,
    side_by_side: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = data(tmp_path / "data", 60, 40, side_by_side)
    command = ["train", "pix2pix", root, *TINY, "--train.run", tmp_path / "run"]
    settings = {"--data.preprocess": preprocess, "--data.crop_size": str(crop_size)}
    if load_size is not None:
        settings["--data.load_size"] = str(load_size)
    message = command_error(capsys, *command, *chain.from_iterable(settings.items()))
    assert f"--data.{advice}, which fits" in message
    match = re.search(r"; ((--data\.\w+ \d+ ?)+)gives", message)
    assert match is not None
    advised = match[1].split()
    settings |= dict(zip(advised[::2], advised[1::2], strict=True))
    command_output(capsys, *command, *chain.from_iterable(settings.items()))


def test_advice_is_a_size_if_no_option_sets_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = data(tmp_path / "data", 450, 16)
    words = ["train", "pix2pix", root, *TINY, "--train.run", tmp_path / "run"]
    message = command_error(capsys, *words, "--data.preprocess", "none")
    assert "cannot train on height 16, width 450:" in message
    assert "height 16, width 448 would fit (data.preprocess none decides the size" in message


@pytest.mark.parametrize(
    ("size", "multiple", "least", "nearest"),
    [
        ((16, 450), 16, (16, 16), (16, 448)),
        ((16, 450), 16, (32, 32), (32, 448)),
        ((450, 16), 16, (40, 40), (448, 48)),
        ((3, 5), 4, (24, 24), (24, 24)),
        ((100, 100), 1, (70, 120), (120, 120)),
        ((1, 1), 256, (1, 1), (256, 256)),
    ],
)
def test_nearest_size(
    size: tuple[int, int], multiple: int, least: tuple[int, int], nearest: tuple[int, int]
) -> None:
    def fits(height: int, width: int) -> bool:
        return height >= least[0] and width >= least[1]

    assert nearest_size(*size, multiple, fits) == nearest
    assert nearest_size(*size, multiple, lambda height, width: False) is None


@pytest.mark.parametrize("side_by_side", [False, True])
@pytest.mark.parametrize(
    ("preprocess", "width", "height", "warned"),
    [
        ("resize_and_crop", 120, 60, True),
        ("resize_and_crop", 30, 300, True),
        ("resize", 200, 50, True),
        ("resize_and_crop", 90, 60, False),
        ("resize", 60, 60, False),
        ("scale_width", 120, 60, False),
        ("crop", 120, 60, False),
        ("none", 120, 60, False),
    ],
)
def test_images_resized_to_squares_are_warned_about(
    preprocess: str,
    width: int,
    height: int,
    warned: bool,
    side_by_side: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = data(tmp_path / "data", width, height, side_by_side)
    words = ["--data.preprocess", preprocess, "--data.load_size", "40", "--data.crop_size", "32"]
    issues = json.loads(command_output(capsys, "check", root, "--json", *words))["issues"]
    texts = [issue["text"] for issue in issues if "proportions" in issue["text"]]
    side = 40 if preprocess == "resize_and_crop" else 32
    text = f"that lose their proportions: {width}x{height} becomes {side}x{side}"
    assert [text in issue for issue in texts] == [True, True] * warned
    if warned and preprocess == "resize":
        run = ["train", "pix2pix", root, *TINY, "--train.run", tmp_path / "run", *words]
        assert text in command_output(capsys, *run)
