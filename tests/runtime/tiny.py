"""Both methods on tiny networks, and what a few of their steps leave."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from viceversa.config.recipes import Sections, merge, read_recipe
from viceversa.config.run import RunConfig, make_method, resolve
from viceversa.config.speed import SpeedConfig
from viceversa.methods.base import Batch, Method
from viceversa.runtime.training import Runtime
from viceversa.training.setup import make_optimizers
from viceversa.training.step import MicroBatch, Optimizers, update

METHODS = ("pix2pix", "cyclegan")
OFF = SpeedConfig(
    fused=False, flush_denormals=False, conv_as_matmul=False,
    memory_format="contiguous", compile=False, cuda_graph="off", activation_checkpointing="off",
)  # fmt: skip
Losses = list[dict[str, Tensor]]


class Made(NamedTuple):
    config: RunConfig
    method: Method
    runtime: Runtime
    optimizers: Optimizers

    @property
    def networks(self) -> list[nn.Module]:
        return list(chain.from_iterable(self.method.players().values()))


def only(**options: Any) -> SpeedConfig:
    """These options, and every other one off."""
    return replace(OFF, **options)


def settings(name: str, /, **more: dict[str, Any]) -> RunConfig:
    """As the recipes have it, with dropout and pools, but small."""
    tiny: Sections = {
        "generator": {"width": 4, "dropout": 0.5},
        "discriminator": {"width": 4, "layers": 2},
        "data": {"path": "unused", "preprocess": "none", "flip": False, "workers": 0},
        "train": {"run": "unused", "epochs": 4, "device": "cpu", "log_every": 4, "samples": 1},
    }
    own: Sections = {"method": {"pool_size": 2}, "generator": {"blocks": 1}}
    if name == "pix2pix":
        own = {"generator": {"depth": 4}}
    return resolve(merge(merge(merge(read_recipe(name), tiny), own), more))


def made(
    name: str, speed: SpeedConfig = OFF, precision: str = "fp32", device: str = "cpu",
    /, **more: dict[str, Any],
) -> Made:  # fmt: skip
    """A method that is ready to train, the same each time."""
    config = settings(name, **more)
    torch.manual_seed(0)
    method = make_method(config).train()
    runtime = Runtime(device, precision, speed=speed)
    runtime.prepare(method, list(chain.from_iterable(method.players().values())))
    runtime.choose_memory_format(
        method, next(iter(method.translators().values())), lambda: batch(0)[0]
    )
    return Made(config, method, runtime, make_optimizers(method, config.train, runtime))


def batch(step: int, count: int = 2, side: int = 32) -> Batch:
    """Chance colours, of torch's default type."""
    chance = torch.Generator().manual_seed(step)
    a, b = torch.rand(2, count, 3, side, side, generator=chance, dtype=torch.float64) * 2 - 1
    return a.to(torch.get_default_dtype()), b.to(torch.get_default_dtype())


def steps(one: Made, count: int = 5, images: int = 2) -> Losses:
    """The losses of some steps, from the same random numbers each time."""
    torch.manual_seed(1)
    return [
        update(one.method, [MicroBatch(batch(step, images))], one.optimizers, one.runtime)
        for step in range(count)
    ]


def left(one: Made) -> dict[str, Tensor]:
    """Weights, statistics, pools and Adam's averages."""
    kept = {name: value.clone() for name, value in one.method.state_dict().items()}
    for player, optimizer in one.optimizers.items():
        for number, state in optimizer.state_dict()["state"].items():
            kept |= {f"{player} {number} {key}": value.clone() for key, value in state.items()}
    return kept


def farthest(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    """The largest difference between tensors of the same name."""
    assert one.keys() == two.keys() and one
    return max(
        float((one[name].detach().double() - two[name].detach().double()).abs().max())
        for name in one if one[name].numel()
    )  # fmt: skip


def apart(one: Losses, two: Losses) -> float:
    """The largest difference between losses of the same step and name."""
    assert len(one) == len(two)
    return max(farthest(a, b) for a, b in zip(one, two, strict=True))


# -- whole runs


def in_folder(name: str, data: Path, run: Path, /, **more: dict[str, Any]) -> RunConfig:
    """Settings of a run on images of noise."""
    places: Sections = {"data": {"path": str(data)}, "train": {"run": str(run)}}
    return settings(name, **merge(places, more))
