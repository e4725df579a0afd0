"""Advice on sizes: settings that exist, width x height; and oblong images that become squares."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import command_error, command_output

from viceversa.networks.sizes import nearest_size

TINY = [
    "--generator.depth",
    "4",
    "--generator.width",
    "4",
    "--discriminator.width",
    "4",
    "--discriminator.layers",
    "2",
    "--train.epochs",
    "1",
    "--train.device",
    "cpu",
    "--train.samples",
    "1",
    "--validate.every",
    "0",
]


def data(root: Path, width: int, height: int, beside: bool = False) -> Path:
    rng = np.random.default_rng(0)
    for number in range(2):
        for name in ("",) if beside else ("A", "B"):
            (root / name).mkdir(parents=True, exist_ok=True)
            shape = height, width * (1 + beside), 3
            pixels = rng.integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(
    ("words", "width", "height", "advice"),
    [
        ("scale_width --data.load_size 64 --data.crop_size 64", 60, 40, "load_size 48 gives 48x32"),
        (
            "scale_shortside --data.load_size 43 --data.crop_size 64",
            60,
            40,
            "load_size 32 gives 48x32",
        ),
        ("resize --data.crop_size 72", 60, 40, "crop_size 64 gives 64x64"),
        (
            "resize_and_crop --data.load_size 72 --data.crop_size 71",
            60,
            40,
            "crop_size 64 gives 64x64",
        ),
        (
            "resize_and_crop --data.load_size 10 --data.crop_size 10",
            60,
            40,
            "load_size 16 --data.crop_size 16 gives 16x16",
        ),
        ("crop --data.crop_size 39", 60, 40, "crop_size 32 gives 32x32"),
        (
            "scale_width_and_crop --data.load_size 60 --data.crop_size 39",
            60,
            40,
            "crop_size 32 gives 32x32",
        ),
    ],
)
def test_advice_is_a_setting_that_works(
    words: str,
    width: int,
    height: int,
    advice: str,
    beside: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = data(tmp_path / "data", width, height, beside)
    command = ["train", "pix2pix", root, *TINY, "--train.run", tmp_path / "run"]
    given = ["--data.preprocess", *words.split()]
    told = command_error(capsys, *command, *given)
    assert f"--data.{advice}, which fits" in told
    found = re.search(r"; ((--data\.\w+ \d+ ?)+)gives", told)
    assert found is not None
    advised = found[1].split()
    settings = dict(zip(given[::2], given[1::2], strict=True))
    settings |= dict(zip(advised[::2], advised[1::2], strict=True))
    command_output(capsys, *command, *(word for pair in settings.items() for word in pair))


def test_without_a_setting_the_size_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = data(tmp_path / "data", 450, 16)
    told = command_error(
        capsys,
        "train",
        "pix2pix",
        root,
        *TINY,
        "--train.run",
        tmp_path / "run",
        "--data.preprocess",
        "none",
    )
    assert "cannot train on 450x16" in told
    assert "448x16 would fit (data.preprocess none decides the size" in told


@pytest.mark.parametrize(
    ("size", "multiple", "least", "found"),
    [
        ((16, 450), 16, (16, 16), (16, 448)),
        ((16, 450), 16, (32, 32), (32, 448)),
        ((450, 16), 16, (40, 40), (448, 48)),
        ((3, 5), 4, (24, 24), (24, 24)),
        ((100, 100), 1, (70, 120), (120, 120)),
        ((1, 1), 256, (1, 1), (256, 256)),
    ],
)
def test_the_nearest_size(
    size: tuple[int, int], multiple: int, least: tuple[int, int], found: tuple[int, int]
) -> None:
    def fits(height: int, width: int) -> bool:
        return height >= least[0] and width >= least[1]

    assert nearest_size(*size, multiple, fits) == found
    assert nearest_size(*size, multiple, lambda height, width: False) is None


@pytest.mark.parametrize("beside", [False, True])
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
def test_oblong_images_that_become_squares_are_warned_of(
    preprocess: str,
    width: int,
    height: int,
    warned: bool,
    beside: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = data(tmp_path / "data", width, height, beside)
    words = ["--data.preprocess", preprocess, "--data.load_size", "40", "--data.crop_size", "32"]
    found = json.loads(command_output(capsys, "check", root, "--json", *words))["issues"]
    texts = [one["text"] for one in found if "proportions" in one["text"]]
    side = 40 if preprocess == "resize_and_crop" else 32
    text = f"that lose their proportions: {width}x{height} becomes {side}x{side}"
    assert [text in one for one in texts] == [True, True] * warned
    if warned and preprocess == "resize":
        run = ["train", "pix2pix", root, *TINY, "--train.run", tmp_path / "run", *words]
        assert text in command_output(capsys, *run)
