"""Test images and crops whose height and width differ: settings, crops, checks, and a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import (
    QUICK,
    command_error,
    command_output,
    noise_images,
    option_arguments,
    raises_user_error,
)

from viceversa import plan as planning
from viceversa import train
from viceversa.batch import Batch
from viceversa.checkpoint import read_header
from viceversa.cli import main
from viceversa.config.command_line import train_settings
from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import RunConfig, make_method, resolve
from viceversa.config.speed import SpeedConfig
from viceversa.data.config import DataConfig, resized_size, uncropped
from viceversa.data.sizes import check_images
from viceversa.data.transforms import Augmentation, crop_and_flip
from viceversa.images.domain import DomainConfig
from viceversa.images.preprocessing import Preprocessing, scaled_size
from viceversa.inference import Translator
from viceversa.plan import alternatives, make_plan
from viceversa.runtime.training import Runtime
from viceversa.training.faults import explain

SIZES = {"data.load_size": "36,108", "data.crop_size": "32,96"}
NETWORKS = {key: value for key, value in QUICK.items() if not key.startswith("data.")}
TINY = option_arguments({**QUICK, **SIZES, "train.samples": 1})


def tiny(**data: Any) -> RunConfig:
    """Return the settings of a small pix2pix run."""
    networks = {"generator": {"width": 4, "depth": 3}, "discriminator": {"width": 4, "layers": 2}}
    sections = {**networks, "data": data, "train": {"device": "cpu", "precision": "fp32"}}
    return resolve(merge(read_recipe("pix2pix"), sections))


# -- settings


@pytest.mark.parametrize(
    "words",
    [
        ["--data.crop_size", "64", "128"],
        ["--data.crop_size", "64,128"],
        ["--data.crop_size=64,128"],
        ["--data.crop_size", "64 128"],
    ],
)
def test_a_size_has_height_and_width(words: list[str]) -> None:
    data = train_settings("pix2pix", [*words, "--data.load_size", "72,144", "x"]).data
    assert (data.crop_size, data.load_size, data.path) == ((64, 128), (72, 144), "x")
    one = train_settings("pix2pix", ["x", "--data.crop_size", "64"]).data
    assert (one.crop_size, one.load_size) == (64, 286)


def test_a_recipe_has_height_and_width(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('base = "pix2pix"\n[data]\nload_size = [72, 144]\ncrop_size = [64, 128]\n')
    data = train_settings(str(recipe), ["x"]).data
    assert (data.crop_size, data.load_size) == ((64, 128), (72, 144))
    assert "[default: 64 128]" in " ".join(
        command_output(capsys, "train", recipe, "--help").replace("│", " ").split()
    )
    main(["init", str(tmp_path / "all.toml"), "--recipe", str(recipe)])
    assert "\ncrop_size = [64, 128]\n" in (tmp_path / "all.toml").read_text()
    assert train_settings(str(tmp_path / "all.toml"), ["x"]).data == data


@pytest.mark.parametrize("text", ["64x128", "64 128 3", "0 128", "64,128.5", "64 99999"])
def test_an_invalid_size_is_refused(text: str) -> None:
    with raises_user_error(option="data.crop_size"):
        train_settings("pix2pix", ["x", "--data.crop_size", *text.split()])


@pytest.mark.parametrize(
    ("fields", "option"),
    [
        ({"load_size": 286, "crop_size": (128, 256)}, "data.load_size"),
        ({"load_size": (143, 286), "crop_size": (256, 128)}, "data.crop_size"),
        ({"load_size": (143, 286), "crop_size": 256}, "data.crop_size"),
        ({"load_size": (143, 286), "preprocess": "scale_width"}, "data.load_size"),
        ({"load_size": (143, 286), "preprocess": "scale_shortside"}, "data.load_size"),
        ({"crop_size": (64, 128), "preprocess": "crop", "rotate90": True}, "data.rotate90"),
        ({"crop_size": (64, 128), "preprocess": "resize", "rotate90": True}, "data.rotate90"),
    ],
)
def test_sizes_that_do_not_fit_each_other_are_refused(fields: Any, option: str) -> None:
    with raises_user_error(option=option) as caught:
        DataConfig(**fields)
    assert "(height width)" in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"load_size": 286, "crop_size": (128, 128), "rotate90": True},
        {"load_size": (286, 286), "crop_size": (128, 256)},
        {"load_size": (143, 286), "crop_size": 128, "rotate90": True},
        {"load_size": 143, "crop_size": (64, 128), "preprocess": "scale_width_and_crop"},
        {"load_size": 286, "crop_size": (64, 128), "preprocess": "resize"},
        {"load_size": (143, 286), "preprocess": "crop"},
    ],
)
def test_sizes_that_fit_each_other(fields: Any) -> None:
    DataConfig(**fields)


def test_the_refusal_of_a_square_contains_sizes_that_are_accepted() -> None:
    with raises_user_error() as caught:
        DataConfig(crop_size=(128, 256))
    assert "such as data.load_size 143 286" in str(caught.value)


# -- crops


def positions(height: int, width: int) -> torch.Tensor:
    """Return an image (1, height, width) whose pixels are 10 * row + column."""
    return (10 * torch.arange(height)[:, None] + torch.arange(width)).to(torch.uint8)[None]


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (Augmentation(x=0.0, y=0.0), [[0, 1, 2], [10, 11, 12]]),
        (Augmentation(x=0.99, y=0.99), [[23, 24, 25], [33, 34, 35]]),
        (Augmentation(x=0.5, y=0.34, flip=True), [[14, 13, 12], [24, 23, 22]]),
        (Augmentation(x=0.0, y=0.0, flip_vertical=True), [[10, 11, 12], [0, 1, 2]]),
    ],
)
def test_crops_of_height_and_width(draw: Augmentation, expected: list[list[int]]) -> None:
    config = DataConfig(load_size=(4, 6), crop_size=(2, 3))
    assert crop_and_flip(positions(4, 6), config, draw).tolist() == [expected]


@pytest.mark.parametrize(
    ("preprocess", "size", "whole"),
    [
        ("resize_and_crop", (36, 108), (32, 96)),
        ("resize", (32, 96), (32, 96)),
        ("crop", (50, 200), (50, 200)),
        ("none", (50, 200), (50, 200)),
    ],
)
def test_sizes_before_the_crop_and_of_whole_images(
    preprocess: Any, size: tuple[int, int], whole: tuple[int, int]
) -> None:
    config = DataConfig(preprocess=preprocess, load_size=(36, 108), crop_size=(32, 96))
    assert resized_size(50, 200, config, "") == size
    assert resized_size(50, 200, uncropped(config), "") == whole


@pytest.mark.parametrize(
    ("load", "crop", "whole"),
    [((64, 256), 64, (64, 256)), ((64, 256), (60, 256), (60, 256)), (286, 256, (256, 256))],
)
def test_whole_images_keep_the_proportions_before_the_crop(
    load: Any, crop: Any, whole: tuple[int, int]
) -> None:
    """A square crop of a wide image is a part of it, so that whole images are not squares."""
    config = DataConfig(load_size=load, crop_size=crop)
    assert resized_size(50, 200, uncropped(config), "") == whole
    header = {"trained": {"data": json.loads(json.dumps({**vars(config), "a": 0, "b": 0}))}}
    pixels = np.zeros((50, 200, 3), np.uint8)
    resized = Preprocessing.of(header).resized(pixels, "trained", DomainConfig())
    assert resized.shape[:2] == whole


def test_an_image_smaller_than_the_crop_in_one_direction_is_refused() -> None:
    config = DataConfig(preprocess="crop", crop_size=(32, 96))
    assert resized_size(32, 96, config, "x.png") == (32, 96)
    for size in ((31, 200), (200, 95)):
        with raises_user_error() as caught:
            resized_size(*size, config, "x.png")
        height, width = size
        assert f"x.png is height {height}, width {width}, smaller than" in str(caught.value)
        assert "data.crop_size 32 96 (height width)" in str(caught.value)


# -- headers


@pytest.mark.parametrize("size", [[0, 3], [1], [1, 2, 3], ["1", 2], "32 96", None, [3.5, 4], {}])
def test_an_invalid_size_of_a_header_is_unknown(size: Any) -> None:
    data = {"preprocess": "resize", "load_size": 36, "crop_size": size}
    assert Preprocessing.of({"trained": {"data": data}}).preprocess == ""
    data["crop_size"] = [32, 96]
    assert Preprocessing.of({"trained": {"data": data}}).crop_size == (32, 96)


def test_invalid_sizes_of_a_header_do_not_fail() -> None:
    """A width or a shorter side is one number in the settings."""
    assert scaled_size(50, 100, "scale_width", (30, 60), 20) == (30, 60)
    assert scaled_size(50, 100, "scale_shortside", (30, 60), 20) == (30, 60)


def test_the_limit_of_megapixels_applies_to_height_times_width() -> None:
    of = Preprocessing("resize", 1, (1000, 3000))
    of.check("trained", "m", 3_000_000)
    with raises_user_error(option="--size"):
        of.check("trained", "m", 2_999_999)
    assert of.trained_size == "height 1000, width 3000"


# -- checks of data and networks


@pytest.mark.slow
def test_the_nearest_size_that_fits_is_advised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for domain in "AB":
        noise_images(tmp_path / "data" / domain, size=(40, 120))
    words = ["train", "pix2pix", tmp_path / "data", "--train.run", tmp_path / "run"]
    words += ["--validate.every", "0", "--data.load_size", "36", "100"]
    words += option_arguments(NETWORKS)
    message = command_error(capsys, *words, "--data.crop_size", "35", "100")
    assert "UNet cannot train on height 35, width 100" in message
    assert "--data.crop_size 32 96 gives height 32, width 96, which fits" in message
    command_output(capsys, *words, "--data.crop_size", "32", "96")


@pytest.mark.slow
def test_a_larger_crop_is_advised_with_a_load_size_of_the_same_proportions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for domain in "AB":
        noise_images(tmp_path / "data" / domain, size=(40, 120))
    words = ["train", "pix2pix", tmp_path / "data", *option_arguments(NETWORKS)]
    sizes = ["--data.load_size", "5", "15", "--data.crop_size", "5", "15"]
    message = command_error(capsys, *words, "--train.run", tmp_path / "run", *sizes)
    assert "--data.load_size 16 48 --data.crop_size 16 16 gives 16x16, which fits" in message


def test_the_size_that_fits_is_named_for_images_of_a_batch() -> None:
    images = torch.zeros(3, 35, 100), torch.zeros(3, 35, 100)
    with raises_user_error() as caught:
        check_images(make_method(tiny()), images, 1)
    assert "height 32, width 96 would fit" in str(caught.value)


def test_half_a_rectangle_is_advised_if_memory_is_not_enough() -> None:
    config, runtime = tiny(), Runtime("cpu", "fp32", False, SpeedConfig())
    for size, advised in (((64, 192), "--data.crop_size 32 96,"), ((64, 64), "crop_size 32,")):
        images = Batch(torch.zeros(1, 3, *size), torch.zeros(1, 3, *size))
        error = torch.OutOfMemoryError("out of memory")
        method = make_method(config)
        message = str(explain(error, images, method, config.train, runtime, "here"))
        assert advised in message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("load", "crop", "warned"),
    [("20 40", "16 32", False), ("40 20", "32 16", True), ("36", "32", True)],
)
def test_a_change_of_the_aspect_ratio_is_warned_about(
    load: str, crop: str, warned: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for domain in "AB":
        noise_images(tmp_path / domain, size=(60, 120))
    words = ["--data.load_size", *load.split(), "--data.crop_size", *crop.split()]
    issues = json.loads(command_output(capsys, "check", tmp_path, "--json", *words))["issues"]
    texts = [issue["text"] for issue in issues if "proportions" in issue["text"]]
    assert bool(texts) == warned
    if load == "40 20":
        assert "120x60 becomes 20x40" in texts[0]


@pytest.mark.slow
def test_check_reports_images_smaller_than_the_crop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for domain in "AB":
        noise_images(tmp_path / domain, size=(60, 120))
    words = ["check", tmp_path, "--json", "--data.preprocess", "crop", "--data.crop_size"]
    with pytest.raises(SystemExit):
        main([str(word) for word in [*words, "80", "96"]])
    issues = json.loads(capsys.readouterr().out)["issues"]
    (issue, _) = [one for one in issues if "smaller than data.crop_size" in one["text"]]
    assert "is height 60, width 120, smaller than 80 96 (height width)" in str(issue["files"])
    assert "set --data.crop_size to 60 96 or less" in issue["advice"]
    command_output(capsys, *words, "60", "96")


def test_the_largest_crop_has_the_proportions_of_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planning, "free_memory", lambda device: 300_000_000)
    config = tiny(load_size=(36, 108), crop_size=(32, 96))
    monkeypatch.setattr(alternatives, "LARGEST_SIDE", 256)
    plan = make_plan(config, 0, lambda message: None)
    assert (plan["height"], plan["width"]) == (32, 96)
    height, width = plan["largest"]["crop"]["value"]
    assert height % 32 == 0 and width == 3 * height


# -- a run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data` (pairs of 40x120 pixels, train and val) and `run`, trained on them."""
    root = tmp_path_factory.mktemp("rectangles")
    for split in ("train", "val"):
        for domain in "AB":
            noise_images(root / "data" / split / domain, size=(40, 120))
    words = ["train", "pix2pix", root / "data", *TINY, "--train.run", root / "run"]
    main([str(word) for word in words])
    return root


def size_of(path: Path) -> tuple[int, int]:
    """Return the height and width of an image file."""
    with Image.open(path) as image:
        return image.height, image.width


@pytest.mark.slow
def test_a_run_stores_height_and_width(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads((root / "run/config.json").read_text())
    assert (config["data"]["load_size"], config["data"]["crop_size"]) == ([36, 108], [32, 96])
    model = root / "run/ab.safetensors"
    assert read_header(model)["trained"]["data"]["crop_size"] == [32, 96]
    assert "load_size 36 108, crop_size 32 96 (height width)" in command_output(
        capsys, "show", model
    )
    again = command_output(
        capsys, "train", "pix2pix", root / "data", *TINY, "--train.run", root / "run"
    )
    assert "changed since the checkpoint" not in again
    assert "training is complete" in again


@pytest.mark.slow
def test_validation_samples_and_patch_maps_of_a_run(root: Path) -> None:
    lines = [json.loads(line) for line in (root / "run/log.jsonl").read_text().splitlines()]
    (validation,) = [line for line in lines if line["kind"] == "validation"]
    assert validation["n"] == 2 and 0 < validation["val.l1"] < 2
    height, width = size_of(next((root / "run/samples").glob("*.png")))
    assert height >= 32 and width >= 3 * 96
    assert next((root / "run/patch_maps").glob("*.png"))


@pytest.mark.slow
def test_models_of_a_run_translate_evaluate_and_explain(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, image = root / "run/ab.safetensors", root / "data/val/A/0.png"
    for size, expected in (("trained", (32, 96)), ("own", (40, 120))):
        result = tmp_path / f"{size}.png"
        command_output(capsys, "translate", model, image, "-o", result, "--size", size)
        assert size_of(result) == expected
        assert Translator.load(model, "cpu", size=size)(str(image)).size == expected[::-1]
    words = ["evaluate", root / "run", "-o", tmp_path / "e", "--metrics", "l1", "--json"]
    protocol = json.loads(command_output(capsys, *words))["protocol"]
    assert protocol["size"] == "resized to height 32, width 96"
    words = ["explain", root / "run", image, "-o", tmp_path / "map.png", "--size", "trained"]
    (entry,) = json.loads(command_output(capsys, *words, "--json"))["images"]
    assert entry["map"] == [6, 22]  # 32 and 96 / 4 - 2


@pytest.mark.slow
def test_plan_and_python(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = command_output(capsys, "plan", "pix2pix", root / "data", *TINY, "--steps", "1")
    assert "height 32, width 96" in text and "a step, median of 1" in text
    run = train(
        "pix2pix",
        data=str(root / "data"),
        run=str(tmp_path / "run"),
        epochs=1,
        load_size=(36, 108),
        crop_size=(32, 96),
        generator={"width": 4, "depth": 3},
        discriminator={"width": 4, "layers": 2},
        device="cpu",
    )
    assert run is not None
    config = json.loads((tmp_path / "run/config.json").read_text())["data"]
    assert config["crop_size"] == [32, 96]


@pytest.mark.slow
def test_one_number_is_stored_as_one_number_and_equals_two(root: Path, tmp_path: Path) -> None:
    """Of an ordinary run, files and weights do not change."""
    weights = {}
    for name, load, crop in (("one", ["36"], ["32"]), ("two", ["36", "36"], ["32", "32"])):
        options = option_arguments({**NETWORKS, "train.samples": 0})
        sizes = ["--data.load_size", *load, "--data.crop_size", *crop]
        words = ["train", "pix2pix", root / "data", *options, *sizes]
        main([str(word) for word in [*words, "--train.run", tmp_path / name]])
        state = Translator.load(tmp_path / name / "ab.safetensors", "cpu").network.state_dict()
        weights[name] = torch.cat([value.flatten().float() for value in state.values()])
    assert torch.equal(weights["one"], weights["two"])
    data = json.loads((tmp_path / "one/config.json").read_text())["data"]
    assert (data["load_size"], data["crop_size"]) == (36, 32)
    shutil.rmtree(tmp_path / "two")
