"""Compare pix2pix and RegGAN on misaligned pairs.

python benchmarks/misalignment.py DATA [--half left] [--steps 1500] [--side 96] [--seeds 0]
    [--levels 1 2 4] [--shift-weights 5 0] [--threads 1]
DATA has the folders train and test of images; of side-by-side files, --half selects the photo. The
target b is the photo, the source a its colours through a fixed transform, so the task itself is
deterministic. For training, each b is warped by a different smooth flow with mean 0 whose largest
length is a percentage of the side (--levels). RegGAN is trained with each of --shift-weights
(method.lambda_shift). All networks train on the same sources in the same order, and are evaluated
on aligned pairs of the test folder:

l1          L1 against the true image
gradient    mean gradient magnitude of the outputs, relative to that of the true images; blurred
            outputs have less than 1
flow_error  mean distance of the registration network's flow from the true one (px, training pairs);
            flow_true is the mean length of the true one
drift       length of the mean flow over all training pairs (px)

Writes benchmarks/results/DATE-misalignment.json; with --quick, a functional test, nothing.
"""

from __future__ import annotations

import argparse
import statistics
import time
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from machine_peak import machine
from PIL import Image
from torch import Tensor

from viceversa.batch import Batch
from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import RunConfig, make_method, resolve
from viceversa.files import write_json
from viceversa.methods.base import Method
from viceversa.methods.flow import warp
from viceversa.methods.reggan import RegGAN
from viceversa.metrics.paired import l1
from viceversa.networks.norms import use_policy
from viceversa.runtime.random_state import seed_everything
from viceversa.runtime.training import Runtime
from viceversa.training.setup import make_optimizers
from viceversa.training.step import MicroBatch, update

RESULTS = Path(__file__).parent / "results"
COLOURS = ((0.2, 0.7, 0.1), (0.6, -0.3, 0.7), (-0.5, 0.4, 0.5))  # rows: channels of the source
NODES = 4  # control points of a warp along each side
NETWORKS: dict[str, dict[str, Any]] = {
    "generator": {"name": "unet", "width": 16, "depth": 5, "norm": "instance", "dropout": 0.0},
    "discriminator": {"width": 16, "layers": 2, "norm": "instance"},
    "data": {"path": "unused"},
    "train": {"lr": 5e-4, "device": "cpu"},
}


def photos(folder: Path, half: str, side: int, limit: int) -> Tensor:
    """Return the images of a folder, (n, 3, side, side) in [-1, 1], in the order of their names."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png"))[:limit]
    images = []
    for path in paths:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        middle = image.width // 2
        if half != "none":
            left, right = (0, middle) if half == "left" else (middle, image.width)
            image = image.crop((left, 0, right, image.height))
        scaled = image.resize((side, side), Image.Resampling.LANCZOS)
        images.append(torch.from_numpy(np.array(scaled)).permute(2, 0, 1))
    return torch.stack(images).float() / 127.5 - 1


def recoloured(images: Tensor) -> Tensor:
    """Return images through the fixed transform of colours."""
    mixed = torch.einsum("ij,njhw->nihw", torch.tensor(COLOURS), images)
    return torch.tanh(1.5 * mixed)


def warps(count: int, side: int, percent: float, seed: int) -> Tensor:
    """Return smooth flows of mean 0 whose largest length is a percentage of the side."""
    generator = torch.Generator().manual_seed(seed)
    nodes = torch.randn(count, 2, NODES, NODES, generator=generator)
    flow = F.interpolate(nodes, (side, side), mode="bicubic", align_corners=True)
    flow -= flow.mean(dim=(2, 3), keepdim=True)
    largest = torch.linalg.vector_norm(flow, dim=1).amax(dim=(1, 2)).view(-1, 1, 1, 1)
    scaled: Tensor = flow / largest * side * percent / 100
    return scaled


def settings(shift_weights: list[float]) -> dict[str, RunConfig]:
    """Return the settings of each method by its name in the results."""
    pix2pix = resolve(merge(read_recipe("pix2pix"), NETWORKS))
    reggan = merge(read_recipe("reggan"), NETWORKS)
    return {"pix2pix": pix2pix} | {
        f"reggan, lambda_shift {weight:g}": resolve(
            merge(reggan, {"method": {"registration_width": 8, "lambda_shift": weight}})
        )
        for weight in shift_weights
    }


def trained(
    config: RunConfig, pairs: tuple[Tensor, Tensor], steps: int, batch: int, seed: int
) -> Method:
    """Train a method on a number of batches."""
    seed_everything(seed)
    runtime = Runtime("cpu", "fp32", speed=config.speed)
    method = make_method(config).train()
    runtime.prepare(method, list(chain.from_iterable(method.players().values())))
    optimizers = make_optimizers(method, config.train, runtime)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        drawn = torch.randperm(len(pairs[0]), generator=generator)[:batch]
        images = Batch(pairs[0][drawn], pairs[1][drawn])
        update(method, [MicroBatch(images)], optimizers, runtime)
    use_policy(method)
    return method


@torch.no_grad()
def measured(method: Method, test: Tensor) -> dict[str, float]:
    """Return metrics of the translations of aligned test pairs."""
    sources, network = recoloured(test), method.translators()["ab"]
    outputs = torch.cat([network(part) for part in torch.split(sources, 16)])
    return {
        "l1": round(float(l1(outputs, test).mean()), 4),
        "gradient": round(gradient_magnitude(outputs) / gradient_magnitude(test), 3),
    }


def gradient_magnitude(images: Tensor) -> float:
    down, right = images.diff(dim=2)[..., :-1], images.diff(dim=3)[..., :-1, :]
    return float((down.square() + right.square()).sqrt().mean())


@torch.no_grad()
def registered(method: RegGAN, pairs: tuple[Tensor, Tensor], true: Tensor) -> dict[str, float]:
    """Return the error of the flow on training pairs."""
    flows = [
        method.registration(method.g_ab(a), b)
        for a, b in zip(*(torch.split(images, 16) for images in pairs), strict=True)
    ]
    flow = torch.cat(flows)
    return {
        "flow_error": round(float(torch.linalg.vector_norm(flow - true, dim=1).mean()), 3),
        "flow_true": round(float(torch.linalg.vector_norm(true, dim=1).mean()), 3),
        "drift": round(float(torch.linalg.vector_norm(flow.mean(dim=(0, 2, 3)))), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--half", choices=("left", "right", "none"), default="left")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=96, help="a multiple of 32")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--levels", type=float, nargs="+", default=[1, 2, 4], help="percent")
    parser.add_argument("--shift-weights", type=float, nargs="+", default=[5, 0])
    parser.add_argument("--images", type=int, default=400, help="training images at most")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="3 steps, nothing written")
    options = parser.parse_args()
    if options.quick:
        options.steps, options.seeds, options.images = 3, options.seeds[:1], 16
    torch.set_num_threads(options.threads)
    train = photos(options.data / "train", options.half, options.side, options.images)
    test = photos(options.data / "test", options.half, options.side, 100)
    runs = []
    for seed in options.seeds:
        for level in [0.0, *options.levels]:
            true = warps(len(train), options.side, level, seed)
            pairs = recoloured(train), warp(train, true) if level else train
            for name, config in settings(options.shift_weights).items():
                began = time.process_time()
                method = trained(config, pairs, options.steps, options.batch, seed)
                values = measured(method, test)
                if isinstance(method, RegGAN):
                    values |= registered(method, pairs, true)
                seconds = round(time.process_time() - began, 1)
                runs.append({"method": name, "percent": level, "seed": seed, **values})
                print(f"{name}, {level} %, seed {seed} ({seconds} s): {values}", flush=True)
    means = [mean_of_seeds(runs, name, level) for name, level in kinds(runs)]
    if options.quick:
        return
    chosen = {name: value for name, value in vars(options).items() if name not in ("data", "quick")}
    write_json(
        RESULTS / f"{date.today().isoformat()}-misalignment.json",
        {
            "date": date.today().isoformat(),
            "machine": machine("cpu"),
            "torch": torch.__version__,
            "data": options.data.name,
            **chosen,
            "networks": NETWORKS,
            "images": len(train),
            "test_images": len(test),
            "means": means,
            "runs": runs,
        },
    )


def kinds(runs: list[dict[str, Any]]) -> list[tuple[str, float]]:
    return list(dict.fromkeys((run["method"], run["percent"]) for run in runs))


def mean_of_seeds(runs: list[dict[str, Any]], name: str, level: float) -> dict[str, Any]:
    """Print and return the means of one method at one level, and half the range of the L1."""
    some = [run for run in runs if (run["method"], run["percent"]) == (name, level)]
    keys = [key for key in some[0] if key not in ("method", "percent", "seed")]
    means = {key: round(statistics.mean(run[key] for run in some), 4) for key in keys}
    values = [run["l1"] for run in some]
    half_range = round((max(values) - min(values)) / 2, 4)
    print(f"{name}, {level} %: {means}, L1 +- {half_range}")
    return {"method": name, "percent": level, **means, "l1_half_range": half_range}


if __name__ == "__main__":
    main()
