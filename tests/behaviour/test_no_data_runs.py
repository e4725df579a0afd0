"""No-data values and tags through whole commands: train, translate, evaluate, validate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms
from support import small_model

from viceversa import Translator
from viceversa.checkpoint import read_header
from viceversa.cli import main
from viceversa.evaluation import EvaluationOptions, as_json, run_evaluation
from viceversa.images import read, read_tags
from viceversa.images.domain import Domain, DomainConfig
from viceversa.images.nodata import NoData, mask_of

SMALL = (
    "--data.load_size 32 --data.crop_size 32 --generator.depth 4 --generator.width 4 "
    "--discriminator.width 4 --discriminator.layers 1 --train.epochs 1 --data.workers 0 "
    "--data.a.channels 1 --data.b.channels 1 --data.a.range minmax --data.b.range minmax"
)
TINY = SMALL.split()
GEO = [
    (33550, "d", 3, (10.0, 10.0, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 5e5, 4.6e6, 0.0), True),
    (34735, "H", 4, (1, 1, 0, 0), True),
]


def field(seed: int) -> Any:
    coarse = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (40, 40), mode="bicubic")[0, 0].numpy() * 100


def tiles(root: Path, stored: float = -9999, b: str | None = "-1") -> Path:
    """Pairs whose A has no data in the first rows, and B in the first columns; two splits."""
    for split, count in (("train", 3), ("test", 2)):
        for number in range(count):
            a, other = field(number), 100 - field(number)
            a[:10], other[:, :8] = stored, -1
            for side, image, tag in (("A", a, str(stored)), ("B", other, b)):
                path = root / split / side / f"{number}.tif"
                path.parent.mkdir(parents=True, exist_ok=True)
                tags = [(42113, "s", 0, tag, True)] if tag else []
                meta = (42112, "s", 0, f"<Unit>{side}</Unit>", True)
                tifffile.imwrite(path, image, metadata=None, extratags=[*GEO, *tags, meta])
    return root


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, one with other numbers where there is no data, and a run of each."""
    root = tmp_path_factory.mktemp("nodata")
    for name, stored in (("one", -9999.0), ("two", 31000.0)):
        tiles(root / name, stored)
        main(
            ["train", "pix2pix", str(root / name), *TINY, "--train.run", str(root / f"run-{name}")]
        )
    return root


def test_training_and_validation_do_not_depend_on_the_no_data_value(here: Path) -> None:
    logs = [
        [json.loads(line) for line in (here / f"run-{name}" / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    told = [[{k: line[k] for k in ("losses", "validation") if k in line} for line in log]
            for log in logs]  # fmt: skip
    assert told[0] == told[1] and any("validation" in line for line in told[0])


def test_the_model_stores_what_is_no_data(here: Path) -> None:
    header = read_header(here / "run-one" / "ab.safetensors")
    assert header["source"]["nodata"] == "-9999.0" and header["target"]["nodata"] == "-1"
    assert header["source"]["config"]["nodata"] == "tag"
    assert header["target"]["metadata"] == "<Unit>B</Unit>"
    assert -50 < header["source"]["low"][0] < header["source"]["high"][0] < 150


def test_results_have_no_data_where_the_source_has_none(here: Path) -> None:
    model, out = here / "run-one" / "ab.safetensors", here / "out"
    images = [here / "one/test/A/0.tif", here / "two/test/A/1.tif"]  # each by its own tag
    main(["translate", str(model), *map(str, images), "-o", str(out)])
    for image in images:
        made = read(out / image.name, nodata=NoData(tag=True))
        mask = mask_of(made)
        assert mask is not None and mask[:10].all() and not mask[10:].any()
        tags = read_tags(out / image.name)
        assert tags.nodata == "-1" and tags.metadata == "<Unit>B</Unit>"
        assert [code for code, *_ in tags.geometry] == [33550, 33922, 34735]
    array = np.asarray(Translator.load(model)(read(images[0])))
    assert (array[:10] == -1).all() and (array[10:] != -1).all()
    plain_file = here / "plain.tif"  # without a tag: the value that all training images declared
    tifffile.imwrite(plain_file, read(images[0])[:, :, 0])
    assert np.array_equal(Translator.load(model)(plain_file), array)


def test_evaluate_does_not_depend_on_the_no_data_value(here: Path) -> None:
    """Nor does the number of a pair depend on what is stored where the other has no data."""
    metrics = ("l1", "psnr", "ssim", "edge_correlation", "swd")
    found = [
        run_evaluation(EvaluationOptions(here / "run-one", str(here / name), metrics=metrics))
        for name in ("one", "two")
    ]
    means, others = (one.directions[0].values | one.directions[0].sets for one in found)
    assert means == others and np.isfinite([v for vs in means.values() for v in np.ravel(vs)]).all()
    protocol = as_json(found[0])["protocol"]["nodata"]
    assert protocol["a"].startswith("-9999.0: left out of l1") and "-1" in protocol["b"]
    main(["evaluate", str(here / "run-one"), str(here / "one"), "-o", str(here / "page")])
    assert (here / "page" / "index.html").is_file()


def test_l1_is_that_of_the_pixels_with_data(here: Path) -> None:
    result = run_evaluation(
        EvaluationOptions(here / "run-one", str(here / "one"), size="own", metrics=("l1",))
    )
    translator = Translator.load(here / "run-one" / "ab.safetensors")
    low, high = translator.target.low[0], translator.target.high[0]
    for number, told in enumerate(result.directions[0].values["l1"]):
        made = translator(here / f"one/test/A/{number}.tif")[10:, 8:, 0]
        real = read(here / f"one/test/B/{number}.tif")[10:, 8:, 0].clip(low, high)
        assert told == pytest.approx(2 * np.abs(made - real).mean() / (high - low), rel=1e-5)


def test_images_without_data_are_left_out_and_named(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tiles(tmp_path / "data")
    empty = np.full((40, 40), -9999, np.float32)
    tifffile.imwrite(root / "test/A/0.tif", empty, extratags=[(42113, "s", 0, "-9999", True)])
    result = run_evaluation(EvaluationOptions(here / "run-one", str(root), metrics=("l1", "swd")))
    assert result.directions[0].translations == 1
    assert any("left out 1 pairs without a pixel that has data" in note for note in result.notes)
    main(["train", "pix2pix", str(root), *TINY, "--train.run", str(tmp_path / "run")])
    said = capsys.readouterr().out
    assert "images of A that have the no-data value everywhere" in said


EIGHT = Domain()
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_profiles_come_from_the_target_and_exif_from_nowhere(tmp_path: Path) -> None:
    import base64
    import dataclasses

    rgb = (np.random.default_rng(0).random((24, 24, 3)) * 255).astype(np.uint8)
    exif = Image.Exif()
    exif[0x010E] = "a private place"
    other = ICC[:-4] + b"them"
    for suffix in ("png", "jpg", "webp", "tif"):
        Image.fromarray(rgb).save(tmp_path / f"x-{suffix}.{suffix}", icc_profile=other, exif=exif)
    with_profile = dataclasses.replace(EIGHT, icc=base64.b64encode(ICC).decode())
    for name, target, expected in (("without", EIGHT, None), ("with", with_profile, ICC)):
        (tmp_path / name).mkdir()
        model = small_model(tmp_path / name, EIGHT, target)
        out = tmp_path / name / "out"
        main(["translate", str(model), str(tmp_path / "x-*.*"), "-o", str(out)])
        for suffix in ("png", "jpg", "webp", "tif"):
            path = out / f"x-{suffix}.{suffix}"
            with Image.open(path) as image:
                assert image.info.get("icc_profile") == expected, path
                assert 0x010E not in image.getexif()
            assert b"private" not in path.read_bytes()


@pytest.mark.parametrize("options", [[], ["--half", "left"]])
def test_geometry_is_kept_if_the_result_has_the_size_of_the_source(
    tmp_path: Path, options: list[str]
) -> None:
    rgb = (np.random.default_rng(0).random((24, 48, 3)) * 255).astype(np.uint8)
    tifffile.imwrite(tmp_path / "geo.tif", rgb, photometric="rgb", extratags=GEO)
    model = small_model(tmp_path, EIGHT, EIGHT)
    main(
        ["translate", str(model), str(tmp_path / "geo.tif"), "-o", str(tmp_path / "out"), *options]
    )
    tags = read_tags(tmp_path / "out" / "geo.tif")
    assert len(tags.geometry) == (0 if options else 3)


def deep(dtype: str, **config: Any) -> Domain:
    limits = np.iinfo(dtype) if dtype != "float32" else np.finfo(dtype)
    return Domain(
        DomainConfig(channels=1, **config), dtype, (float(limits.min),), (float(limits.max),)
    )


@pytest.mark.parametrize(
    ("trained", "given", "told"),
    [
        ("uint8", "uint16", "uint16 images, but the model was trained on uint8: 0 to 65535 are"),
        ("uint16", "uint8", "uint8 images, but the model was trained on uint16: 0 to 255 are"),
        ("int16", "uint8", "uint8 images, but the model was trained on int16"),
        ("uint8", "int16", "int16 images, but the model was trained on uint8"),
        ("uint8", "uint8", ""),
    ],
)
def test_another_dtype_than_that_of_training_is_noted(
    trained: str, given: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_model(tmp_path, deep(trained), deep("uint8"))
    for number in range(2):
        image = np.arange(24 * 24, dtype=given).reshape(24, 24)
        tifffile.imwrite(tmp_path / f"{number}.tif", image)
    main(["translate", str(model), str(tmp_path / "*.tif"), "-o", str(tmp_path / "out")])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note")]
    assert len(lines) == bool(told) and all("0.tif" in line and told in line for line in lines)


def test_a_range_in_numbers_takes_another_dtype_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_model(tmp_path, Domain(DomainConfig(channels=1, range="0,255"), "uint8", (0.0,),
                                        (255.0,)), deep("uint8"))  # fmt: skip
    tifffile.imwrite(tmp_path / "x.tif", np.full((24, 24), 200, np.float32))
    main(["translate", str(model), str(tmp_path / "x.tif"), "-o", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "float32 images, but the model was trained on uint8: their values are not scaled" in said


def test_evaluate_notes_another_dtype_and_scales_it(here: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    model = small_model(tmp_path, deep("uint8"), deep("uint8"))
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
            EvaluationOptions(
                model, str(tmp_path / f"{depth}"), pairs="yes", size="own", metrics=("l1",)
            )
        )
        noted = [note for note in result.notes if "trained on uint8" in note]
        assert [note[:2] for note in noted] == ([] if depth == 8 else ["A:", "B:"])
        found[depth] = result.directions[0].values["l1"]
    assert found[16] == pytest.approx(found[8], abs=1e-5)
