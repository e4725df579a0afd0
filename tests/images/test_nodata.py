"""Test no-data values: masks, resizing, and that valid values do not depend on them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from viceversa.errors import UserError
from viceversa.fields import fill
from viceversa.images import Pixels, read, resize
from viceversa.images.domain import Domain, DomainConfig
from viceversa.images.loading import to_domain, to_domain_pixels, to_domain_range
from viceversa.images.nodata import NoData, mask_of, masked, parse_nodata, suspected_nodata
from viceversa.images.pixels import fit_channels
from viceversa.images.sources import Source
from viceversa.images.values import fill_nodata, to_tensor, to_values

TAG = NoData(tag=True)
F4, F8 = np.finfo("f4"), np.finfo("f8")


def tiff(path: Path, values: Any, text: str | None = None) -> Path:
    tags = [] if text is None else [(42113, "s", 0, text, True)]
    tifffile.imwrite(path, values, extratags=tags, photometric="minisblack", metadata=None)
    return path


# dtype, tag, stored value, whether it is masked
STORED: list[tuple[str, str, Any, bool]] = [
    ("f4", "-9999", -9999, True),
    ("f4", "-9999.0", -9999, True),
    ("f4", " -9999 ", -9999, True),
    ("f4", "-3.4028234663852886e+38", F4.min, True),
    ("f4", "-3.40282346638529e+38", F4.min, True),  # 15 digits, slightly outside of the dtype
    ("f4", "3.4028234663852886e+38", F4.max, True),
    ("f4", "-1.7976931348623157e+308", F4.min, True),
    ("f4", "0.1", np.float32(0.1), True),
    ("f4", "nan", np.nan, True),
    ("f8", "-1.79769313486232e+308", F8.min, True),  # rounds to minus infinity
    ("f8", "1e+30", 1e30, True),
    ("f2", "-9999", np.float16(-9999), True),
    ("i4", "-2147483648", -(2**31), True),
    ("i4", "2147483647", 2**31 - 1, True),  # not representable in float32
    ("u4", "4294967295", 2**32 - 1, True),
    ("i2", "-32768", -32768, True),
    ("u2", "65535", 65535, True),
    ("u1", "0", 0, True),
    ("u1", "-9999", 0, False),
    ("u2", "0.5", 0, False),
    ("u2", "inf", 65535, False),
    ("f4", "-inf", -np.inf, True),
    ("f4", "none at all", -9999, False),
]


@pytest.mark.parametrize(("dtype", "text", "value", "is_masked"), STORED)
def test_gdal_tag_of_any_dtype(
    tmp_path: Path, dtype: str, text: str, value: Any, is_masked: bool
) -> None:
    values = np.full((6, 5), 7, dtype)
    values[2:4, 1:] = value
    pixels = read(tiff(tmp_path / "x.tif", values, text), nodata=TAG)
    mask = mask_of(pixels)
    assert (mask is not None) == is_masked
    if mask is not None:
        rows, columns = np.indices((6, 5))
        assert np.array_equal(mask[:, :, 0], (rows // 2 == 1) & (columns > 0))
        assert np.isfinite(np.ma.getdata(pixels)).all() and pixels.min() == pixels.max() == 7


def test_setting_overrides_the_tag(tmp_path: Path) -> None:
    values = np.array([[1.0, -9999, -1], [np.nan, 5, 6]], "f4")
    path = tiff(tmp_path / "x.tif", values[:1], "-9999")
    masks = {
        nodata: mask_of(read(path, nodata=parse_nodata(nodata)))
        for nodata in ("tag", "none", "-1", -1.0, "-9999")
    }
    first_rows = {k: None if m is None else m[0, :, 0].tolist() for k, m in masks.items()}
    first, last = [False, True, False], [False, False, True]
    assert first_rows == {"tag": first, "none": None, "-1": last, -1.0: last, "-9999": first}
    path = tiff(tmp_path / "y.tif", values)
    mask = mask_of(read(path, nodata=parse_nodata("nan")))
    assert np.array_equal(mask, np.isnan(values)[..., None])
    for other in ("tag", "none", "-9999"):
        with pytest.raises(UserError, match=r"1 non-finite values.*set the domain's nodata"):
            read(path, nodata=parse_nodata(other))
    with pytest.raises(UserError, match="infinite or too large") as caught:
        read(tiff(tmp_path / "z.tif", np.array([[np.inf]], "f4")), nodata=parse_nodata("nan"))
    assert "nodata" not in str(caught.value)
    with pytest.raises(UserError, match="nodata must be a number, nan, a rule such as"):
        parse_nodata("minus one")


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.copy()


def test_all_input_types_have_the_same_mask(tmp_path: Path) -> None:
    values = np.array([[1.0, -9999], [3, 4]], "f4")
    path, config = (
        tiff(tmp_path / "x.tif", values),
        DomainConfig(channels=1, range="0,9", nodata="-9999"),
    )
    inputs: list[Any] = [
        path,
        path.read_bytes(),
        io.BytesIO(path.read_bytes()),
        values,
        Image.fromarray(values),
        opened(path),
        np.ma.MaskedArray(values, values < 0),
    ]
    for one in inputs:
        pixels = to_domain_pixels(one, config, 100)
        assert np.array_equal(mask_of(pixels), (values < 0)[..., None]), type(one)
        assert pixels[0, 0, 0] == 1 and np.ma.getdata(pixels)[0, 1, 0] == 0
    holes = np.where(values < 0, np.float32(np.nan), values)
    for one in (holes, Image.fromarray(holes)):
        pixels = to_domain_pixels(one, DomainConfig(channels=1, range="0,9", nodata="nan"), 100)
        assert np.array_equal(mask_of(pixels), (values < 0)[..., None])


def test_masks_when_the_number_of_channels_changes() -> None:
    grey = masked(np.full((1, 2, 1), 9, np.uint8), np.array([[[True], [False]]]))
    assert mask_of(fit_channels(grey, False, 3, "x")).tolist() == [[[True] * 3, [False] * 3]]
    rgb = masked(np.full((1, 2, 3), 9, np.uint8), np.array([[[True, False, False], [False] * 3]]))
    assert mask_of(fit_channels(rgb, False, 1, "x")).tolist() == [[[True], [False]]]
    alpha = masked(np.full((1, 1, 4), 9, np.uint8), np.array([[[False, True, False, True]]]))
    assert mask_of(fit_channels(alpha, True, 3, "x")).tolist() == [[[False, True, False]]]


# -- resizing


def hole(dtype: str, channels: int = 1) -> Pixels:
    """Return a constant 50 with a hole of -1000 (0 for unsigned dtypes) at the left."""
    values = np.full((24, 32, channels), 50, dtype)
    mask = np.zeros(values.shape, bool)
    mask[:, :12], values[:, :12] = True, 0 if dtype.startswith("u") else -1000
    return masked(values, mask)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("resample", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(12, 16), (9, 11), (24, 48), (50, 61), (24, 32)])
def test_resized_values_do_not_depend_on_the_no_data_value(
    dtype: str, resample: str, size: tuple[int, int]
) -> None:
    resized = resize(hole(dtype, 2), *size, resample)
    mask = mask_of(resized)
    assert resized.dtype == dtype and resized.shape == (*size, 2) and mask is not None
    valid = np.ma.getdata(resized)[~mask]
    assert np.abs(valid.astype(float) - 50).max() < 1e-4
    first = size[1] * 12 / 32  # end of the hole
    assert mask[:, : int(first) - 2].all() and not mask[:, int(first) + 2 :].any()
    spread = resize(np.ma.getdata(hole(dtype, 2)), *size, resample)  # negative control: no mask
    if resample != "nearest" and size != (24, 32):
        assert np.abs(spread.astype(float) - 50).max() > 1


def test_weights_of_the_filter() -> None:
    """Halving uses a triangle of 4 pixels, (1, 3, 3, 1) / 8; pixel 0 has no data."""
    row = np.array([[[9e9], [10.0], [20.0], [30.0], [40.0], [50.0], [60.0], [70.0]]], np.float32)
    mask = np.zeros(row.shape, bool)
    mask[0, 0] = True
    resized = resize(masked(row, mask), 1, 4, "bilinear")
    # At the border, the triangle is truncated: (3, 3, 1) / 7 of pixels 0 to 2; then 1 to 4.
    expected = [(3 * 10 + 20) / 4, (10 + 3 * 20 + 3 * 30 + 40) / 8]
    assert np.ma.getdata(resized)[0, :2, 0].tolist() == pytest.approx(expected, rel=1e-6)
    assert mask_of(resized) is None
    mask[0, :4] = True
    # The second pixel has the weight 1/8 of pixel 4, which is enough.
    halved = mask_of(resize(masked(row, mask), 1, 4, "bilinear"))
    assert halved[0, :, 0].tolist() == [True, False, False, False]
    mask[0, :5] = True
    halved = mask_of(resize(masked(row, mask), 1, 4, "bilinear"))
    assert halved[0, :, 0].tolist() == [True, True, False, False]


def test_bicubic_stays_in_the_range_of_valid_values() -> None:
    rng = np.random.default_rng(3)
    values = rng.random((40, 40, 1)).astype(np.float32)
    mask = rng.random(values.shape) < 0.7
    resized = resize(masked(np.where(mask, np.float32(-3.4e38), values), mask), 63, 57, "bicubic")
    assert resized.min() >= 0 and resized.max() <= 1 and mask_of(resized).any()


# -- values


def test_no_data_is_nan_in_values_and_can_be_filled() -> None:
    config = DomainConfig(channels=2, range="0,10", nodata="-1", nodata_fill=0.25)
    pixels = masked(
        np.array([[[10, 5], [0, 0]]], np.int16), np.array([[[False] * 2, [True, False]]])
    )
    domain = Domain(config, "int16", (0.0, 0.0), (10.0, 10.0))
    values = to_values(to_tensor(pixels)[None], domain)
    assert values.isnan().flatten().tolist() == [False, True, False, False]
    filled = fill_nodata(values, domain)
    assert filled[0, 0].tolist() == [[1.0, 0.25]] and filled[0, 1, 0, 1] == -1


def test_label_maps_may_have_a_no_data_value(tmp_path: Path) -> None:
    config = DomainConfig(kind="labels", ids=3, nodata="255")
    path = tmp_path / "x.png"
    Image.fromarray(np.array([[0, 255], [2, 1]], np.uint8)).save(path)
    pixels = to_domain(read(Source(path), indices=True, nodata=config.nodata_value), config, path)
    values = to_values(to_tensor(pixels)[None], Domain(config))
    assert values[0, :, 0, 1].isnan().all() and int(values.isnan().sum()) == 3
    assert fill_nodata(values, Domain(config))[0, :, 0, 1].tolist() == [-1, -1, -1]
    assert values[0, :, 1, 0].tolist() == [-1, -1, 1]
    with pytest.raises(UserError, match="the class 255"):
        to_domain(read(path, indices=True), DomainConfig(kind="labels", ids=3), path)
    for invalid in ({"kind": "labels", "classes": ("#000000",)}, {"kind": "lab-l"}):
        with pytest.raises(UserError, match="nodata belongs to images"):
            DomainConfig(**invalid, nodata="0")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="nodata_fill must be from -1 to 1"):
        fill(DomainConfig, {"nodata_fill": -1.5}, "data.a")


def test_conversion_of_the_dtype_keeps_the_mask() -> None:
    domain = Domain(DomainConfig(channels=1), "uint8", (0.0,), (255.0,))
    pixels = masked(
        np.array([[[0], [65535], [257]]], np.uint16), np.array([[[True], [False], [False]]])
    )
    resized = to_domain_range(pixels, domain, "x")
    assert resized.dtype == np.float32 and np.ma.getdata(resized)[0, 1:, 0].tolist() == [255, 1]
    assert mask_of(resized)[0, :, 0].tolist() == [True, False, False]
    values = to_values(to_tensor(resized)[None], domain)[0, 0, 0]
    assert values[1:].tolist() == pytest.approx([1, 2 / 255 - 1]) and values[0].isnan()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.where(np.arange(1000) < 100, -9999.0, np.arange(1000) / 10).astype("f4"), -9999),
        (np.where(np.arange(1000) < 100, -32768, np.arange(1000)).astype("i2"), -32768),
        (np.where(np.arange(1000) < 100, 65535, np.arange(1000)).astype("u2"), 65535),
        (np.where(np.arange(1000) < 100, F4.min, np.arange(1000)).astype("f4"), F4.min),
        (np.where(np.arange(1000) < 100, -9999, np.arange(1000) * 20).astype("f4"), -9999),
        (np.where(np.arange(1000) < 100, 0, 5000 + np.arange(1000)).astype("u2"), None),
        (np.where(np.arange(1000) < 5, -9999, np.arange(1000) / 10).astype("f4"), None),
        (np.arange(1000).astype("f4"), None),
        (np.where(np.arange(1000) < 500, 65535, 0).astype("u2"), None),  # a mask of two values
        ((np.arange(1000) % 3 * 30000).astype("u2"), None),  # a label map
        (np.where(np.arange(1000) < 500, 255, np.arange(1000) % 20).astype("u1"), None),
        (np.clip(np.arange(1000) * 100, 0, 65535).astype("u2"), None),  # over-exposed
    ],
)
def test_suspected_no_data_values(values: Any, expected: float | None) -> None:
    assert suspected_nodata(values.reshape(20, 50, 1)) == expected
    if expected is not None:  # a declared value is not suspected
        pixels = values.reshape(20, 50, 1)
        assert suspected_nodata(masked(pixels, pixels == expected)) is None


RULES = [
    (">=250", [[0, 0], [1, 1]]),
    (">250", [[0, 0], [0, 1]]),
    ("< 4", [[1, 0], [0, 0]]),
    ("<=3.5", [[1, 0], [0, 0]]),
]


@pytest.mark.parametrize(("rule", "expected"), RULES)
@pytest.mark.parametrize("alpha", [False, True])
def test_a_rule_masks_pixels_of_which_all_colours_fulfil_it(
    tmp_path: Path, rule: str, expected: list[list[int]], alpha: bool
) -> None:
    rows = [[[3, 0, 2], [3, 200, 3]], [[250, 255, 251], [255, 254, 251]]]
    pixels = np.array(rows, np.uint8)
    if alpha:  # it is no colour
        pixels = np.concatenate([pixels, np.full((2, 2, 1), 128, np.uint8)], axis=2)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    mask = mask_of(read(tmp_path / "x.png", nodata=parse_nodata(rule)))
    assert mask is not None
    assert np.array_equal(mask, np.repeat(np.array(expected, bool)[..., None], 3 + alpha, 2))


@pytest.mark.parametrize("rule", ["<", ">=", "<nan", "=>3", "<<3", "> inf", "3<"])
def test_invalid_rules_are_refused(rule: str) -> None:
    with pytest.raises(UserError) as caught:
        DomainConfig(nodata=rule)
    assert caught.value.option == "nodata"


def transparent(hidden: int, channels: int = 3) -> Pixels:
    """Return (4, 4, channels + 1): the left half has alpha 0, then 1 and 255."""
    pixels = np.full((4, 4, channels + 1), hidden, np.uint8)
    pixels[:, 2:, :-1] = 100
    pixels[..., -1] = [0, 0, 1, 255]
    return pixels


@pytest.mark.parametrize(("stored", "channels"), [(3, 3), (3, 1), (1, 1), (1, 3), (3, 4)])
def test_alpha_can_be_the_mask(tmp_path: Path, stored: int, channels: int) -> None:
    config = DomainConfig(channels=channels, alpha="mask")
    results = []
    for hidden in (7, 250):
        path = tmp_path / f"{hidden}.png"
        Image.fromarray(transparent(hidden, stored)).save(path)
        results += [to_domain_pixels(one, config, 100) for one in (path, path.read_bytes())]
        with Image.open(path) as image:
            results.append(to_domain_pixels(image.copy(), config, 100))
    for result in results:
        mask = mask_of(result)
        assert mask is not None and mask.shape == (4, 4, channels)
        assert mask[:, :2].all() and not mask[:, 2:].any()
        colours = result[:, 2:, :1] if channels == 4 else result[:, 2:]
        assert (colours == 100).all()  # as stored, also where alpha is 1 of 255
        assert np.array_equal(np.ma.getdata(result), np.ma.getdata(results[0]))
    blended = to_domain_pixels(path, DomainConfig(channels=channels), 100)  # control
    assert mask_of(blended) is None
    assert channels == 4 or (blended[:, :2] == 255).all()


def test_alpha_mask_of_arrays_and_of_floats(tmp_path: Path) -> None:
    config = DomainConfig(channels=3, alpha="mask")
    array = to_domain_pixels(transparent(7), config, 100)
    mask = mask_of(array)
    assert mask is not None and array.shape == (4, 4, 3) and mask[:, :2].all()
    assert mask_of(to_domain_pixels(transparent(7)[..., :3], config, 100)) is None
    values = transparent(7).astype(np.float32)
    values[:, :2, :3] = np.nan  # not read, so that it is no error
    tifffile.imwrite(
        tmp_path / "x.tif", values, photometric="rgb", extrasamples=["unassalpha"], metadata=None
    )
    pixels = read(tmp_path / "x.tif", 3, nodata=config.nodata_value)
    assert np.array_equal(mask_of(pixels), mask) and (pixels[:, 2:] == 100).all()
    with pytest.raises(UserError, match="24 non-finite"):
        read(tmp_path / "x.tif", 4)


def test_alpha_masks_belong_to_images() -> None:
    with pytest.raises(UserError) as caught:
        DomainConfig(kind="lab-l", alpha="mask")
    assert caught.value.option == "alpha"
