"""No-data values and tags in the commands train, translate and evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms
from support import log_lines, small_model

from viceversa import Translator
from viceversa.checkpoint import read_header
from viceversa.cli import main
from viceversa.config.evaluation import EvaluationOptions
from viceversa.evaluation import as_json, run_evaluation
from viceversa.images import read, read_tags
from viceversa.images.domain import Domain, DomainConfig
from viceversa.images.nodata import NoData, mask_of

SMALL = (
    "--data.load_size 32 --data.crop_size 32 --generator.depth 4 --generator.width 4 "
    "--discriminator.width 4 --discriminator.layers 1 --train.epochs 1 --data.workers 0 "
    "--train.precision fp32 "
    "--data.a.channels 1 --data.b.channels 1 --data.a.range minmax --data.b.range minmax"
)
TINY = SMALL.split()
GEO = [
    (33550, "d", 3, (10.0, 10.0, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 5e5, 4.6e6, 0.0), True),
    (34735, "H", 4, (1, 1, 0, 0), True),
]


def smooth_noise(seed: int) -> Any:
    coarse = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (40, 40), mode="bicubic")[0, 0].numpy() * 100


def tiles(root: Path, stored: float = -9999, b: str | None = "-1") -> Path:
    """Write pairs with no data in the first rows of A and the first columns of B, in two splits."""
    for split, count in (("train", 3), ("test", 2)):
        for number in range(count):
            a, other = smooth_noise(number), 100 - smooth_noise(number)
            a[:10], other[:, :8] = stored, -1
            for side, image, tag in (("A", a, str(stored)), ("B", other, b)):
                path = root / split / side / f"{number}.tif"
                path.parent.mkdir(parents=True, exist_ok=True)
                tags = [(42113, "s", 0, tag, True)] if tag else []
                meta = (42112, "s", 0, f"<Unit>{side}</Unit>", True)
                tifffile.imwrite(path, image, metadata=None, extratags=[*GEO, *tags, meta])
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two datasets that differ in the no-data value only, and train a run on each."""
    root = tmp_path_factory.mktemp("nodata")
    for name, stored in (("one", -9999.0), ("two", 31000.0)):
        tiles(root / name, stored)
        main(
            ["train", "pix2pix", str(root / name), *TINY, "--train.run", str(root / f"run-{name}")]
        )
    return root


@pytest.mark.slow
def test_training_and_validation_do_not_depend_on_the_no_data_value(folder: Path) -> None:
    one, two = (log_lines(folder / f"run-{name}", clock=False) for name in ("one", "two"))
    assert one == two and {line["kind"] for line in one} >= {"train", "validation"}


def test_the_model_stores_the_no_data_values(folder: Path) -> None:
    header = read_header(folder / "run-one" / "ab.safetensors")
    assert header["source"]["nodata"] == "-9999.0" and header["target"]["nodata"] == "-1"
    assert header["source"]["config"]["nodata"] == "tag"
    assert header["target"]["metadata"] == "<Unit>B</Unit>"
    assert -50 < header["source"]["low"][0] < header["source"]["high"][0] < 150


def test_outputs_have_no_data_where_the_source_has_none(folder: Path) -> None:
    model, out = folder / "run-one" / "ab.safetensors", folder / "out"
    images = [folder / "one/test/A/0.tif", folder / "two/test/A/1.tif"]  # each by its own tag
    main(["translate", str(model), *map(str, images), "-o", str(out)])
    for image in images:
        output = read(out / image.name, nodata=NoData(tag=True))
        mask = mask_of(output)
        assert mask is not None and mask[:10].all() and not mask[10:].any()
        tags = read_tags(out / image.name)
        assert tags.nodata == "-1" and tags.metadata == "<Unit>B</Unit>"
        assert [code for code, *_ in tags.geometry] == [33550, 33922, 34735]
    array = np.asarray(Translator.load(model)(read(images[0])))
    assert (array[:10] == -1).all() and (array[10:] != -1).all()
    plain_file = (
        folder / "plain.tif"
    )  # without a tag, the no-data value of the training images applies
    tifffile.imwrite(plain_file, read(images[0])[:, :, 0])
    assert np.array_equal(Translator.load(model)(plain_file), array)


def test_evaluate_does_not_depend_on_the_no_data_value(folder: Path) -> None:
    """Metrics of a pair also do not depend on values where the other image has no data."""
    metrics = ("l1", "psnr", "ssim", "edge_correlation", "swd")
    found = [
        run_evaluation(folder / "run-one", str(folder / name), EvaluationOptions(metrics=metrics))
        for name in ("one", "two")
    ]
    means, others = (one.directions[0].values | one.directions[0].sets for one in found)
    assert means == others and np.isfinite([v for vs in means.values() for v in np.ravel(vs)]).all()
    protocol = as_json(found[0])["protocol"]["nodata"]
    assert protocol["a"].startswith("-9999.0: left out of l1") and "-1" in protocol["b"]
    main(["evaluate", str(folder / "run-one"), str(folder / "one"), "-o", str(folder / "page")])
    assert (folder / "page" / "index.html").is_file()


def test_l1_is_the_mean_of_pixels_with_data(folder: Path) -> None:
    result = run_evaluation(
        folder / "run-one", str(folder / "one"), EvaluationOptions(size="own", metrics=("l1",))
    )
    translator = Translator.load(folder / "run-one" / "ab.safetensors")
    low, high = translator.target.low[0], translator.target.high[0]
    for number, expected in enumerate(result.directions[0].values["l1"]):
        output = translator(folder / f"one/test/A/{number}.tif")[10:, 8:, 0]
        real = read(folder / f"one/test/B/{number}.tif")[10:, 8:, 0].clip(low, high)
        assert expected == pytest.approx(2 * np.abs(output - real).mean() / (high - low), rel=1e-5)


def test_images_without_data_are_left_out_and_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tiles(tmp_path / "data")
    empty = np.full((40, 40), -9999, np.float32)
    tifffile.imwrite(root / "test/A/0.tif", empty, extratags=[(42113, "s", 0, "-9999", True)])
    result = run_evaluation(folder / "run-one", str(root), EvaluationOptions(metrics=("l1", "swd")))
    assert result.directions[0].translations == 1
    assert any("left out 1 pairs without a pixel that has data" in note for note in result.notes)
    main(["train", "pix2pix", str(root), *TINY, "--train.run", str(tmp_path / "run")])
    output = capsys.readouterr().out
    assert "images of A without any data, which are left out" in output


RGB = Domain()
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_icc_profiles_are_those_of_the_target_and_exif_is_not_copied(tmp_path: Path) -> None:
    import base64
    import dataclasses

    rgb = (np.random.default_rng(0).random((24, 24, 3)) * 255).astype(np.uint8)
    exif = Image.Exif()
    exif[0x010E] = "a private place"
    other = ICC[:-4] + b"them"
    for suffix in ("png", "jpg", "webp", "tif"):
        Image.fromarray(rgb).save(tmp_path / f"x-{suffix}.{suffix}", icc_profile=other, exif=exif)
    with_profile = dataclasses.replace(RGB, icc=base64.b64encode(ICC).decode())
    for name, target, expected in (("without", RGB, None), ("with", with_profile, ICC)):
        (tmp_path / name).mkdir()
        model = small_model(tmp_path / name, RGB, target)
        out = tmp_path / name / "out"
        main(["translate", str(model), str(tmp_path / "x-*.*"), "-o", str(out)])
        for suffix in ("png", "jpg", "webp", "tif"):
            path = out / f"x-{suffix}.{suffix}"
            with Image.open(path) as image:
                assert image.info.get("icc_profile") == expected, path
                assert 0x010E not in image.getexif()
            assert b"private" not in path.read_bytes()


@pytest.mark.parametrize("options", [[], ["--half", "left"]])
def test_geometry_is_kept_for_outputs_of_the_size_of_the_source(
    tmp_path: Path, options: list[str]
) -> None:
    rgb = (np.random.default_rng(0).random((24, 48, 3)) * 255).astype(np.uint8)
    tifffile.imwrite(tmp_path / "geo.tif", rgb, photometric="rgb", extratags=GEO)
    model = small_model(tmp_path, RGB, RGB)
    main(
        ["translate", str(model), str(tmp_path / "geo.tif"), "-o", str(tmp_path / "out"), *options]
    )
    tags = read_tags(tmp_path / "out" / "geo.tif")
    assert len(tags.geometry) == (0 if options else 3)


def domain(dtype: str, **config: Any) -> Domain:
    limits = np.iinfo(dtype) if dtype != "float32" else np.finfo(dtype)
    return Domain(
        DomainConfig(channels=1, **config), dtype, (float(limits.min),), (float(limits.max),)
    )


@pytest.mark.parametrize(
    ("trained", "dtype", "expected"),
    [
        ("uint8", "uint16", "uint16 images, but the model was trained on uint8: 0 to 65535 are"),
        ("uint16", "uint8", "uint8 images, but the model was trained on uint16: 0 to 255 are"),
        ("int16", "uint8", "uint8 images, but the model was trained on int16"),
        ("uint8", "int16", "int16 images, but the model was trained on uint8"),
        ("uint8", "uint8", ""),
    ],
)
def test_another_dtype_than_in_training_is_noted(
    trained: str, dtype: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_model(tmp_path, domain(trained), domain("uint8"))
    for number in range(2):
        image = np.arange(24 * 24, dtype=dtype).reshape(24, 24)
        tifffile.imwrite(tmp_path / f"{number}.tif", image)
    main(["translate", str(model), str(tmp_path / "*.tif"), "-o", str(tmp_path / "out")])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note")]
    assert len(lines) == bool(expected) and all(
        "0.tif" in line and expected in line for line in lines
    )


def test_with_an_explicit_range_another_dtype_is_not_scaled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_model(
        tmp_path,
        Domain(DomainConfig(channels=1, range="0,255"), "uint8", (0.0,), (255.0,)),
        domain("uint8"),
    )
    tifffile.imwrite(tmp_path / "x.tif", np.full((24, 24), 200, np.float32))
    main(["translate", str(model), str(tmp_path / "x.tif"), "-o", str(tmp_path / "out")])
    output = capsys.readouterr().out
    assert (
        "float32 images, but the model was trained on uint8: their values are not scaled" in output
    )


def test_evaluate_notes_another_dtype_and_scales_it(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    model = small_model(tmp_path, domain("uint8"), domain("uint8"))
    for side in "AB":
        for depth in (8, 16):
            (tmp_path / f"{depth}" / side).mkdir(parents=True)
        for number in range(2):
            image = rng.integers(0, 256, (24, 24), dtype=np.uint8)
            Image.fromarray(image).save(tmp_path / "8" / side / f"{number}.png")
            deeper = image.astype(np.uint16) * 257
            Image.fromarray(deeper).save(tmp_path / "16" / side / f"{number}.png")
    found = {}
    for depth in (8, 16):
        result = run_evaluation(
            model,
            str(tmp_path / f"{depth}"),
            EvaluationOptions(pairs="yes", size="own", metrics=("l1",)),
        )
        notes = [note for note in result.notes if "trained on uint8" in note]
        assert [note[:2] for note in notes] == ([] if depth == 8 else ["A:", "B:"])
        found[depth] = result.directions[0].values["l1"]
    assert found[16] == pytest.approx(found[8], abs=1e-5)
