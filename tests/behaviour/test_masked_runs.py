"""Values of masked pixels change nothing: losses, metrics and weights of runs are equal bit by bit.

Of PNG and TIFF files: JPEG mixes masked and valid pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from support import log_lines, max_difference, model_weights, values
from train_processes import train_in_processes, train_in_this_process

from viceversa.config.evaluation import EvaluationOptions
from viceversa.config.recipes import Sections, merge, read_recipe
from viceversa.config.run import resolve
from viceversa.evaluation import as_json, run_evaluation
from viceversa.training.loop import train

SIDE, COUNT = 20, 4
HIDDEN = ("normal", "uniform", "constant")


def blobs(number: int) -> Any:
    """Return a mask (SIDE, SIDE), 0 in an ellipse and at a border, another for each number."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside = ((rows - 8 - number) / 5) ** 2 + ((columns - 12 + number) / 4) ** 2 < 1
    return np.where(inside | (columns < 2 + number), 0, 255).astype(np.uint8)


def with_hidden(image: Any, mask: Any, hidden: str) -> Any:
    """Return the image (SIDE, SIDE, channels) with other values where the mask is 0."""
    rng = np.random.default_rng(1)
    fakes = {
        "normal": rng.normal(128, 50, image.shape).clip(0, 255),
        "uniform": rng.integers(0, 256, image.shape),
        "constant": np.full(image.shape, np.nan if image.dtype.kind == "f" else 255),
    }
    return np.where(mask[..., None] == 0, fakes[hidden], image).astype(image.dtype)


def write_data(root: Path, source: str, hidden: str) -> Path:
    """Write a dataset with masks from files (of PNG or float TIFF) or from alpha."""
    rng = np.random.default_rng(0)
    for split, count in (("train", COUNT), ("val", 2)):
        for number in range(count):
            for domain, mask in (("A", blobs(number)), ("B", blobs(number + 1).T)):
                folder = root / split / domain
                folder.mkdir(parents=True, exist_ok=True)
                image = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
                masks = root / "masks" / split / domain
                if source != "alpha":
                    masks.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(mask).save(masks / f"{number}.png")
                if source == "tiff":
                    pixels = with_hidden(image[..., :1].astype(np.float32), mask, hidden)[..., 0]
                    tifffile.imwrite(folder / f"{number}.tif", pixels, metadata=None)
                    continue
                pixels = with_hidden(image, mask, hidden)
                if source == "alpha":
                    pixels = np.dstack([pixels, mask])
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def settings(name: str, root: Path, run: Path, source: str, /, **more: Any) -> Sections:
    """Return settings with resizing, random crops, flips, a warp and jitter."""
    domain = {
        "files": {"masks": "masks"},
        "alpha": {"alpha": "mask"},
        "tiff": {"masks": "masks", "channels": 1, "range": "minmax"},
        "none": {},
    }[source]
    small: Sections = {
        "generator": {"name": "unet", "width": 4, "depth": 3, "norm": "instance", "dropout": 0.0},
        "discriminator": {"width": 4, "layers": 1, "norm": "instance"},
        "data": {
            "path": str(root),
            "load_size": 24,
            "crop_size": 16,
            "rotate": 10.0,
            "jitter": 0.1,
            "workers": 0,
            "a": domain,
            "b": domain,
        },
        "train": {
            "run": str(run),
            "epochs": 2,
            "device": "cpu",
            "precision": "fp32",
            "samples": 2,
            "log_every": 1,
            "sample_every": 4,
        },
        "validate": {"every": 4, "images": 2},
    }
    return merge(merge(read_recipe(name), small), more)


def result(run: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the lines of the log and all weights, as bytes."""
    weights = {name: weight.numpy().tobytes() for name, weight in model_weights(run).items()}
    assert weights
    return log_lines(run, clock=False), weights


CASES = [
    ("pix2pix", "files"),
    ("cyclegan", "alpha"),
    ("pix2pix", "tiff"),
    pytest.param("pix2pix", "alpha", marks=pytest.mark.soak),
    pytest.param("cyclegan", "files", marks=pytest.mark.soak),
    pytest.param("cyclegan", "tiff", marks=pytest.mark.soak),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "source"), CASES)
def test_masked_values_change_nothing(name: str, source: str, tmp_path: Path) -> None:
    results, samples = [], []
    for hidden in HIDDEN:
        data = write_data(tmp_path / hidden, source, hidden)
        run = train(resolve(settings(name, data, tmp_path / f"run-{hidden}", source)))
        results.append(result(run))
        samples.append([path.read_bytes() for path in sorted((run / "samples").glob("*.png"))])
    lines, _ = results[0]
    assert {line["kind"] for line in lines} >= {"train", "validation"}
    assert results[1] == results[0] and results[2] == results[0]
    assert samples[0] and samples[1] == samples[0] and samples[2] == samples[0]
    metrics = ("l1", "ssim") if name == "pix2pix" else ("cycle", "edge_correlation")
    options = EvaluationOptions(metrics=metrics)
    runs = (tmp_path / f"run-{hidden}" for hidden in HIDDEN[:2])
    one, other = (as_json(run_evaluation(run, "", options)) for run in runs)
    assert all(one["directions"][way]["means"] for way in one["directions"])
    for way, found in one["directions"].items():
        assert found["means"] == other["directions"][way]["means"]
    assert ("mask files" in one["protocol"]["nodata"]["a"]) == (source != "alpha")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pix2pix", pytest.param("cyclegan", marks=pytest.mark.soak)])
def test_control_without_masks_the_values_matter(name: str, tmp_path: Path) -> None:
    results = []
    for hidden in HIDDEN[:2]:
        data = write_data(tmp_path / hidden, "files", hidden)
        more = {"data": {"layout": "folders"}}
        run = train(resolve(settings(name, data, tmp_path / f"run-{hidden}", "none", **more)))
        results.append(result(run))
    assert results[0][0] != results[1][0] and results[0][1] != results[1][1]


def plain(name: str, data: Path, run: Path, batch: int, steps: int) -> Sections:
    more: dict[str, Any] = {
        "data": {"jitter": 0.0, "rotate": 0.0},
        "train": {"batch_size": batch, "accumulation_steps": steps, "sample_every": 100},
        "validate": {"every": 0},
    }
    if name == "cyclegan":
        more["method"] = {"pool_size": 0}
    return settings(name, data, run, "files", **more)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pix2pix", pytest.param("cyclegan", marks=pytest.mark.soak)])
def test_two_processes_equal_one(name: str, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", "files", "normal")
    one, two = tmp_path / "one", tmp_path / "two"
    train_in_this_process(plain(name, data, one, 4, 1))
    train_in_processes(2, plain(name, data, two, 4, 1), tmp_path / "out", float64=True)
    assert max_difference(one, two) < 1e-9
    losses = [values(log_lines(run, "train")[-1], "loss") for run in (one, two)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_micro_batches_equal_whole_batches(name: str, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", "files", "normal")
    whole, micro = tmp_path / "whole", tmp_path / "micro"
    # The discriminator of pix2pix steps in between, after the first micro-batch of the generator.
    alone = {"method": {"lambda_gan": 0.0}} if name == "pix2pix" else {}
    train_in_this_process(merge(plain(name, data, whole, 4, 1), alone))
    train_in_this_process(merge(plain(name, data, micro, 2, 2), alone))
    assert max_difference(whole, micro) < 1e-9
