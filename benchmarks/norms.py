"""Compare norms and skip connections on one small task, with the same training otherwise.

python benchmarks/norms.py [--images 3000] [--seeds 0 1] [--quick]
pix2pix with a small U-Net on the packaged line drawings -> colours at 64 px. Each norm, in both
networks, is trained at batch size 1, 2 and 8; batch and instance norm at batch size 1 also without
skips. All networks process the same number of images in the same order: at batch size 8 they take
an eighth of the steps, so compare norms only at the same batch size. Errors are means over the
held-out drawings; those of batch norm are computed with the statistics of each image and with
running statistics. Also measures how much the batch statistics of batch norm deviate from the
statistics of all images. Writes benchmarks/results/DATE-norms.json and docs/norms.png; with
--quick, a functional test, nothing.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import torch
from machine_peak import machine
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from viceversa.batch import Batch
from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import RunConfig, make_method, resolve
from viceversa.data.dataset import ImageDataset
from viceversa.data.open import open_data
from viceversa.files import write_json
from viceversa.images.values import make_grid
from viceversa.metrics.edges import edge_correlation
from viceversa.metrics.paired import l1, ssim
from viceversa.networks.norms import BatchNorm, use_policy
from viceversa.runtime.random_state import seed_everything
from viceversa.runtime.training import Runtime
from viceversa.training.setup import make_optimizers, set_learning_rates
from viceversa.training.step import MicroBatch, update

ROOT = Path(__file__).parent.parent
NORMS = ("batch", "layer", "instance", "group")
BATCHES = (1, 2, 8)
GROUPS = 8  # 32 groups would be one channel each in layers this narrow, as in instance norm
SCHEDULE_EPOCHS = 20
GRID_ROWS = 8  # drawings in docs/norms.png

Pairs = tuple[Tensor, Tensor]


class Variant(NamedTuple):
    """One network to train."""

    norm: str
    batch: int
    skip: bool = True

    def __str__(self) -> str:
        return f"{self.norm}, batch {self.batch}" + ("" if self.skip else ", no skips")


VARIANTS = [Variant(norm, batch) for batch in BATCHES for norm in NORMS]
VARIANTS += [Variant(norm, 1, skip=False) for norm in ("batch", "instance")]


def settings(variant: Variant, seed: int) -> RunConfig:
    """Return the recipe of the paired demo with a smaller U-Net and one learning rate."""
    norm = {"norm": variant.norm, "groups": GROUPS}
    own: dict[str, dict[str, Any]] = {
        "generator": {"width": 16, "depth": 5, "skip": variant.skip, **norm},
        "discriminator": norm,
        "data": {"path": str(resources.files("viceversa") / "demos" / "openmoji")},
        "train": {
            "batch_size": variant.batch,
            "seed": seed,
            "lr": 1e-3,
            "epochs": SCHEDULE_EPOCHS,
            "device": "cpu",
        },
    }
    return resolve(merge(read_recipe("demo"), own))


def pairs() -> tuple[Pairs, Pairs]:
    """Return all pairs for training and all held-out pairs, as (n, 3, 64, 64)."""
    with tempfile.TemporaryDirectory() as folder:
        config = settings(VARIANTS[0], 0)
        data = open_data(config.data, True, 0, Path(folder), lambda _: None)
    assert data.held_out is not None
    return _all(data.train_eval), _all(data.held_out)


def _all(dataset: ImageDataset) -> Pairs:
    batch = dataset.batch([(1, i) for i in range(len(dataset))], torch.device("cpu"))
    assert batch is not None
    return batch.a, batch.b


def trained(
    variant: Variant, seed: int, train_pairs: Pairs, images: int
) -> tuple[nn.Module, float]:
    """Train a generator on a number of images; return it and the seconds."""
    config = settings(variant, seed)
    seed_everything(seed)
    runtime = Runtime("cpu", "fp32", speed=config.speed)
    method = make_method(config)
    runtime.prepare(method, [network for one in method.players().values() for network in one])
    optimizers = make_optimizers(method, config.train, runtime)
    method.train()
    began = time.perf_counter()
    processed = 0
    for positions in batches(len(train_pairs[0]), images, variant.batch, seed):
        set_learning_rates(optimizers, config.train, 1 + SCHEDULE_EPOCHS * processed // images)
        pair = train_pairs[0][positions], train_pairs[1][positions]
        update(method, [MicroBatch(Batch(*pair))], optimizers, runtime)
        processed += len(positions)
    return method.translators()["ab"], time.perf_counter() - began


def batches(count: int, images: int, size: int, seed: int) -> Iterator[Tensor]:
    """Yield batches of positions of `images` images, in a new random order for each pass."""
    generator = torch.Generator().manual_seed(seed)
    passes = -(-images // count)
    order = torch.cat([torch.randperm(count, generator=generator) for _ in range(passes)])
    yield from torch.split(order[:images], size)


@torch.no_grad()
def translate(network: nn.Module, sources: Tensor, statistics: Any = "image") -> Tensor:
    """Translate images; batch norm uses the statistics of each image, or running statistics."""
    use_policy(network, statistics)
    return torch.cat([network(part) for part in torch.split(sources, 16)])


def errors(network: nn.Module, variant: Variant, held_out: Pairs) -> dict[str, dict[str, float]]:
    """Return mean metrics of the held-out drawings, by the statistics at inference."""
    kinds = ("image", "running") if variant.norm == "batch" else ("image",)
    return {kind: compare(*held_out, translate(network, held_out[0], kind)) for kind in kinds}


def compare(source: Tensor, target: Tensor, images: Tensor) -> dict[str, float]:
    """Return metrics of images against their targets, and the edge correlation with the sources."""
    values = {
        "l1": l1(images, target),
        "ssim": ssim(images, target),
        "outlines": edge_correlation(source, images),
    }
    return {name: round(float(value.mean()), 4) for name, value in values.items()}


@torch.no_grad()
def batch_deviation(network: nn.Module, sources: Tensor) -> dict[str, dict[str, float]]:
    """Return how much the statistics of a batch deviate from those of all images, by batch size.

    `mean` is the difference of the means in standard deviations of the channel, `deviation` the
    relative difference of the standard deviations; both averaged over batches, channels and layers.
    The network uses running statistics, so the inputs of each layer do not depend on the size.
    """
    inputs: list[Tensor] = []
    layers = [layer for layer in network.modules() if isinstance(layer, BatchNorm)]
    handles = [
        layer.register_forward_pre_hook(lambda _, x: inputs.append(x[0])) for layer in layers
    ]
    use_policy(network, "running")
    network(sources)
    for handle in handles:
        handle.remove()
    found = {}
    for size in (1, 2, 8, 32):
        means, deviations = [], []
        for x in inputs:
            all_var, all_mean = torch.var_mean(x, (0, 2, 3), correction=0)
            complete = len(x) // size * size
            grouped = x[:complete].unflatten(0, (-1, size))
            var, mean = torch.var_mean(grouped, (1, 3, 4), correction=0)
            live = all_var > 1e-8  # constant channels have no deviation
            means.append(((mean - all_mean).abs() / all_var.sqrt())[:, live].mean())
            deviations.append(((var / all_var).sqrt() - 1).abs()[:, live].mean())
        found[str(size)] = {
            "mean": round(float(torch.stack(means).mean()), 4),
            "deviation": round(float(torch.stack(deviations).mean()), 4),
        }
    return found


def labelled(grid: Image.Image, names: list[str]) -> Image.Image:
    """Return a grid of rows of equal height, with the names of the rows on the left."""
    font = ImageFont.load_default(13)
    margin = 16 + round(max(font.getlength(name) for name in names))
    canvas = Image.new("RGB", (margin + grid.width, grid.height), "white")
    canvas.paste(grid, (margin, 0))
    drawing = ImageDraw.Draw(canvas)
    for number, name in enumerate(names):
        middle = round(grid.height * (number + 0.5) / len(names))
        drawing.text((margin - 8, middle), name, fill="black", font=font, anchor="rm")
    # A small palette makes a small file.
    return canvas.quantize(128, dither=Image.Dither.NONE)


def summarize(
    runs: list[dict[str, Any]], seeds: list[int]
) -> dict[str, dict[str, dict[str, float]]]:
    """Print means and half ranges over the seeds; return the means, by variant and statistics."""
    means: dict[str, dict[str, dict[str, float]]] = {}
    print(f"\n{'mean of seeds ' + str(seeds):34}{'L1':>18}{'SSIM':>18}{'outlines':>18}")
    for variant in dict.fromkeys(run["variant"] for run in runs):
        errors_of_seeds = [run["errors"] for run in runs if run["variant"] == variant]
        for kind in errors_of_seeds[0]:
            keys = errors_of_seeds[0][kind]
            values = {key: [one[kind][key] for one in errors_of_seeds] for key in keys}
            mean = {key: round(statistics.mean(some), 4) for key, some in values.items()}
            means.setdefault(variant, {})[kind] = mean
            cells = [f"{mean[k]:.4f} +-{(max(v) - min(v)) / 2:.4f}" for k, v in values.items()]
            name = variant if len(errors_of_seeds[0]) == 1 else f"{variant} ({kind})"
            print(f"{name:34}" + "".join(f"{cell:>18}" for cell in cells))
    return means


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=3000, help="images processed by each network")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--quick", action="store_true", help="64 images, one seed, nothing written")
    options = parser.parse_args()
    if options.quick:
        options.images, options.seeds = 64, options.seeds[:1]
    torch.set_num_threads(1)  # such small networks gain little from more threads
    train_pairs, held_out = pairs()
    rows_of_grid = slice(None, None, len(held_out[0]) // GRID_ROWS)
    sources, targets = (side[rows_of_grid][:GRID_ROWS] for side in held_out)
    runs, rows, deviations = [], [("the drawing", sources)], {}
    for seed in options.seeds:
        for variant in VARIANTS:
            network, seconds = trained(variant, seed, train_pairs, options.images)
            found = errors(network, variant, held_out)
            runs.append(
                {
                    "variant": str(variant),
                    **variant._asdict(),
                    "seed": seed,
                    "seconds": round(seconds, 1),
                    "errors": found,
                }
            )
            print(f"seed {seed}, {variant} ({seconds:.0f} s): {found}", flush=True)
            if seed == options.seeds[0] and variant.batch != 2:
                rows.append((str(variant), translate(network, sources)))
            if variant == Variant("batch", 8):
                deviations[str(seed)] = batch_deviation(network, held_out[0])
    means = summarize(runs, options.seeds)
    baselines = {
        "the drawing unchanged": compare(*held_out, held_out[0]),
        "the target": compare(*held_out, held_out[1]),
    }
    print(f"\n{baselines}\ndeviation of batch statistics: {deviations}")
    if options.quick:
        return
    rows.append(("the target", targets))
    grid = Image.fromarray(make_grid([list(images) for _, images in rows]))
    labelled(grid, [name for name, _ in rows]).save(ROOT / "docs" / "norms.png", optimize=True)
    path = ROOT / "benchmarks" / "results" / f"{date.today().isoformat()}-norms.json"
    write_json(
        path,
        {
            "date": date.today().isoformat(),
            "machine": machine("cpu"),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "task": "openmoji demo, drawing -> colours, 64 px",
            "generator": "unet, width 16, depth 5, no dropout",
            "groups": GROUPS,
            "lr": 1e-3,
            "images": options.images,
            "held_out": len(held_out[0]),
            "seeds": options.seeds,
            "means": means,
            "baselines": baselines,
            "statistics_of_a_batch": deviations,
            "runs": runs,
        },
    )


if __name__ == "__main__":
    main()
