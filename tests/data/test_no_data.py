"""Test datasets with no-data values: ranges, issues, batches of training and validation."""

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
    """Return (32, 32) float32 values from -100 to 100; the first rows have no data."""
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


def check(root: Path, a: dict[str, Any], **data: Any) -> Any:
    return check_dataset(root, True, config(root, a, **data), store=None)


def domains(root: Path, a: dict[str, Any], **data: Any) -> tuple[Domain, Domain]:
    checked = check(root, a, **data)
    assert not checked.errors
    return fit_domains(checked.splits["train"], checked.domains["train"], checked.config)


def open_dataset(
    root: Path, a: dict[str, Any], training: bool = False, **data: Any
) -> ImageDataset:
    settings = config(root, a, **data)
    index = index_split(root, "train", True, settings)
    assert index is not None
    return ImageDataset(index, settings, domains(root, a, **data), True, 0, training)


def digests(dataset: ImageDataset) -> dict[Source, str]:
    sources = [*dataset.sources("a"), *dataset.sources("b")]
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
def test_ranges_ignore_no_data_values(
    tmp_path: Path, kind: str, tag: str | None, stored: Any, given: dict[str, Any]
) -> None:
    a, _ = domains(tiles(tmp_path, tag, stored), {"range": kind, "percentiles": [0, 100], **given})
    assert (a.low[0], a.high[0]) == pytest.approx((LOW, 100), abs=1 if kind == "percentiles" else 0)
    assert a.nodata == (str(given["nodata"]) if given else tag)


def test_undeclared_no_data_value_is_a_warning(tmp_path: Path) -> None:
    root = tiles(tmp_path, None)
    checked = check(root, {})
    (issue,) = [issue for issue in checked.issues if "no data" in issue.text]
    assert issue.severity == "warning"
    assert "images of A in which -9999 fills many pixels" in issue.text
    assert issue.total == 4 and "--data.a.nodata -9999" in issue.advice
    assert domains(root, {})[0].low == (-9999.0,)  # negative control
    for nodata in ("-9999", "none"):
        declared = check(root, {"nodata": nodata})
        assert not [issue.text for issue in declared.issues if "no data" in issue.text]


def test_undeclared_nan_is_an_error_with_advice(tmp_path: Path) -> None:
    checked = check(tiles(tmp_path, None, np.nan), {})
    issue = checked.errors[0]
    assert issue.text == "images of A with NaN" and issue.total == 4
    assert issue.advice.startswith("set --data.a.nodata nan if NaN means no data in A")
    assert "repair or remove the files" not in as_text(checked)
    assert not check(tmp_path, {"nodata": "nan"}).errors


def test_issues_of_no_data_values(tmp_path: Path) -> None:
    root = tiles(tmp_path)
    checked = check(root, {})
    assert checked.issues == () and "no data -9999" in as_text(checked)
    assert as_dict(checked)["domains"][0]["nodata"] == {"-9999": 4}
    put(root / "A/1.tif", tile(1, -32768), "-32768")
    put(root / "A/2.tif", tile(2, 0, 0))
    put(root / "A/3.tif", np.full((32, 32), -9999, "f4"), "-9999")
    checked = check(root, {})
    texts = "; ".join(issue.text for issue in checked.issues)
    assert "images of A declare different no-data values (-9999, -32768, none)" in texts
    assert "images of A without any data, which are left out" in texts
    assert as_dict(checked)["domains"][0]["range"] == [[-100.0, 100.0]]
    expected = Domain(checked.config.a, "float32", (-100.0,), (100.0,), mixed_nodata=True)
    assert domains(root, {})[0] == expected


def test_domain_without_any_data_is_refused(tmp_path: Path) -> None:
    root = tiles(tmp_path)
    for number in range(4):
        put(root / f"A/{number}.tif", np.full((32, 32), -9999, "f4"), "-9999")
    for kind in ("minmax", "percentiles"):
        with pytest.raises(UserError, match="domain A has no data in channel 1") as caught:
            domains(root, {"range": kind})
        assert caught.value.option == "data.a.nodata"


@pytest.mark.parametrize("cache", ["memory", "off", "disk"])
def test_batches_have_the_fill_value_and_validation_has_nan(tmp_path: Path, cache: str) -> None:
    root = tiles(tmp_path / "data")
    dataset = open_dataset(root, {"nodata_fill": 0.5}, cache=cache)
    if cache == "disk":
        dataset.digests = digests(dataset)
        dataset.cache_on_disk(tmp_path / "cache", lambda note: None)
    for _ in range(2):
        batch = dataset.batch([(1, 0), (1, 1)], CPU)
        marked = dataset.batch([(1, 0), (1, 1)], CPU, fill=False)
        assert batch is not None and marked is not None
        assert (batch[0][:, :, :8] == 0.5).all() and marked[0][:, :, :8].isnan().all()
        assert torch.equal(batch[0][:, :, 8:], marked[0][:, :, 8:])
        assert torch.equal(batch[1], marked[1]) and not batch[1].isnan().any()
        assert dataset.values("a", 0, CPU)[:, :, :8].isnan().all()


def test_disk_cache_is_rebuilt_for_another_no_data_value(tmp_path: Path) -> None:
    root, messages = tiles(tmp_path / "data", None), list[str]()
    for nodata in ("none", "-9999"):
        dataset = open_dataset(root, {"nodata": nodata, "range": "-9999,100"})
        dataset.digests = digests(dataset)
        dataset.cache_on_disk(tmp_path / "cache", messages.append)
        marked = dataset.batch([(1, 0)], CPU, fill=False)
        assert marked is not None and bool(marked[0].isnan().any()) == (nodata == "-9999")
    assert any("settings of the data changed" in message for message in messages)


def test_batches_do_not_depend_on_the_stored_no_data_value(tmp_path: Path) -> None:
    """Resized, cropped, flipped, warped and jittered batches are the same for any stored value."""
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
    batches = []
    for name, stored in (("one", -9999), ("two", 12345), ("three", np.nan)):
        root = tiles(tmp_path / name, None, stored)
        nodata = str(stored)
        dataset = open_dataset(root, {"nodata": nodata}, training=True, **settings)
        batch = dataset.batch([(1, p) for p in range(4)], CPU)
        assert batch is not None
        assert bool((batch[0] == -1).any()) and not batch[0].isnan().any()
        batches.append(batch)
    for other in batches[1:]:
        assert torch.equal(batches[0][0], other[0]) and torch.equal(batches[0][1], other[1])


def test_warp_and_jitter_ignore_no_data() -> None:
    settings = config(Path(), {}, preprocess="resize_and_crop", rotate=30.0)
    values = torch.full((1, 1, 16, 16), 0.25)
    values[:, :, :6] = torch.nan
    draws = [Augmentation(warp=(0.0, 0.0, 0.0, 1.0, 0.0), color_jitter=(0.5, 0.5, 0.5))]
    warped = warp(values, draws, settings, nearest=False, missing=True)
    kept = warped[~warped.isnan()]
    assert 0 < len(kept) < 256 and kept.tolist() == pytest.approx([0.25] * len(kept), abs=1e-6)
    changed = color_jitter(values, draws, 0.4, missing=True)
    # Only the brightness of a constant image changes, by 0.5 * 0.4.
    assert (
        changed[0, 0, 8].tolist() == pytest.approx([0.45] * 16) and changed[0, 0, 5].isnan().all()
    )
    values = torch.rand(1, 3, 8, 8)
    assert torch.allclose(
        color_jitter(values, draws, 0.4, True), color_jitter(values, draws, 0.4), atol=1e-6
    )


def test_label_maps_with_a_no_data_value(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / f"A/{number}.tif", tile(number, 0, 0))
        labels = RNG.integers(0, 3, (32, 32)).astype(np.uint8)
        labels[:4] = 255
        put(tmp_path / f"B/{number}.tif", labels)
    ids = {"kind": "labels", "ids": 3, "channels": 3, "range": "dtype"}
    assert check(tmp_path, {}, b=ids).errors
    checked = check(tmp_path, {}, b={**ids, "nodata": "255"})
    assert not checked.errors
    a, b = fit_domains(checked.splits["train"], checked.domains["train"], checked.config)
    dataset = ImageDataset(checked.splits["train"], checked.config, (a, b), True, 0, False)
    batch = dataset.batch([(1, 0)], CPU, fill=False)
    assert batch is not None and batch[1].shape[1] == 3
    assert batch[1][:, :, :4].isnan().all() and not batch[1][:, :, 4:].isnan().any()
    assert b.nodata == "255"


def test_colour_profile_of_a_domain_is_that_of_all_training_images(tmp_path: Path) -> None:
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
    assert grey.profile == b""  # a profile of RGB does not apply to grey images
    Image.fromarray(rgb).save(tmp_path / "B/1.jpg")
    a, b = domains(tmp_path, plain_settings, b=plain_settings)
    assert a.profile == icc and b.profile == b""
