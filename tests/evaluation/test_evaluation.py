"""Test `viceversa evaluate`: metrics, their protocol, the page, and invalid input."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio
from support import (
    FEATURE_FOLDER,
    command_exception,
    feature_network,
    noise_pairs,
    raises_user_error,
)

import viceversa
from viceversa.checkpoint import container, read_header, read_weights, save_network
from viceversa.cli import main
from viceversa.config.evaluation import EvaluationData, EvaluationOptions
from viceversa.config.recipes import Sections, merge, read_recipe
from viceversa.config.run import resolve
from viceversa.errors import UserError
from viceversa.evaluation import Evaluation, accumulator, as_json, as_table, run_evaluation
from viceversa.evaluation.render import write_page
from viceversa.evaluation.results import CaseImages, DirectionMetrics, ImageFiles
from viceversa.evaluation.value_range import ValueRange
from viceversa.images import Pixels
from viceversa.inference import Translator
from viceversa.metrics.paired import l1, psnr, ssim
from viceversa.metrics.registry import METRICS
from viceversa.reports.evaluation import Case, DirectionResult, write_evaluation_page
from viceversa.training import loop as training

COLOURS = "#000000,#ffffff"


def trained(name: str, data: Path, run: Path, direction: str = "ab", hold_out: float = 0.0) -> Path:
    tiny: Sections = {
        "generator": {"width": 2},
        "discriminator": {"width": 2, "layers": 1},
        "data": {
            "path": str(data),
            "load_size": 36,
            "crop_size": 32,
            "workers": 0,
            "direction": direction,
            "hold_out": hold_out,
        },
        "train": {"run": str(run), "epochs": 1, "device": "cpu", "precision": "fp32", "samples": 0},
        "validate": {"every": 0, "health": 0},
    }
    tiny["generator"] |= {"depth": 3} if name == "pix2pix" else {"blocks": 1}
    return training.train(resolve(merge(read_recipe(name), tiny)))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evaluate")
    noise_pairs(root / "train", 3, 32)
    noise_pairs(root / "test", 5, 32)
    return root


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {
        "pix2pix": trained("pix2pix", data, folder / "p"),
        "cyclegan": trained("cyclegan", data, folder / "c"),
        "ba": trained("pix2pix", data, folder / "ba", "ba"),
    }


def evaluate(model: Path, data: Path, **options: Any) -> Evaluation:
    return run_evaluation(model, str(data), EvaluationOptions(**options))


def read_image(path: Path) -> torch.Tensor:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]


@pytest.mark.parametrize("name", ["pix2pix", "ba"])
def test_metrics_match_those_of_translated_files(
    name: str, data: Path, runs: dict[str, Path]
) -> None:
    direction = "ab" if name == "pix2pix" else "ba"
    source_folder, target_folder = ("A", "B") if direction == "ab" else ("B", "A")
    (result,) = evaluate(runs[name], data).directions
    assert result.direction == direction and result.translations == result.real == 5
    translator = Translator.load(runs[name] / f"{direction}.safetensors")
    for position in range(5):
        source = data / "test" / source_folder / f"{position:02d}.png"
        output = torch.from_numpy(np.asarray(translator(source)).astype(np.float32) / 127.5 - 1)
        output = output.permute(2, 0, 1)[None]
        target = read_image(data / "test" / target_folder / source.name)
        assert result.sources[position] == str(source)
        for metric, formula in (("l1", l1), ("psnr", psnr), ("ssim", ssim)):
            single = float(formula(output, target))  # a batch may round a pixel differently
            assert result.values[metric][position] == pytest.approx(single, rel=1e-4, abs=1e-4)
    mean, low, high = result.intervals["l1"]
    assert mean == pytest.approx(np.mean(result.values["l1"])) and low < mean < high


def test_psnr_of_each_image_can_be_recomputed_from_the_files(
    data: Path, runs: dict[str, Path], tmp_path: Path
) -> None:
    """From the translated files: 10 log10(peak^2 / MSE), with the peak that metrics.json has."""
    files = data / "test" / "A"
    main(["translate", str(runs["pix2pix"] / "ab.safetensors"), str(files), "-o", str(tmp_path)])
    metrics = ["l1", "psnr", "ssim"]
    result = viceversa.evaluate(
        runs["pix2pix"], data, tmp_path / "out", metrics=metrics, batch_size=1
    )["directions"]["ab"]
    assert result["values"] == {
        "low": 0.0,
        "high": 255.0,
        "peak": 255.0,
        "unit": "",
    }
    values = []
    for row in result["images"]:
        assert row["direction"] == "ab" and row["group"] == ""
        assert row["source"] == str(files / f"{row['name']}.png")
        assert row["target"] == str(data / "test" / "B" / f"{row['name']}.png")
        translated = np.asarray(Image.open(tmp_path / f"{row['name']}.png")).astype(np.float64)
        target = np.asarray(Image.open(row["target"])).astype(np.float64)
        error = ((translated - target) ** 2).mean()
        by_hand = 10 * np.log10(result["values"]["peak"] ** 2 / error)
        assert row["psnr"] == pytest.approx(by_hand, abs=1e-6)
        theirs = peak_signal_noise_ratio(target, translated, data_range=255)
        assert row["psnr"] == pytest.approx(theirs, abs=1e-6)
        distance = np.abs(translated - target).mean() * 2 / result["values"]["peak"]
        assert row["l1"] == pytest.approx(distance, abs=1e-9)
        values.append(by_hand)
    mean, total = (
        np.mean(values),
        10 * np.log10(255**2 / np.mean(255**2 / 10 ** (np.array(values) / 10))),
    )
    assert result["means"]["psnr"]["mean"] == pytest.approx(mean, abs=1e-6)
    assert abs(mean - total) > 1e-5  # PSNR of the mean squared difference is another number
    table = (tmp_path / "out" / "images.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert len(rows) == 5
    for row, one in zip(rows, result["images"], strict=True):
        assert {key: row[key] for key in ("name", "direction", "group", "source", "target")} == {
            key: one[key] for key in ("name", "direction", "group", "source", "target")
        }
        assert [float(row[key]) for key in ("range_low", "range_high", "peak")] == [0, 255, 255]
        assert [float(row[name]) for name in metrics] == [one[name] for name in metrics]


def test_run_with_two_directions_is_evaluated_in_both(data: Path, runs: dict[str, Path]) -> None:
    result = evaluate(runs["cyclegan"], data)
    assert [one.direction for one in result.directions] == ["ab", "ba"]
    assert not result.protocol["pairs"]
    for direction in result.directions:
        assert {"cycle", "edge_correlation"} == set(direction.values) and "swd" in direction.sets
        assert "l1" not in direction.values  # no pairs
    (single,) = evaluate(runs["cyclegan"] / "ba.safetensors", data).directions
    assert single.direction == "ba" and "cycle" not in single.values
    pairs = evaluate(runs["cyclegan"], data, pairs="yes", metrics=("l1", "cycle"))
    assert set(pairs.directions[0].values) == {"l1", "cycle"}


def test_flips_average_over_mirror_images(
    data: Path, runs: dict[str, Path], tmp_path: Path
) -> None:
    """Metrics are those of the files that `translate --flips` writes, and the protocol says so."""
    plain, mean = (
        viceversa.evaluate(runs["pix2pix"], data, metrics=["l1"], batch_size=1, flips=flips)
        for flips in (False, True)
    )
    translator = Translator.load(runs["pix2pix"] / "ab.safetensors", flips=True)
    rows = [one["directions"]["ab"]["images"] for one in (plain, mean)]
    for row, without in zip(rows[1], rows[0], strict=True):
        output, target = (
            np.asarray(image).astype(np.float64) / 127.5
            for image in (translator(row["source"]), Image.open(row["target"]))
        )
        assert row["l1"] == pytest.approx(np.abs(output - target).mean(), abs=1e-9)
        assert row["l1"] != without["l1"]
    protocols = plain["protocol"], mean["protocol"]
    assert protocols[1] == protocols[0] | {"flips": True} and not protocols[0]["flips"]
    main(["evaluate", str(runs["pix2pix"]), str(data), "-o", str(tmp_path / "out"), "--flips"])
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["directions"]["ab"]["images"][0]["l1"] == pytest.approx(rows[1][0]["l1"])
    model = unflipped(runs["pix2pix"] / "ab.safetensors", tmp_path / "ab.safetensors")
    with raises_user_error(option="--flips", path=model):
        evaluate(model, data, flips=True)


def unflipped(model: Path, copy: Path) -> Path:
    """Copy a model as if training had not mirrored its images."""
    header = read_header(model)
    header["trained"]["data"]["flip"] = False
    save_network(copy, read_weights(model), header)
    return copy


def test_batch_size_does_not_change_metrics(data: Path, runs: dict[str, Path]) -> None:
    single, batched = (
        evaluate(runs["pix2pix"], data, batch_size=n).directions[0].values["l1"] for n in (1, 4)
    )
    assert single == pytest.approx(batched, abs=1e-6)


def test_command_writes_metrics_and_a_page(
    data: Path, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["evaluate", str(runs["pix2pix"]), str(data), "-o", str(tmp_path / "out")])
    text = capsys.readouterr().out
    scaled = (
        "ange: 0 to 255 in the files, scaled to -1 to 1; PSNR with peak 2 (equal to peak 255 "
        "before scaling); PSNR is a mean over images"
    )
    assert f"  r{scaled}\n" in text and "note: ab: the 95 % intervals are of 5 images" in text
    assert "ab: 5 pairs of test" in text and "without ms_ssim: it needs images of at least" in text
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    protocol = result["protocol"]
    assert protocol["split"] == "test" and protocol["policy"] == "image" and protocol["pairs"]
    assert protocol["size"] == "resized to 32x32" and protocol["file_types"]["a"] == {".png": 5}
    assert len(protocol["models"]["ab"]["sha256"]) == 64
    assert len(result["directions"]["ab"]["images"]) == 5
    page = (tmp_path / "out" / "index.html").read_text()
    assert f"R{scaled}." in page
    assert page.count("<figure>") == 3 and "data:image/webp" in page and "://" not in page
    order = ["<caption>Metrics", "<h2>Notes", "best, median and worst", "<caption>Protocol"]
    found = [page.find(text) for text in order]
    assert found == sorted(found) and -1 not in found
    assert len(list((tmp_path / "out" / "cases").glob("ab-*.png"))) == 3


def test_python_and_the_command_give_the_same_metrics(
    data: Path, runs: dict[str, Path], tmp_path: Path
) -> None:
    words = ["--metrics", "l1", "ssim", "--size", "48", "--classes", COLOURS, "--split", "train"]
    main(["evaluate", str(runs["pix2pix"]), str(data), "-o", str(tmp_path / "one"), *words])
    options: dict[str, Any] = {
        "metrics": ["l1", "ssim"],
        "size": 48,
        "classes": COLOURS.split(","),
        "split": "train",
    }
    with pytest.warns(UserWarning, match="was trained on these images"):
        result = viceversa.evaluate(runs["pix2pix"], data, tmp_path / "two", **options)
    assert result["training_images"] and "was trained on these images" in result["notes"][0]
    files = [tmp_path / name / "metrics.json" for name in ("one", "two")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert json.loads(files[1].read_text()) == json.loads(json.dumps(result))
    assert result["protocol"]["size"] == "resized to 48x48"
    assert set(result["directions"]["ab"]["means"]) == {"l1", "ssim"}
    pages = [(tmp_path / name / "index.html").read_text() for name in ("one", "two")]
    assert pages[0] == pages[1]
    files_before = sorted(runs["pix2pix"].rglob("*")), sorted(data.rglob("*"))
    with pytest.warns(UserWarning, match="was trained on these images"):
        assert viceversa.evaluate(str(runs["pix2pix"]), str(data), **options) == result
    assert (sorted(runs["pix2pix"].rglob("*")), sorted(data.rglob("*"))) == files_before
    # Negative control: another split gives other metrics, and no warning (warnings are errors).
    other = viceversa.evaluate(runs["pix2pix"], data, **options | {"split": "test"})
    assert not other["training_images"]
    assert other["directions"]["ab"]["means"] != result["directions"]["ab"]["means"]


@pytest.mark.slow
def test_public_name_is_the_function() -> None:
    """A submodule of that name would replace it as soon as it is imported."""
    code = (
        "import viceversa, viceversa.evaluation, viceversa.cli.evaluate\n"
        "from viceversa import evaluate\nassert callable(evaluate) and callable(viceversa.train)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "tset"}, "--split takes one of auto, train, val, test, not 'tset'"),
        ({"pairs": "maybe"}, "--pairs takes one of auto, yes, no, not 'maybe'"),
        ({"policy": "papr"}, "--policy takes one of image, running, paper, not 'papr'"),
        ({"metrics": ["l2"]}, "there are l1"),
        ({"hold_out": 1.0}, "--hold_out must be from 0 to less than 1, not 1.0"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"max_megapixels": 0}, "--max_megapixels must be at least 1"),
        ({"size": 0}, "a number of pixels"),
        ({"batch_size": 0}, "--batch_size"),
    ],
)
def test_invalid_option_in_python_is_a_user_error(
    options: dict[str, Any], message: str, data: Path, runs: dict[str, Path], tmp_path: Path
) -> None:
    with raises_user_error() as error:
        viceversa.evaluate(runs["pix2pix"], data, tmp_path / "out", **options)
    assert error.value.option == f"--{next(iter(options))}"
    assert message in str(error.value) and not (tmp_path / "out").exists()


def test_page_shows_the_best_and_the_worst_case(
    data: Path, runs: dict[str, Path], tmp_path: Path
) -> None:
    main(["evaluate", str(runs["pix2pix"]), str(data), "-o", str(tmp_path), "--metrics", "l1"])
    result = json.loads((tmp_path / "metrics.json").read_text())["directions"]["ab"]["images"]
    ranked = [image["source"] for image in sorted(result, key=lambda image: image["l1"])]
    page = (tmp_path / "index.html").read_text()
    assert f"best: {ranked[0]}, L1" in page and f"worst: {ranked[-1]}, L1" in page


def test_page_names_an_image_file_that_is_missing(tmp_path: Path) -> None:
    case = Case(tmp_path / "gone.png", "0.png", "L1 0.1")
    result = DirectionResult("A to B", "", [], "Cases", {"best": [case]}, ["A"], False)
    write_evaluation_page(tmp_path / "index.html", "run", [], [result], {})
    assert "The file is missing or damaged." in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize(
    ("images", "counts"), [(1, {1}), (2, {1}), (3, {1}), (8, {2}), (9, {3}), (12, {3})]
)
def test_each_case_on_the_page_is_another_image(
    images: int, counts: set[int], tmp_path: Path
) -> None:
    """Best, median and worst have equal numbers of cases; with two images there is no median."""
    drawn: list[int] = []

    def draw(index: int) -> Pixels:
        drawn.append(index)
        return np.zeros((8, 8, 3), np.uint8)

    files = [ImageFiles(str(i), "", f"{i}.png", "") for i in range(images)]
    values = [float(i) for i in range(images)]
    metrics = DirectionMetrics(
        "ab", "", files, ValueRange(), {"l1": values}, {}, {}, [], images, images
    )
    write_page(Evaluation("", "", {}, lambda _: CaseImages([], draw), [metrics]), tmp_path)
    assert len(drawn) == len(set(drawn)) == (len(drawn) if images < 3 else 3 * max(counts))
    assert drawn[0] == 0 and drawn[-1] == images - 1 and drawn == sorted(drawn)
    kinds = Counter(path.name.split("-")[1] for path in (tmp_path / "cases").iterdir())
    assert set(kinds.values()) == counts and len(kinds) == min(images, 3)


def test_classes_are_those_of_the_nearest_colour(data: Path, runs: dict[str, Path]) -> None:
    (result,) = evaluate(runs["pix2pix"], data, classes=COLOURS, metrics=("l1",)).directions
    translator = Translator.load(runs["pix2pix"] / "ab.safetensors")
    correct = total = 0
    for position in range(5):
        name = f"{position:02d}.png"
        output = np.asarray(translator(data / "test" / "A" / name)).astype(int)
        target = np.asarray(Image.open(data / "test" / "B" / name)).astype(int)
        white = [((x - 255) ** 2).sum(2) < (x**2).sum(2) for x in (output, target)]
        correct, total = correct + (white[0] == white[1]).sum(), total + white[0].size
    assert result.sets["pixel_accuracy"] == pytest.approx(correct / total, abs=2e-3)
    assert 0 < result.sets["mean_iou"] < result.sets["pixel_accuracy"] and len(result.iou) == 2


def test_only_images_held_out_of_training_are_evaluated(tmp_path: Path) -> None:
    data = noise_pairs(tmp_path / "data", 20, 32)
    held = [f"{i:02d}" for i in range(20) if hashlib.sha256(b"%02d" % i).digest()[0] < 64]
    runs = {
        name: trained(name, data, tmp_path / name, hold_out=0.25)
        for name in ("pix2pix", "cyclegan")
    }
    moved = tmp_path / "moved"
    data.rename(moved)

    def names(run: Path, of: Path, **more: Any) -> list[str]:
        result = evaluate(run, of, metrics=("swd",), **more)
        assert as_json(result)["protocol"]["hold_out"] == 0.25
        return [Path(name).stem for name in result.directions[0].sources]

    for run in runs.values():
        for split in ("val", "auto"):
            assert names(run, moved, split=split) == held
        rest = [f"{i:02d}" for i in range(20) if f"{i:02d}" not in held]
        assert names(run, moved, split="train") == rest
    assert len(names(runs["cyclegan"], moved, pairs="yes")) == len(held)
    result = evaluate(runs["pix2pix"], moved, metrics=("l1",))
    assert result.notes[0].startswith(f"val is {len(held)} of the 20 pairs of train, held out by")
    all_images = evaluate(runs["pix2pix"], moved, metrics=("l1",), hold_out=0.0)
    assert all_images.protocol["split"] == "train" and all_images.directions[0].translations == 20
    # The run's hold_out is for its own data: of others, all images are evaluated.
    (tmp_path / "data").symlink_to(moved)  # the data are back
    unseen = noise_pairs(tmp_path / "unseen", 12, 32)
    result = evaluate(runs["pix2pix"], unseen, metrics=("l1",))
    assert result.directions[0].translations == 12 and not result.training_images
    assert result.notes[0] == "there is no test or val split: all images are evaluated"
    assert result.protocol["hold_out"] == 0
    assert not any(
        "95 % intervals" in note for note in result.notes
    )  # of fewer than 10 images only
    # ... and a link to its own data is not other data.
    link = evaluate(runs["pix2pix"], moved, metrics=("l1",))
    assert link.directions[0].translations == len(held) and not link.training_images
    # A larger part than in training has images that were trained on.
    larger = evaluate(runs["pix2pix"], moved, metrics=("l1",), hold_out=0.5)
    assert larger.training_images and "(images that the model was trained on)" in larger.dataset
    smaller = evaluate(runs["pix2pix"], moved, metrics=("l1",), hold_out=0.1)
    assert not smaller.training_images
    # In a dataset with a test split no images are held out.
    other = tmp_path / "other"
    noise_pairs(other / "train", 3, 32)
    noise_pairs(other / "test", 4, 32)
    (direction,) = evaluate(runs["pix2pix"], other, metrics=("l1",)).directions
    assert direction.translations == 4
    with pytest.raises(UserError, match=r"data\.hold_out 0\.5 .* has a test split"):
        evaluate(runs["pix2pix"], other, hold_out=0.5)


def test_evaluation_at_the_original_and_at_a_given_size(data: Path, runs: dict[str, Path]) -> None:
    sizes: dict[str, Any] = {}
    for size in ("own", "48"):
        result = evaluate(runs["pix2pix"], data, size=size, metrics=("l1",))
        sizes[size] = as_json(result)["protocol"]["size"]
    assert sizes == {"own": "as the files are", "48": "resized to 48x48"}


def test_splits(data: Path, runs: dict[str, Path], tmp_path: Path) -> None:
    train = evaluate(runs["pix2pix"], data, split="train", metrics=("l1",))
    assert train.directions[0].translations == 3 and "was trained on" in train.notes[0]
    assert as_table(train).startswith("train: ") and "(images that" in as_table(train)
    flat = noise_pairs(tmp_path / "flat", 2, 32)
    other = evaluate(runs["pix2pix"], flat, metrics=("l1",))
    assert other.directions[0].translations == 2 and "no test or val split" in other.notes[0]
    for name in ("A/7.dcm", "A/8.nii.gz", "notes.txt"):
        (flat / name).touch()
    other = evaluate(runs["pix2pix"], flat, metrics=("l1",))
    assert other.notes[1:3] == [
        "not read: 1 file ending in .dcm: A/7.dcm",
        "not read: 1 file ending in .nii.gz: A/8.nii.gz",
    ]


def test_invalid_input_of_the_command(
    data: Path, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, empty, file = runs["pix2pix"], tmp_path / "empty", tmp_path / "file"
    file.write_text("mine")
    empty.mkdir()

    def refused(*words: object, option: str | None = None, path: Path | None = None) -> str:
        error = command_exception(capsys, "evaluate", *words)
        assert (error.option, error.path) == (option, path)
        return str(error)

    refused(run, data, "-o", file, option="--out", path=file)
    refused(run, data, "-o", file / "out", path=file / "out")
    refused(empty, data, path=empty)
    refused(run, data, "--metrics", "l2", option="--metrics")
    refused(run, data, "--size", "big", option="--size")
    refused(run, data, "--split", "val", option="--split")
    assert "#rrggbb" in refused(run, data, "--classes", "red", option="--classes")
    assert "twice" in refused(run, data, "--classes", "#FF0000,#ff0000", option="--classes")
    network = empty / "inception.safetensors"
    message = refused(run, data, "--metrics", "fid", "--features", empty, path=network)
    assert "viceversa features --get inception" in message
    discriminator = run / "d_b.safetensors"
    assert "is a discriminator" in refused(discriminator, data, path=discriminator)
    uneven = noise_pairs(tmp_path / "uneven", 3, 32)
    (uneven / "B" / "02.png").unlink()
    refused(run, uneven, option="--pairs")
    Image.new("RGB", (16, 16)).save(uneven / "B" / "02.png")
    refused(run, uneven, "--size", "own", option="--size", path=uneven / "A" / "02.png")


def test_too_few_images_for_kid_are_reported(
    data: Path, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    feature_network("inception")  # or skip the test
    result = evaluate(runs["pix2pix"], data, metrics=("fid", "kid"), features=FEATURE_FOLDER)
    assert "fid" in result.directions[0].sets and "kid" not in result.directions[0].sets
    assert any("without kid: it needs at least 50 images" in note for note in result.notes)
    assert any("FID of 5 translations and 5 real images: higher" in note for note in result.notes)
    assert set(as_json(result)["protocol"]["features"]) == {"inception"}


@pytest.mark.parametrize(
    ("name", "words", "option"),
    [
        ("cyclegan", ["--pairs", "no", "--metrics", "l1"], "--metrics"),
        ("pix2pix", ["--metrics", "cycle"], "--metrics"),
        ("pix2pix", ["--pairs", "no", "--classes", COLOURS], "--classes"),
    ],
)
def test_option_without_effect_is_refused(
    name: str,
    words: list[str],
    option: str,
    runs: dict[str, Path],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = command_exception(capsys, "evaluate", runs[name], data, "-o", tmp_path / "out", *words)
    assert error.option == option
    assert not (tmp_path / "out").exists()


def test_limited_set_of_images_is_noted(
    runs: dict[str, Path], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"pairs": "no", "metrics": ("swd",)}
    full = as_json(evaluate(runs["cyclegan"], data, **options))
    assert not any("swd compares the first" in note for note in full["notes"])
    monkeypatch.setattr(accumulator, "SET_BYTES", 2 * 4 * 3 * 32 * 32)  # two images per set
    cut = as_json(evaluate(runs["cyclegan"], data, **options))
    note = "ab and ba: swd compares the first 2 translations and 2 real images"
    assert note in " ".join(cut["notes"])
    for name in ("ab", "ba"):
        assert full["directions"][name]["sets"]["swd"] != cut["directions"][name]["sets"]["swd"] > 0


def test_images_too_small_for_the_discriminator_have_metrics_and_a_page(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    noise_pairs(tmp_path / "small" / "test", 3, 8)
    data, out = tmp_path / "small", tmp_path / "out"
    main(["evaluate", str(runs["pix2pix"]), str(data), "--size", "own", "-o", str(out)])
    assert (out / "index.html").is_file()
    assert "l1" in json.loads((out / "metrics.json").read_text())["directions"]["ab"]["means"]


@pytest.mark.parametrize("settings", [{"crop_size": "big"}, {"cropping": 3}])
def test_invalid_settings_in_a_model_are_refused(
    settings: dict[str, Any],
    data: Path,
    runs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tensors, header = container.load(runs["pix2pix"] / "ab.safetensors")
    header["trained"]["data"] |= settings
    container.save(tmp_path / "ab.safetensors", tensors, header)
    error = command_exception(capsys, "evaluate", tmp_path, data)
    assert error.path == tmp_path / "ab.safetensors"
    assert next(iter(settings)) in str(error)


class Colours(torch.nn.Module):
    """Replaces the Inception network: the mean colour of an image."""

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        return rgb.float().mean((2, 3)) / 255


def test_fid_and_kid_of_few_images_are_marked_in_table_page_and_json(
    runs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    features = accumulator.Features({"inception": Colours()}, {"inception": "0"})
    monkeypatch.setattr("viceversa.evaluation.direction.load_features", lambda *_: features)
    monkeypatch.setattr("viceversa.evaluation.accumulator.pool3", lambda network, rgb: network(rgb))
    data = noise_pairs(tmp_path / "data" / "test", 50, 16).parent
    noise_pairs(data / "train", 2, 16)
    words = ["--metrics", "fid", "kid", "edge_correlation", "--size", "own"]
    main(["evaluate", str(runs["cyclegan"]), str(data), *words, "-o", str(tmp_path / "out")])
    text = capsys.readouterr().out
    for metric in ("fid", "kid"):
        lines = [line for line in text.splitlines() if line.split()[:1] == [metric]]
        assert len(lines) == 2 and all(line.endswith("few images: 50") for line in lines)
    assert [line for line in text.splitlines() if "FID of 50 translations" in line] == [
        "note: ab and ba: FID of 50 translations and 50 real images: higher than that of more "
        "images; compare it only at equal numbers"
    ]  # one line for both directions
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("few images: 50") == 4
    directions = json.loads((tmp_path / "out" / "metrics.json").read_text())["directions"]
    assert [one["few_images"] for one in directions.values()] == [["fid", "kid"]] * 2
    # Negative control: enough images are not marked.
    monkeypatch.setitem(METRICS, "fid", replace(METRICS["fid"], reliable=(1, "")))
    result = evaluate(runs["pix2pix"], data, split="train", metrics=("fid",), size="own")
    assert "few images" not in as_table(result)
    assert as_json(result)["directions"]["ab"]["few_images"] == []


def test_notes_of_the_same_reason_are_one_line(
    data: Path, runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--size", "8", "--metrics", "l1", "ssim", "ms_ssim", "swd"]
    main(["evaluate", str(runs["pix2pix"]), str(data), "-o", str(runs["ba"] / "e"), *words])
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert len(notes) == len({note.partition(": it needs")[2] for note in notes})


def test_layout_is_reported_and_may_be_given(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for group in ("p1", "p2", "p3"):
        noise_pairs(tmp_path / "set" / group, 2, 32)
    words = ["evaluate", str(runs["pix2pix"]), str(tmp_path / "set"), "-o", str(tmp_path / "out")]
    main([*words, "--metrics", "l1"])
    text = capsys.readouterr().out
    assert text.startswith("train: pairs by name in set/*/A and set/*/B, 3 groups\nab: 6 pairs")
    main([*words, "--metrics", "l1", "--data.layout", "photos", "--json"])
    protocol = json.loads(capsys.readouterr().out)["protocol"]
    assert protocol["layout"] == "photos in set, each both A and B"
    halves = run_evaluation(
        runs["pix2pix"],
        str(tmp_path / "set"),
        EvaluationOptions(data=EvaluationData("side-by-side")),
    )
    assert halves.directions[0].translations == 12
    with raises_user_error(option="--data.layout"):
        viceversa.evaluate(runs["pix2pix"], layout="halves")  # type: ignore[arg-type]
