"""The resolution of image files is read and written, in pixels per inch."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from viceversa.images import Tags, read, read_tags
from viceversa.images.header import UNKNOWN
from viceversa.images.io import decode
from viceversa.images.writing import to_bytes

RGB = np.arange(12 * 10 * 3, dtype=np.uint8).reshape(12, 10, 3)
OME = (
    '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/'
    '2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" '
    'SizeX="10" SizeY="12" SizeC="3" SizeZ="1" SizeT="1" {}>'
    "<Channel ID='Channel:0' SamplesPerPixel='3'/><TiffData/></Pixels></Image></OME>"
)


def pillow(**options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(RGB).save(out, **options)
    return out.getvalue()


def tiff(**options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, RGB, photometric="rgb", **options)
    return out.getvalue()


def resolution(data: bytes) -> tuple[float, float]:
    return decode(data, "the image").tags.resolution


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF"])
def test_resolution_of_another_program(format: str) -> None:
    assert resolution(pillow(format=format, dpi=(300, 150))) == pytest.approx((300, 150), abs=0.02)
    assert resolution(pillow(format=format)) == UNKNOWN
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn
    if format != "TIFF":
        data = pillow(format=format, dpi=(300, 150), exif=turned.tobytes())
        assert resolution(data) == pytest.approx((150, 300), abs=0.02)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"resolution": (118.11, 59.055), "resolutionunit": "CENTIMETER"}, (300, 150)),
        ({"resolution": (72, 36), "resolutionunit": "INCH"}, (72, 36)),
        ({"resolution": (72, 36), "resolutionunit": "NONE"}, UNKNOWN),
        (
            {
                "resolution": (72, 36),
                "resolutionunit": "INCH",
                "extratags": [(274, "H", 1, 8, True)],
            },
            (36, 72),
        ),
    ],
    ids=["centimetre", "inch", "ratio", "turned"],
)
def test_units_of_tiff(options: dict[str, Any], expected: tuple[float, float]) -> None:
    assert resolution(tiff(**options)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ('PhysicalSizeX="0.25" PhysicalSizeY="0.5"', (101_600, 50_800)),
        ('PhysicalSizeX="250" PhysicalSizeXUnit="nm" PhysicalSizeY="0.5"', (101_600, 50_800)),
        (
            'PhysicalSizeX="1" PhysicalSizeXUnit="mm" PhysicalSizeY="1" PhysicalSizeYUnit="mm"',
            (25.4, 25.4),
        ),
        ('PhysicalSizeX="0.25"', (72, 72)),
        ('PhysicalSizeX="0" PhysicalSizeY="1"', (72, 72)),
        ('PhysicalSizeX="1" PhysicalSizeXUnit="pixel" PhysicalSizeY="1"', (72, 72)),
    ],
    ids=["default unit", "nm", "mm", "one axis", "zero", "pixel"],
)
def test_physical_size_of_ome(attributes: str, expected: tuple[float, float]) -> None:
    """Where it is not complete, the resolution of the page is used."""
    text = OME.format(attributes)
    data = tiff(description=text.encode(), resolution=(72, 72), resolutionunit="INCH")
    assert resolution(data) == pytest.approx(expected)


def test_physical_size_of_a_file_of_tifffile() -> None:
    out = io.BytesIO()
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.25}
    tifffile.imwrite(out, RGB, photometric="rgb", ome=True, metadata={"axes": "YXS", **sizes})
    assert resolution(out.getvalue()) == pytest.approx((50_800, 101_600))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_resolution_is_written(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(to_bytes(RGB, suffix, Tags(resolution=(300.0, 150.0))))
    with Image.open(path) as image:
        assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
    again = read_tags(path)
    assert again.resolution == pytest.approx((300, 150), abs=0.02)
    assert to_bytes(RGB, suffix, again) == path.read_bytes()  # it does not drift


def test_resolution_of_a_16_bit_png(tmp_path: Path) -> None:
    path, sixteen = tmp_path / "x.png", RGB.astype(np.uint16) * 257
    path.write_bytes(to_bytes(sixteen, ".png", Tags(resolution=(300.0, 150.0))))
    assert read_tags(path).resolution == pytest.approx((300, 150), abs=0.02)
    assert np.array_equal(read(path), sixteen)


def test_a_resolution_that_jpeg_cannot_store_is_left_out() -> None:
    fine = Tags(resolution=(101_600.0, 101_600.0))
    assert to_bytes(RGB, ".jpg", fine) == to_bytes(RGB, ".jpg")
    assert resolution(to_bytes(RGB, ".png", fine)) == pytest.approx((101_600, 101_600))


@pytest.mark.parametrize(
    "data",
    [
        to_bytes(RGB, ".png", Tags(resolution=(300.0, 0.0))),
        pillow(format="PNG", dpi=(300, 300)).replace(b"pHYs", b"pHYz"),
        tiff(resolution=(7919, 1), resolutionunit="INCH").replace(
            struct.pack("<II", 7919, 1), struct.pack("<II", 7919, 0)
        ),
    ],
    ids=["zero", "no chunk", "division by zero"],
)
def test_invalid_resolutions_are_ignored(data: bytes) -> None:
    assert resolution(data) == UNKNOWN
