"""Does the spread of an ensemble predict its errors? On the test images of facades.

python benchmarks/ensemble.py DATA [--seeds 4] [--epochs 20] [--side 64]
DATA is a facades folder (photo left, labels right). Trains a study of pix2pix (labels -> photo)
with several seeds on the splits of the dataset, joins its generators, translates the test images.

For each image, a pixel is wrong if its absolute error, averaged over channels, is in the worst
tenth. AUC is the probability that a wrong pixel has a larger spread than another one. Reported are
its mean over images with a 95 % interval and, as a control, the AUC with the spread of another
image. Writes benchmarks/results/DATE-ensemble.json.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from viceversa.cli import main as viceversa
from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import resolve
from viceversa.data import index_split
from viceversa.data.dataset import ImageDataset
from viceversa.files import write_json
from viceversa.images.domain import Domain
from viceversa.inference import Translator, with_spread
from viceversa.metrics.intervals import bootstrap
from viceversa.metrics.paired import l1, psnr

WRONG = 0.1  # fraction of the pixels of an image
NETWORKS = {
    "generator.width": 24,
    "generator.depth": 5,
    "discriminator.width": 24,
    "discriminator.layers": 2,
    "train.batch_size": 4,
    "train.lr": 5e-4,
    "train.precision": "fp32",
}


def auc(spread: NDArray[np.float32], error: NDArray[np.float32]) -> float:
    """Area under the ROC curve of a spread that predicts the worst pixels."""
    wrong = error >= np.quantile(error, 1 - WRONG)
    ranks = rankdata(spread)[wrong]
    count, others = wrong.sum(), (~wrong).sum()
    return float((ranks.sum() - count * (count + 1) / 2) / (count * others))


def measured(values: list[float]) -> dict[str, float]:
    """Mean over images with its 95 % interval."""
    numbers = torch.tensor(values, dtype=torch.float64)
    low, high = bootstrap(numbers)
    return {"mean": float(numbers.mean()), "low": low, "high": high}


def evaluate(translator: Translator, pairs: list[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """Measure the output, and the spread if there is one."""
    errors, decibels, aucs, controls = [], [], [], []
    before: NDArray[np.float32] | None = None
    has_spread = hasattr(translator.network, "outputs")
    for source, target in pairs:
        if not has_spread:
            output = translator(source)
        else:
            output, spread = with_spread(translator, source)
            error = (output - target).abs().mean(dim=0).numpy()
            aucs.append(auc(spread.ravel(), error.ravel()))
            if before is not None:
                controls.append(auc(before.ravel(), error.ravel()))
            before = spread
        errors += l1(output[None], target[None], None).tolist()
        decibels += psnr(output[None], target[None], None).tolist()
    result: dict[str, Any] = {"l1": measured(errors), "psnr": measured(decibels)}
    if has_spread:
        result |= {"auc": measured(aucs), "auc_of_another_image": measured(controls)}
    return result


def test_pairs(data: Path, side: int) -> list[tuple[Tensor, Tensor]]:
    """Return labels and photos of the test images in [-1, 1]."""
    resized = {"data": {"preprocess": "resize", "crop_size": side, "direction": "ba"}}
    config = resolve(merge(read_recipe("pix2pix"), resized)).data
    index = index_split(data, "test", True, config)
    assert index is not None
    dataset = ImageDataset(index, config, (Domain(), Domain()), True, 0, training=False)
    pairs = []
    for position in range(len(index.a)):
        batch = dataset.batch([(1, position)], torch.device("cpu"))
        assert batch is not None
        pairs.append((batch[0][0], batch[1][0]))
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--side", type=int, default=64)
    options = parser.parse_args()
    sizes = {"data.load_size": options.side * 9 // 8, "data.crop_size": options.side}
    settings = NETWORKS | sizes | {"data.direction": "ba", "train.epochs": options.epochs}
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    with tempfile.TemporaryDirectory() as folder:
        study, model = Path(folder) / "study", Path(folder) / "e.safetensors"
        begin = ["study", "pix2pix", str(options.data), "--seeds", str(options.seeds)]
        viceversa([*begin, "--run", str(study), "--evaluate.metrics", "l1", *words])
        viceversa(["ensemble", str(study), "-o", str(model)])
        pairs = test_pairs(options.data, options.side)
        single = sorted(study.glob("runs/*/*/best/ba.safetensors"))
        loaders: dict[str, Callable[[], Translator]] = {
            "one model": lambda: Translator.load(single[0], "cpu"),
            "one model, flips": lambda: Translator.load(single[0], "cpu", flips=True),
            "ensemble": lambda: Translator.load(model, "cpu"),
            "ensemble, flips": lambda: Translator.load(model, "cpu", flips=True),
        }
        results = {name: evaluate(load(), pairs) for name, load in loaders.items()}
    for name, values in results.items():
        shown = (
            f"{key} {v['mean']:.4f} [{v['low']:.4f}, {v['high']:.4f}]" for key, v in values.items()
        )
        print(f"{name}: {', '.join(shown)}")
    write_json(
        Path(__file__).parent / "results" / f"{date.today().isoformat()}-ensemble.json",
        {
            "date": date.today().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU only",
            "torch": torch.__version__,
            "settings": settings,
            "seeds": options.seeds,
            "test_images": len(pairs),
            "results": results,
        },
    )


if __name__ == "__main__":
    main()
