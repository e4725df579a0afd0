"""Test conversion between pixels of files and values in [-1, 1]: ranges, classes, Lab."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from viceversa.errors import UserError
from viceversa.fields import fill, plain
from viceversa.images import Pixels
from viceversa.images.domain import Domain, DomainConfig
from viceversa.images.lab import lab_to_rgb, rgb_to_lab
from viceversa.images.labels import from_classes, to_classes
from viceversa.images.loading import to_domain
from viceversa.images.values import to_pixels, to_rgb, to_tensor, to_values


def domain(dtype: str, low: float, high: float, channels: int = 1, **config: Any) -> Domain:
    config = {"range": (low, high), **config}
    bounds = (low,) * channels, (high,) * channels
    return Domain(DomainConfig(channels=channels, **config), dtype, *bounds)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("uint8", 0, 255), ("uint16", 0, 65535), ("int16", -32768, 32767), ("uint16", 100, 4200)],
)
def test_integers_are_restored_exactly(dtype: str, low: int, high: int) -> None:
    numbers = np.arange(low, high + 1).astype(dtype)[None, :, None]
    of = domain(dtype, low, high)
    values = to_values(to_tensor(numbers)[None], of)
    assert values.dtype == torch.float32 and values.shape == (1, 1, 1, numbers.size)
    assert values.flatten()[0] == pytest.approx(-1) and values.flatten()[-1] == pytest.approx(1)
    back = to_pixels(values, of)[0]
    assert back.dtype == dtype and np.array_equal(back, numbers)


def test_known_values_of_8_bit_pixels() -> None:
    pixels = np.array([[[0, 51, 255]]], dtype=np.uint8)
    values = to_values(to_tensor(pixels)[None], Domain()).flatten()
    assert values.tolist() == pytest.approx([-1.0, -0.6, 1.0], abs=1e-6)


def test_each_channel_has_its_own_range() -> None:
    of = Domain(DomainConfig(channels=2, range="minmax"), "float32", (0.0, -10.0), (1.0, 10.0))
    pixels = np.array([[[0.25, 5.0], [2.0, -30.0]]], dtype=np.float32)
    values = to_values(to_tensor(pixels)[None], of)
    assert values[0, :, 0, 0].tolist() == pytest.approx([-0.5, 0.5])
    assert values[0, :, 0, 1].tolist() == [1.0, -1.0]  # outside of the range: clipped
    back = to_pixels(values, of)[0]
    assert back[0, 0].tolist() == pytest.approx([0.25, 5.0]) and back[0, 1].tolist() == [1.0, -10.0]


def test_range_dtype_applies_to_other_dtypes() -> None:
    eight = Domain()
    sixteen = eight.of_dtype("uint16")
    assert sixteen.dtype == "uint16" and sixteen.high == (65535.0,) * 3
    given = domain("uint8", 0, 200, 3)
    assert given.of_dtype("uint16") is given
    with pytest.raises(UserError, match="the range of float32 values is not defined"):
        eight.of_dtype("float32")


PALETTE: dict[str, Any] = {"kind": "labels", "classes": ("#000000", "#ff0000", "#00ff80")}


def test_colours_are_converted_to_classes_and_back() -> None:
    config = DomainConfig(**PALETTE)
    pixels = np.array([[[255, 0, 0], [0, 0, 0]], [[0, 255, 128], [255, 0, 0]]], dtype=np.uint8)
    classes = to_classes(pixels, config, "x.png")
    assert classes[:, :, 0].tolist() == [[1, 0], [2, 1]]
    values = to_values(to_tensor(classes)[None], Domain(config))
    assert values.shape == (1, 3, 2, 2)
    assert values[0, :, 1, 0].tolist() == [-1, -1, 1]
    result = to_pixels(
        values + 0.3 * torch.sin(torch.arange(12.0)).view(1, 3, 2, 2), Domain(config)
    )
    assert np.array_equal(result[0], pixels)
    assert torch.equal(
        (to_rgb(values, Domain(config))[0, :, 0, 0] + 1) * 127.5, torch.tensor([255.0, 0, 0])
    )


def test_colours_within_the_tolerance_are_classes() -> None:
    pixels = np.array([[[250, 3, 0]]], dtype=np.uint8)
    assert to_classes(pixels, DomainConfig(**PALETTE, tolerance=5), "x").item() == 1
    with pytest.raises(UserError, match=r"x\.png contains the colour #fa0300"):
        to_classes(pixels, DomainConfig(**PALETTE, tolerance=4), "x.png")


@pytest.mark.parametrize(("count", "dtype"), [(3, "uint8"), (300, "uint16")])
def test_indices_are_classes_below_their_number(count: int, dtype: str) -> None:
    config = DomainConfig(kind="labels", ids=count)
    pixels = np.array([[[0], [count - 1]]], dtype=dtype)
    assert np.array_equal(from_classes(to_classes(pixels, config, "x"), config), pixels)
    with pytest.raises(UserError, match=rf"x\.png contains the class {count}"):
        to_classes(pixels + np.array(1, dtype), config, "x.png")


def test_lab_of_known_colours() -> None:
    known = {
        (255, 0, 0): (53.2408, 80.0925, 67.2032),
        (0, 255, 0): (87.7347, -86.1827, 83.1793),
        (0, 0, 255): (32.2970, 79.1875, -107.8602),
        (255, 255, 255): (100.0, 0.0, 0.0),
        (119, 119, 119): (50.0344, 0.0, 0.0),
        (0, 0, 0): (0.0, 0.0, 0.0),
    }
    rgb = torch.tensor(list(known), dtype=torch.float64).T.view(1, 3, 1, -1) / 255
    lab = rgb_to_lab(rgb)[0, :, 0].T
    assert lab.tolist() == [pytest.approx(values, abs=2e-3) for values in known.values()]


def colours() -> Pixels:
    """Return (64, 64, 3) with all combinations of 16 values of red, green and blue."""
    steps = [*range(0, 256, 17)]
    return np.array([*itertools.product(steps, repeat=3)], dtype=np.uint8).reshape(64, 64, 3)


def test_lab_conversion_is_inverted_and_bounded() -> None:
    rgb = to_tensor(colours())[None].double() / 255
    lab = rgb_to_lab(rgb)
    assert (lab_to_rgb(lab) - rgb).abs().max() < 1e-6
    assert lab[:, 1:].abs().max() < 110


def test_lightness_and_colours_are_combined_to_rgb() -> None:
    numbers = to_tensor(colours())[None]
    lightness, colour = (Domain(DomainConfig(kind=kind)) for kind in ("lab-l", "lab-ab"))
    source, target = to_values(numbers, lightness), to_values(numbers, colour)
    assert source.shape == (1, 1, 64, 64) and target.shape == (1, 2, 64, 64)
    assert max(source.abs().max(), target.abs().max()) <= 1
    joined = to_pixels(target, colour, source)[0]
    assert np.abs(joined.astype(int) - colours()).max() <= 1
    grey = to_pixels(source, lightness)[0]
    assert (
        np.ptp(grey.astype(int), axis=2).max() <= 1
        and np.abs(grey[..., 0].astype(int) - joined[..., 0]).max() > 100
    )
    with pytest.raises(UserError, match=r"x\.png is uint16; lab-l takes images of 8 bits"):
        to_domain(colours().astype(np.uint16), lightness.config, "x.png")


LABELS: dict[str, Any] = {"kind": "labels", "classes": ["#3a403d", "#404040", "#ff4040"]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 0}, "channels must be at least 1"),
        ({"kind": "labels"}, "either classes"),
        ({"kind": "labels", "ids": 2, "classes": ["#000000"]}, "either classes"),
        ({"ids": 3}, "belong to kind labels"),
        ({"kind": "labels", "classes": ["red"]}, "#rrggbb, not 'red'"),
        ({"kind": "labels", "ids": -1}, "ids must be from 0 to 65536, not -1"),
        ({"kind": "labels", "ids": 70000}, "ids must be from 0 to 65536, not 70000"),
        ({**LABELS, "tolerance": -1}, "tolerance must be at least 0, not -1"),
        ({"kind": "labels", "ids": 2, "tolerance": 1}, "tolerance belongs to classes"),
        ({"tolerance": 1}, "tolerance belongs to classes"),
        ({"kind": "labels", "ids": 2, "unit": "m"}, "unit belongs to kind image"),
        ({"unit": "m\n"}, "unit must be printable"),
        ({"kind": "labels", "classes": ["#ff0000", "#0000ff", "#FF0000"]}, "#ff0000 twice"),
        ({"kind": "labels", "classes": ["#ff0000,#0000ff", "#0000ff"]}, "#0000ff twice"),
        # 0x40 - 0x3a = 6 is the largest difference of a channel: 3 from both is in the middle
        ({**LABELS, "tolerance": 3}, "#3a403d and #404040.*set it to 2 or less"),
        ({"class_names": ["sky"]}, "class_names belongs to kind labels"),
        ({**LABELS, "class_names": ["sky", "wall"]}, "class_names has 2 names for 3 classes"),
        ({"kind": "labels", "ids": 2, "class_names": ["a,b", "c"]}, "has 3 names for 2 classes"),
        ({**LABELS, "class_names": ["sky,wall,sky"]}, "class_names has the name sky twice"),
        ({**LABELS, "class_names": ["sky,,wall"]}, "class_names must be printable.*not ''"),
        ({**LABELS, "class_names": ["sky", "a" * 41, "b"]}, "of 1 to 40 characters"),
        ({**LABELS, "class_names": ["sky", "\x1b[2J", "b"]}, "class_names must be printable"),
        ({"range": "mimax"}, "not 'mimax'"),
        ({"range": [5, 5]}, "must increase"),
        ({"range": "0,1,2"}, "two numbers"),
        ({"percentiles": [90, 10]}, "percentiles must increase"),
        ({"pages": "all"}, "pages must be refuse"),
        ({"kind": "image", "resize": "cubic"}, "resize takes one of"),
    ],
)
def test_invalid_domain_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        fill(DomainConfig, settings, "data.b")
    assert "data.b" in str(caught.value)
    assert (caught.value.option or "").startswith("data.b.")


def test_largest_tolerance_without_ambiguous_colours() -> None:
    config = fill(DomainConfig, {**LABELS, "tolerance": 2}, "data.b")
    between = np.array([[[0x3C, 0x40, 0x40], [0x3E, 0x40, 0x40]]], np.uint8)
    assert to_classes(between[:, 1:], config, "x").item() == 1
    with pytest.raises(UserError, match="#3c4040"):  # 2 from the first in red, 3 in blue
        to_classes(between, config, "x")
    fill(DomainConfig, {"kind": "labels", "classes": ["#000000"], "tolerance": 255}, "data.b")


def test_domain_is_restored_from_plain_values() -> None:
    named = Domain(fill(DomainConfig, {**LABELS, "class_names": ["sky, wall", "tree"]}, "x"))
    assert fill(Domain, plain(named), "x").config.names == ["sky", "wall", "tree"]
    config = DomainConfig(channels=2, range="0,5")
    assert config.given() == (0.0, 5.0) and config.names == []
    of = Domain(config, "uint16", (0.0, 1.0), (5.0, 6.0))
    assert fill(Domain, plain(of), "x") == of
