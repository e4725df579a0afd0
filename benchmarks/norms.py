"""What the norms and the skip connections do: one small task, trained alike but for them.

python benchmarks/norms.py [--images 3000] [--seeds 0 1] [--quick]
pix2pix with a small U-Net on the packaged line drawings -> colours at 64 px. Each norm, in both
networks, is trained at batch 1, 2 and 8; batch and instance norm at batch 1 without skips as well.
All see as many images, in an order of the seed's: a batch of 8 takes an eighth of the steps, so
compare norms within a batch size. The errors are means over the held-out drawings; batch norm's are
taken by the statistics of each image and by the running ones. Then how far batch norm's statistics
of a batch lie from those of all images. Writes benchmarks/results/DATE-norms.json and
docs/norms.png; with --quick, which is to see that all of it runs, neither.
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
GROUPS = 8  # 32 of them would be one channel each in layers this narrow: instance norm
STEPS_OF_RATE = 20  # the schedule's epochs
SHOWN = 8  # drawings in the picture

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
    """The paired demo's recipe with a smaller U-Net, one rate for all."""
    norm = {"norm": variant.norm, "groups": GROUPS}
    own: dict[str, dict[str, Any]] = {
        "generator": {"width": 16, "depth": 5, "skip": variant.skip, **norm},
        "discriminator": norm,
        "data": {"path": str(resources.files("viceversa") / "demos" / "openmoji")},
        "train": {
            "batch_size": variant.batch,
            "seed": seed,
            "lr": 1e-3,
            "epochs": STEPS_OF_RATE,
            "device": "cpu",
        },
    }
    return resolve(merge(read_recipe("demo"), own))


def pairs() -> tuple[Pairs, Pairs]:
    """Every drawing and its colours, (n, 3, 64, 64): those to learn and those held out."""
    with tempfile.TemporaryDirectory() as folder:
        config = settings(VARIANTS[0], 0)
        data = open_data(config.data, True, 0, Path(folder), lambda _: None)
    assert data.held_out is not None
    return _all(data.train_eval), _all(data.held_out)


def _all(pictures: ImageDataset) -> Pairs:
    batch = pictures.batch([(1, i) for i in range(len(pictures))], torch.device("cpu"))
    assert batch is not None
    return batch


def trained(variant: Variant, seed: int, learnt: Pairs, images: int) -> tuple[nn.Module, float]:
    """A generator that has seen so many images, and the seconds it took."""
    config = settings(variant, seed)
    seed_everything(seed)
    runtime = Runtime("cpu", "fp32", speed=config.speed)
    method = make_method(config)
    runtime.prepare(method, [network for one in method.players().values() for network in one])
    optimizers = make_optimizers(method, config.train, runtime)
    method.train()
    began = time.perf_counter()
    seen = 0
    for places in batches(len(learnt[0]), images, variant.batch, seed):
        set_learning_rates(optimizers, config.train, 1 + STEPS_OF_RATE * seen // images)
        pair = learnt[0][places], learnt[1][places]
        update(method, [MicroBatch(pair)], optimizers, runtime)
        seen += len(places)
    return method.translators()["ab"], time.perf_counter() - began


def batches(count: int, images: int, size: int, seed: int) -> Iterator[Tensor]:
    """Places of `images` images out of `count`, each pass in a new order, in batches."""
    generator = torch.Generator().manual_seed(seed)
    passes = -(-images // count)
    order = torch.cat([torch.randperm(count, generator=generator) for _ in range(passes)])
    yield from torch.split(order[:images], size)


@torch.no_grad()
def made(network: nn.Module, sources: Tensor, statistics: Any = "image") -> Tensor:
    """Translations of a batch; batch norm by the statistics of each image, or running ones."""
    use_policy(network, statistics)
    return torch.cat([network(part) for part in torch.split(sources, 16)])


def errors(network: nn.Module, variant: Variant, held_out: Pairs) -> dict[str, dict[str, float]]:
    """The means over the held-out drawings, by the statistics at use."""
    ways = ("image", "running") if variant.norm == "batch" else ("image",)
    return {way: compared(*held_out, made(network, held_out[0], way)) for way in ways}


def compared(source: Tensor, target: Tensor, images: Tensor) -> dict[str, float]:
    """How near images are to the target, and how far their outlines lie where the source's do."""
    values = {
        "l1": l1(images, target),
        "ssim": ssim(images, target),
        "outlines": edge_correlation(source, images),
    }
    return {name: round(float(value.mean()), 4) for name, value in values.items()}


@torch.no_grad()
def wandering(network: nn.Module, sources: Tensor) -> dict[str, dict[str, float]]:
    """How far a batch's mean lies from that of all images, in standard deviations of the channel,
    and by what share the two deviations differ: the mean over batches, channels and batch norms.

    The layers run by their running statistics, so that what reaches them is the same at any size.
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
            whole = len(x) // size * size
            grouped = x[:whole].unflatten(0, (-1, size))
            var, mean = torch.var_mean(grouped, (1, 3, 4), correction=0)
            live = all_var > 1e-8  # a channel that is the same everywhere has no deviation
            means.append(((mean - all_mean).abs() / all_var.sqrt())[:, live].mean())
            deviations.append(((var / all_var).sqrt() - 1).abs()[:, live].mean())
        found[str(size)] = {
            "mean": round(float(torch.stack(means).mean()), 4),
            "deviation": round(float(torch.stack(deviations).mean()), 4),
        }
    return found


def labelled(sheet: Image.Image, names: list[str]) -> Image.Image:
    """A sheet of rows of one height, with the rows' names on its left."""
    font = ImageFont.load_default(13)
    margin = 16 + round(max(font.getlength(name) for name in names))
    canvas = Image.new("RGB", (margin + sheet.width, sheet.height), "white")
    canvas.paste(sheet, (margin, 0))
    drawing = ImageDraw.Draw(canvas)
    for number, name in enumerate(names):
        middle = round(sheet.height * (number + 0.5) / len(names))
        drawing.text((margin - 8, middle), name, fill="black", font=font, anchor="rm")
    # Few colours are enough to see it, and make a small file.
    return canvas.quantize(128, dither=Image.Dither.NONE)


def told(runs: list[dict[str, Any]], seeds: list[int]) -> dict[str, dict[str, dict[str, float]]]:
    """The means over the seeds, by variant and statistics; prints them with what seeds span."""
    means: dict[str, dict[str, dict[str, float]]] = {}
    print(f"\n{'mean of seeds ' + str(seeds):34}{'L1':>18}{'SSIM':>18}{'outlines':>18}")
    for variant in dict.fromkeys(run["variant"] for run in runs):
        same = [run["errors"] for run in runs if run["variant"] == variant]
        for way in same[0]:
            values = {key: [one[way][key] for one in same] for key in same[0][way]}
            mean = {key: round(statistics.mean(some), 4) for key, some in values.items()}
            means.setdefault(variant, {})[way] = mean
            cells = [f"{mean[k]:.4f} +-{(max(v) - min(v)) / 2:.4f}" for k, v in values.items()]
            name = variant if len(same[0]) == 1 else f"{variant} ({way})"
            print(f"{name:34}" + "".join(f"{cell:>18}" for cell in cells))
    return means


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=3000, help="seen by each network")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--quick", action="store_true", help="64 images, one seed, nothing written")
    options = parser.parse_args()
    if options.quick:
        options.images, options.seeds = 64, options.seeds[:1]
    torch.set_num_threads(1)  # networks this small gain little from more
    learnt, held_out = pairs()
    few = slice(None, None, len(held_out[0]) // SHOWN)
    shown, wanted = (side[few][:SHOWN] for side in held_out)
    runs, rows, wander = [], [("the drawing", shown)], {}
    for seed in options.seeds:
        for variant in VARIANTS:
            network, seconds = trained(variant, seed, learnt, options.images)
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
                rows.append((str(variant), made(network, shown)))
            if variant == Variant("batch", 8):
                wander[str(seed)] = wandering(network, held_out[0])
    means = told(runs, options.seeds)
    baselines = {
        "the drawing unchanged": compared(*held_out, held_out[0]),
        "the target": compared(*held_out, held_out[1]),
    }
    print(f"\n{baselines}\nstatistics of a batch against those of all: {wander}")
    if options.quick:
        return
    rows.append(("the target", wanted))
    sheet = Image.fromarray(make_grid([list(images) for _, images in rows]))
    labelled(sheet, [name for name, _ in rows]).save(ROOT / "docs" / "norms.png", optimize=True)
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
            "statistics_of_a_batch": wander,
            "runs": runs,
        },
    )


if __name__ == "__main__":
    main()
