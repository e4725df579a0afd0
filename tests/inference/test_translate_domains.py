"""Translation in the domains that training knew: depth, bands, ranges, classes, Lab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import small_model

from viceversa.errors import UserError
from viceversa.images import read, write
from viceversa.images.domain import Domain, DomainConfig
from viceversa.images.lab import rgb_to_lab
from viceversa.images.values import to_tensor
from viceversa.inference import Translator, expand, plan, translate_files

CLASSES = ("#000000", "#ff0000", "#00ff80")
LABELS = DomainConfig(kind="labels", classes=CLASSES)


def deep(dtype: str, low: float, high: float, channels: int = 1, **config: Any) -> Domain:
    bounds = (low,) * channels, (high,) * channels
    return Domain(DomainConfig(channels=channels, **config), dtype, *bounds)


SIXTEEN = deep("uint16", 0, 65535)


def model(folder: Path, source: Domain, target: Domain) -> Translator:
    return Translator.load(small_model(folder, source, target), "cpu")


def ramp(dtype: str, bands: int, top: float, size: int = 24) -> Any:
    return np.linspace(0, top, size * size * bands).reshape(size, size, bands).astype(dtype)


def run(translator: Translator, folder: Path, out: Path) -> Any:
    files = plan(expand([str(folder)]).files, out, translator.suffix)
    return translate_files(translator, files, 4)


def test_sixteen_bits_in_and_out(tmp_path: Path) -> None:
    translator = model(tmp_path, SIXTEEN, SIXTEEN)
    image = ramp("uint16", 1, 65535)
    write(tmp_path / "in" / "x.png", image)
    assert run(translator, tmp_path / "in", tmp_path / "out")[:2] == ([], [])
    made = read(tmp_path / "out" / "x.png")
    assert made.dtype == np.uint16 and made.shape == (24, 24, 1)
    assert len(np.unique(made)) > 256  # more than 8 bits could hold
    assert np.array_equal(made, translator(image))
    assert np.array_equal(made, translator(tmp_path / "in" / "x.png"))
    # The control: as 8 bits, 255 of its levels would be all there is.
    eight = model(tmp_path / "eight", SIXTEEN, deep("uint8", 0, 255))
    assert len(np.unique(np.asarray(eight(image)))) <= 256


def test_eight_bits_to_a_model_of_sixteen_take_their_own_full_range(tmp_path: Path) -> None:
    translator = model(tmp_path, SIXTEEN, SIXTEEN)
    eight = ramp("uint8", 1, 255)
    as_sixteen = eight.astype(np.uint16) * 257
    difference = translator(eight).astype(int) - translator(as_sixteen)
    assert np.abs(difference).max() <= 1


def test_six_float_bands_become_one(tmp_path: Path) -> None:
    source = Domain(
        DomainConfig(channels=6, range="minmax"), "float32", tuple(range(6)), tuple(range(10, 16))
    )
    source = Domain(source.config, "float32", tuple(map(float, range(6))), tuple([20.0] * 6))
    translator = model(tmp_path, source, deep("float32", -1.5, 3.0, range=(-1.5, 3.0)))
    write(tmp_path / "in" / "x.tif", ramp("float32", 6, 15.0))
    told = run(translator, tmp_path / "in", tmp_path / "out")
    made = read(tmp_path / "out" / "x.tif")
    assert made.dtype == np.float32 and made.shape == (24, 24, 1)
    assert -1.5 <= made.min() < made.max() <= 3.0 and len(np.unique(made)) > 256
    assert told.failures == [] and len(told.notes) == 1  # the ramp starts below 1, 2, ...
    assert told.notes[0][0].name == "x.tif" and "outside the range" in told.notes[0][1]


@pytest.mark.parametrize(
    ("target", "given", "result"),
    [
        (SIXTEEN, "x.jpg", "x.png"),
        (deep("float32", 0, 1, range=(0.0, 1.0)), "x.png", "x.tif"),
        (deep("uint8", 0, 255, 6), "x.png", "x.tif"),
        (Domain(), "x.jpg", "x.jpg"),
        (Domain(), "x.npy", "x.npy"),
    ],
)
def test_a_format_that_cannot_hold_the_result_is_not_taken(
    tmp_path: Path, target: Domain, given: str, result: str
) -> None:
    translator = model(tmp_path, Domain(), target)
    write(tmp_path / "in" / given, ramp("uint8", 3, 255))
    assert run(translator, tmp_path / "in", tmp_path / "out")[:2] == ([], [])
    assert [path.name for path in (tmp_path / "out").iterdir()] == [result]
    made = read(tmp_path / "out" / result)
    assert (made.dtype, made.shape[2]) == (target.dtype, target.config.channels)


def test_two_names_that_become_one_are_refused(tmp_path: Path) -> None:
    translator = model(tmp_path, Domain(), SIXTEEN)
    for name in ("x.jpg", "x.png"):
        write(tmp_path / "in" / name, ramp("uint8", 3, 255))
    with pytest.raises(UserError, match=r"x\.jpg and .*x\.png would both become"):
        plan(expand([str(tmp_path / "in")]).files, tmp_path / "out", translator.suffix)


def test_classes_come_out_in_their_colours_alone(tmp_path: Path) -> None:
    translator = model(tmp_path, Domain(), Domain(LABELS))
    made = np.asarray(translator(ramp("uint8", 3, 255)))
    colours = {tuple(pixel) for pixel in made.reshape(-1, 3).tolist()}
    assert len(colours) > 1 and colours <= {(0, 0, 0), (255, 0, 0), (0, 255, 128)}


def test_a_strange_colour_fails_its_own_file_alone(tmp_path: Path) -> None:
    translator = model(tmp_path, Domain(LABELS), Domain())
    good = np.zeros((24, 24, 3), dtype=np.uint8)
    good[:, 12:] = (255, 0, 0)
    bad = good.copy()
    bad[3, 3] = (1, 2, 3)
    for name, pixels in (("a.png", good), ("b.png", bad), ("c.png", good)):
        write(tmp_path / "in" / name, pixels)
    told = run(translator, tmp_path / "in", tmp_path / "out")
    [(path, reason)] = told.failures
    assert path.name == "b.png" and "#010203" in reason
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png", "c.png"}


def test_colours_are_joined_to_the_picture_s_own_lightness(tmp_path: Path) -> None:
    lightness, colour = (Domain(DomainConfig(kind=kind)) for kind in ("lab-l", "lab-ab"))
    translator = model(tmp_path, lightness, colour)
    with torch.no_grad():  # mild colours, so that none leaves what a screen can show
        for parameter in translator.network.ups[-1].parameters():  # type: ignore[union-attr]
            parameter *= 0.05
    grey = np.linspace(60, 200, 24 * 24).reshape(24, 24).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    made = np.asarray(translator(tmp_path / "grey.png"))
    assert made.shape == (24, 24, 3) and np.ptp(made.astype(int), axis=2).max() > 2
    pictures = np.stack([made, np.repeat(grey[:, :, None], 3, axis=2)])
    lab = torch.stack([rgb_to_lab(to_tensor(one)[None].double() / 255)[0] for one in pictures])
    assert (lab[0, 0] - lab[1, 0]).abs().max() < 0.6
