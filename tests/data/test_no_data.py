"""Data sets with no-data values: ranges, findings, what training and validation get of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from viceversa.data import DataConfig, index_split
from viceversa.data.check import as_dict, as_text, check_dataset
from viceversa.data.dataset import ImageDataset
from viceversa.data.fit import fit_domains
from viceversa.data.transforms import Augmentation, color_jitter, warp
from viceversa.errors import UserError
from viceversa.images.domain import Domain
from viceversa.images.sources import Source

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
A: dict[str, Any] = {"channels": 1, "range": "minmax"}


def tile(seed: int, nodata: Any = -9999, rows: int = 8) -> Any:
    """(32, 32) float32 from -100 to 100, the first rows without data."""
    values = np.linspace(-100, 100, 32 * 32, dtype=np.float32).reshape(32, 32)
    values = np.roll(values, seed, axis=1)
    values[:rows] = nodata
    return values


def put(path: Path, values: Any, tag: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tags = [] if tag is None else [(42113, "s", 0, tag, True)]
    tifffile.imwrite(path, values, photometric="minisblack", metadata=None, extratags=tags)


def tiles(root: Path, tag: str | None = "-9999", nodata: Any = -9999, count: int = 4) -> Path:
    for number in range(count):
        put(root / f"A/{number}.tif", tile(number, nodata), tag)
        put(root / f"B/{number}.tif", tile(number, 0, 0))
    return root


def config(root: Path, a: dict[str, Any], **data: Any) -> DataConfig:
    from viceversa.fields import fill

    usual = {"preprocess": "none", "flip": False, "workers": 0}
    given = {"path": str(root), "a": {**A, **a}, "b": A, **usual, **data}
    return fill(DataConfig, given, "data")


def looked(root: Path, a: dict[str, Any], **data: Any) -> Any:
    return check_dataset(root, True, config(root, a, **data), store=None)


def domains(root: Path, a: dict[str, Any], **data: Any) -> tuple[Domain, Domain]:
    checked = looked(root, a, **data)
    assert not checked.errors
    return fit_domains(checked.splits["train"], checked.domains["train"], checked.config)


def opened(root: Path, a: dict[str, Any], training: bool = False, **data: Any) -> ImageDataset:
    settings = config(root, a, **data)
    found = index_split(root, "train", True, settings)
    assert found is not None
    return ImageDataset(found, settings, domains(root, a, **data), True, 0, training)


def digests(pictures: ImageDataset) -> dict[Source, str]:
    sources = [*pictures.sources("a"), *pictures.sources("b")]
    return {source: hashlib.sha256(source.read()).hexdigest() for source in sources}


LOW = float(tile(0)[8:].min())


@pytest.mark.parametrize("kind", ["minmax", "percentiles"])
@pytest.mark.parametrize(
    ("tag", "stored", "given"),
    [
        ("-9999", -9999, {}),
        ("-3.4028234663852886e+38", np.finfo("f4").min, {}),
        ("nan", np.nan, {}),
        (None, -9999, {"nodata": "-9999"}),
        (None, np.nan, {"nodata": "nan"}),
        ("7", -9999, {"nodata": -9999}),
    ],
)
def test_ranges_are_of_the_values_with_data(
    tmp_path: Path, kind: str, tag: str | None, stored: Any, given: dict[str, Any]
) -> None:
    a, _ = domains(tiles(tmp_path, tag, stored), {"range": kind, "percentiles": [0, 100], **given})
    assert (a.low[0], a.high[0]) == pytest.approx((LOW, 100), abs=1 if kind == "percentiles" else 0)
    assert a.nodata == (str(given["nodata"]) if given else tag)


def test_without_a_declaration_the_value_is_one_like_others_and_suspected(tmp_path: Path) -> None:
    root = tiles(tmp_path, None)
    checked = looked(root, {})
    (told,) = [one for one in checked.issues if "no data" in one.text]
    assert (
        told.severity == "warning" and "images of A in which -9999 fills many pixels" in told.text
    )
    assert told.total == 4 and "--data.a.nodata -9999" in told.advice
    assert domains(root, {})[0].low == (-9999.0,)  # the control
    for nodata in ("-9999", "none"):
        quiet = looked(root, {"nodata": nodata})
        assert not [one.text for one in quiet.issues if "no data" in one.text]


def test_nan_is_refused_with_what_to_do(tmp_path: Path) -> None:
    checked = looked(tiles(tmp_path, None, np.nan), {})
    told = checked.errors[0]
    assert told.text == "images of A with NaN" and told.total == 4
    assert told.advice.startswith("set --data.a.nodata nan if NaN means no data in A")
    assert "repair or remove the files" not in as_text(checked)
    assert not looked(tmp_path, {"nodata": "nan"}).errors


def test_what_a_check_tells_of_no_data(tmp_path: Path) -> None:
    root = tiles(tmp_path)
    checked = looked(root, {})
    assert checked.issues == () and "no data -9999" in as_text(checked)
    assert as_dict(checked)["domains"][0]["nodata"] == {"-9999": 4}
    put(root / "A/1.tif", tile(1, -32768), "-32768")
    put(root / "A/2.tif", tile(2, 0, 0))
    put(root / "A/3.tif", np.full((32, 32), -9999, "f4"), "-9999")
    checked = looked(root, {})
    told = "; ".join(one.text for one in checked.issues)
    assert "images of A declare different no-data values (-9999, -32768, none)" in told
    assert "images of A that have the no-data value everywhere" in told
    assert as_dict(checked)["domains"][0]["range"] == [[-100.0, 100.0]]
    assert domains(root, {})[0] == Domain(checked.config.a, "float32", (-100.0,), (100.0,))


def test_a_domain_without_any_data_is_refused(tmp_path: Path) -> None:
    root = tiles(tmp_path)
    for number in range(4):
        put(root / f"A/{number}.tif", np.full((32, 32), -9999, "f4"), "-9999")
    for kind in ("minmax", "percentiles"):
        with pytest.raises(UserError, match="domain A has no data in channel 1") as caught:
            domains(root, {"range": kind})
        assert caught.value.option == "data.a.nodata"


@pytest.mark.parametrize("cache", ["memory", "off", "disk"])
def test_training_gets_the_fill_and_validation_where_it_is(tmp_path: Path, cache: str) -> None:
    root = tiles(tmp_path / "data")
    pictures = opened(root, {"nodata_fill": 0.5}, cache=cache)
    if cache == "disk":
        pictures.digests = digests(pictures)
        pictures.cache_on_disk(tmp_path / "cache", lambda note: None)
    for _ in range(2):
        batch = pictures.batch([(1, 0), (1, 1)], CPU)
        marked = pictures.batch([(1, 0), (1, 1)], CPU, fill=False)
        assert batch is not None and marked is not None
        assert (batch[0][:, :, :8] == 0.5).all() and marked[0][:, :, :8].isnan().all()
        assert torch.equal(batch[0][:, :, 8:], marked[0][:, :, 8:])
        assert torch.equal(batch[1], marked[1]) and not batch[1].isnan().any()
        assert pictures.values("a", 0, CPU)[:, :, :8].isnan().all()


def test_a_cache_on_disk_is_made_again_for_another_no_data_value(tmp_path: Path) -> None:
    root, told = tiles(tmp_path / "data", None), []  # type: ignore[var-annotated]
    for nodata in ("none", "-9999"):
        pictures = opened(root, {"nodata": nodata, "range": "-9999,100"})
        pictures.digests = digests(pictures)
        pictures.cache_on_disk(tmp_path / "cache", told.append)
        marked = pictures.batch([(1, 0)], CPU, fill=False)
        assert marked is not None and bool(marked[0].isnan().any()) == (nodata == "-9999")
    assert any("settings of the data changed" in one for one in told)


def test_no_value_depends_on_the_no_data_value(tmp_path: Path) -> None:
    """Resized, cropped, mirrored, warped and jittered: the same batch, whatever was stored."""
    settings: dict[str, Any] = {
        "preprocess": "resize_and_crop",
        "load_size": 28,
        "crop_size": 24,
        "flip": True,
        "rotate": 20.0,
        "zoom": 0.3,
        "shear": 5.0,
        "jitter": 0.4,
    }
    made = []
    for name, stored in (("one", -9999), ("two", 12345), ("three", np.nan)):
        root = tiles(tmp_path / name, None, stored)
        nodata = str(stored)
        pictures = opened(root, {"nodata": nodata}, training=True, **settings)
        batch = pictures.batch([(1, p) for p in range(4)], CPU)
        assert batch is not None
        assert bool((batch[0] == -1).any()) and not batch[0].isnan().any()
        made.append(batch)
    for other in made[1:]:
        assert torch.equal(made[0][0], other[0]) and torch.equal(made[0][1], other[1])


def test_warp_and_jitter_leave_no_data_out() -> None:
    settings = config(Path(), {}, preprocess="resize_and_crop", rotate=30.0)
    values = torch.full((1, 1, 16, 16), 0.25)
    values[:, :, :6] = torch.nan
    draws = [Augmentation(warp=(0.0, 0.0, 0.0, 1.0, 0.0), color_jitter=(0.5, 0.5, 0.5))]
    warped = warp(values, draws, settings, nearest=False, missing=True)
    kept = warped[~warped.isnan()]
    assert 0 < len(kept) < 256 and kept.tolist() == pytest.approx([0.25] * len(kept), abs=1e-6)
    changed = color_jitter(values, draws, 0.4, missing=True)
    # of a constant image brightness alone changes, by 0.5 * 0.4
    assert (
        changed[0, 0, 8].tolist() == pytest.approx([0.45] * 16) and changed[0, 0, 5].isnan().all()
    )
    alike = torch.rand(1, 3, 8, 8)
    assert torch.allclose(
        color_jitter(alike, draws, 0.4, True), color_jitter(alike, draws, 0.4), atol=1e-6
    )


def test_label_maps_with_pixels_of_no_class(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / f"A/{number}.tif", tile(number, 0, 0))
        labels = RNG.integers(0, 3, (32, 32)).astype(np.uint8)
        labels[:4] = 255
        put(tmp_path / f"B/{number}.tif", labels)
    ids = {"kind": "labels", "ids": 3, "channels": 3, "range": "dtype"}
    assert looked(tmp_path, {}, b=ids).errors
    checked = looked(tmp_path, {}, b={**ids, "nodata": "255"})
    assert not checked.errors
    a, b = fit_domains(checked.splits["train"], checked.domains["train"], checked.config)
    pictures = ImageDataset(checked.splits["train"], checked.config, (a, b), True, 0, False)
    batch = pictures.batch([(1, 0)], CPU, fill=False)
    assert batch is not None and batch[1].shape[1] == 3
    assert batch[1][:, :, :4].isnan().all() and not batch[1][:, :, 4:].isnan().any()
    assert b.nodata == "255"


def test_profiles_and_metadata_are_those_of_all_training_images(tmp_path: Path) -> None:
    from PIL import Image, ImageCms

    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rgb = RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for side in "AB":
        for number in range(3):
            (tmp_path / side).mkdir(exist_ok=True)
            Image.fromarray(rgb).save(tmp_path / side / f"{number}.jpg", icc_profile=icc)
    plain_settings: dict[str, Any] = {"channels": 3, "range": "dtype"}
    a, b = domains(tmp_path, plain_settings, b=plain_settings)
    assert a.profile == b.profile == icc
    grey, _ = domains(tmp_path, {**plain_settings, "channels": 1}, b=plain_settings)
    assert grey.profile == b""  # a profile of RGB is none of grey images
    Image.fromarray(rgb).save(tmp_path / "B/1.jpg")
    a, b = domains(tmp_path, plain_settings, b=plain_settings)
    assert a.profile == icc and b.profile == b""
