"""Test translation between domains: dtypes, channels, value ranges, classes, Lab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import raises_user_error, small_model

from viceversa.images import read, write
from viceversa.images.domain import Domain, DomainConfig
from viceversa.images.lab import rgb_to_lab
from viceversa.images.values import to_tensor
from viceversa.inference import FileOptions, Translator, expand, plan, translate_files

CLASSES = ("#000000", "#ff0000", "#00ff80")
LABELS = DomainConfig(kind="labels", classes=CLASSES)


def domain_of(dtype: str, low: float, high: float, channels: int = 1, **config: Any) -> Domain:
    bounds = (low,) * channels, (high,) * channels
    return Domain(DomainConfig(channels=channels, **config), dtype, *bounds)


SIXTEEN = domain_of("uint16", 0, 65535)


def model(folder: Path, source: Domain, target: Domain) -> Translator:
    return Translator.load(small_model(folder, source, target), "cpu")


def ramp(dtype: str, channels: int, top: float, size: int = 24) -> Any:
    return np.linspace(0, top, size * size * channels).reshape(size, size, channels).astype(dtype)


def run(translator: Translator, folder: Path, out: Path) -> Any:
    files = plan(expand([str(folder)]).files, out, translator.suffix)
    return translate_files(translator, files, FileOptions(4))


def test_16_bit_images_stay_16_bit(tmp_path: Path) -> None:
    translator = model(tmp_path, SIXTEEN, SIXTEEN)
    image = ramp("uint16", 1, 65535)
    write(tmp_path / "in" / "x.png", image)
    assert run(translator, tmp_path / "in", tmp_path / "out")[:2] == ([], [])
    result = read(tmp_path / "out" / "x.png")
    assert result.dtype == np.uint16 and result.shape == (24, 24, 1)
    assert len(np.unique(result)) > 256  # more than 8 bits can represent
    assert np.array_equal(result, translator(image))
    assert np.array_equal(result, translator(tmp_path / "in" / "x.png"))
    # Negative control: an 8-bit result has at most 256 levels.
    eight = model(tmp_path / "eight", SIXTEEN, domain_of("uint8", 0, 255))
    assert len(np.unique(np.asarray(eight(image)))) <= 256


def test_8_bit_input_of_a_16_bit_model_is_scaled_to_the_full_range(tmp_path: Path) -> None:
    translator = model(tmp_path, SIXTEEN, SIXTEEN)
    eight = ramp("uint8", 1, 255)
    as_sixteen = eight.astype(np.uint16) * 257
    difference = translator(eight).astype(int) - translator(as_sixteen)
    assert np.abs(difference).max() <= 1


def test_six_float_channels_to_one(tmp_path: Path) -> None:
    config = DomainConfig(channels=6, range="minmax")
    source = Domain(config, "float32", tuple(map(float, range(6))), (20.0,) * 6)
    translator = model(tmp_path, source, domain_of("float32", -1.5, 3.0, range=(-1.5, 3.0)))
    write(tmp_path / "in" / "x.tif", ramp("float32", 6, 15.0))
    outcome = run(translator, tmp_path / "in", tmp_path / "out")
    result = read(tmp_path / "out" / "x.tif")
    assert result.dtype == np.float32 and result.shape == (24, 24, 1)
    assert -1.5 <= result.min() < result.max() <= 3.0 and len(np.unique(result)) > 256
    assert outcome.failures == [] and len(outcome.notes) == 1
    # The ramp starts at 0, below the minimum of channels 1 to 5.
    assert outcome.notes[0][0].name == "x.tif" and "outside the range" in outcome.notes[0][1]


@pytest.mark.parametrize(
    ("target", "name", "result_name"),
    [
        (SIXTEEN, "x.jpg", "x.png"),
        (domain_of("float32", 0, 1, range=(0.0, 1.0)), "x.png", "x.tif"),
        (domain_of("uint8", 0, 255, 6), "x.png", "x.tif"),
        (Domain(), "x.jpg", "x.jpg"),
        (Domain(), "x.npy", "x.npy"),
    ],
)
def test_format_is_changed_if_it_does_not_support_the_result(
    tmp_path: Path, target: Domain, name: str, result_name: str
) -> None:
    translator = model(tmp_path, Domain(), target)
    write(tmp_path / "in" / name, ramp("uint8", 3, 255))
    assert run(translator, tmp_path / "in", tmp_path / "out")[:2] == ([], [])
    assert [path.name for path in (tmp_path / "out").iterdir()] == [result_name]
    result = read(tmp_path / "out" / result_name)
    assert (result.dtype, result.shape[2]) == (target.dtype, target.config.channels)


def test_two_results_of_the_same_name_are_refused(tmp_path: Path) -> None:
    translator = model(tmp_path, Domain(), SIXTEEN)
    for name in ("x.jpg", "x.png"):
        write(tmp_path / "in" / name, ramp("uint8", 3, 255))
    with raises_user_error(path=tmp_path / "out" / "x.png"):
        plan(expand([str(tmp_path / "in")]).files, tmp_path / "out", translator.suffix)


def test_label_maps_have_only_the_colours_of_classes(tmp_path: Path) -> None:
    translator = model(tmp_path, Domain(), Domain(LABELS))
    result = np.asarray(translator(ramp("uint8", 3, 255)))
    colours = {tuple(pixel) for pixel in result.reshape(-1, 3).tolist()}
    assert len(colours) > 1 and colours <= {(0, 0, 0), (255, 0, 0), (0, 255, 128)}


def test_unknown_colour_fails_only_the_file_that_contains_it(tmp_path: Path) -> None:
    translator = model(tmp_path, Domain(LABELS), Domain())
    good = np.zeros((24, 24, 3), dtype=np.uint8)
    good[:, 12:] = (255, 0, 0)
    bad = good.copy()
    bad[3, 3] = (1, 2, 3)
    for name, pixels in (("a.png", good), ("b.png", bad), ("c.png", good)):
        write(tmp_path / "in" / name, pixels)
    outcome = run(translator, tmp_path / "in", tmp_path / "out")
    [(path, reason)] = outcome.failures
    assert path.name == "b.png" and "#010203" in reason
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png", "c.png"}


def test_generated_colours_are_combined_with_the_lightness_of_the_input(tmp_path: Path) -> None:
    lightness, colour = (Domain(DomainConfig(kind=kind)) for kind in ("lab-l", "lab-ab"))
    translator = model(tmp_path, lightness, colour)
    with torch.no_grad():  # low saturation, so that every colour is inside sRGB
        for parameter in translator.network.ups[-1].parameters():  # type: ignore[union-attr]
            parameter *= 0.05
    grey = np.linspace(60, 200, 24 * 24).reshape(24, 24).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    result = np.asarray(translator(tmp_path / "grey.png"))
    assert result.shape == (24, 24, 3) and np.ptp(result.astype(int), axis=2).max() > 2
    images = np.stack([result, np.repeat(grey[:, :, None], 3, axis=2)])
    lab = torch.stack([rgb_to_lab(to_tensor(one)[None].double() / 255)[0] for one in images])
    assert (lab[0, 0] - lab[1, 0]).abs().max() < 0.6
