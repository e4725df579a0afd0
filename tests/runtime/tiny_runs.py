"""Tiny networks of both methods, ready to train, and functions to compare them after some steps."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from viceversa.batch import Batch
from viceversa.config.recipes import Sections, merge, read_recipe
from viceversa.config.run import RunConfig, make_method, resolve
from viceversa.config.speed import SpeedConfig
from viceversa.methods.base import Method
from viceversa.runtime.training import Runtime
from viceversa.training.setup import make_optimizers
from viceversa.training.step import MicroBatch, Optimizers, update

METHODS = ("pix2pix", "cyclegan")
OFF = SpeedConfig(
    fused=False,
    flush_denormals=False,
    conv_as_matmul=False,
    memory_format="contiguous",
    compile=False,
    cuda_graph="off",
    activation_checkpointing="off",
)
Losses = list[dict[str, Tensor]]


class TinyRun(NamedTuple):
    config: RunConfig
    method: Method
    runtime: Runtime
    optimizers: Optimizers

    @property
    def networks(self) -> list[nn.Module]:
        return list(chain.from_iterable(self.method.players().values()))


def only(**options: Any) -> SpeedConfig:
    """Return a SpeedConfig with these options; all others are off."""
    return replace(OFF, **options)


def settings(name: str, /, **more: dict[str, Any]) -> RunConfig:
    """Return the settings of a recipe with dropout, an image pool and tiny networks."""
    tiny: Sections = {
        "generator": {"width": 4, "dropout": 0.5},
        "discriminator": {"width": 4, "layers": 2},
        "data": {"path": "unused", "preprocess": "none", "flip": False, "workers": 0},
        "train": {
            "run": "unused",
            "epochs": 4,
            "device": "cpu",
            "precision": "fp32",
            "log_every": 4,
            "samples": 1,
        },
    }
    own: Sections = {"method": {"pool_size": 2}, "generator": {"blocks": 1}}
    if name == "pix2pix":
        own = {"generator": {"depth": 4}}
    return resolve(merge(merge(merge(read_recipe(name), tiny), own), more))


def tiny_run(
    name: str,
    speed: SpeedConfig = OFF,
    precision: str = "fp32",
    device: str = "cpu",
    /,
    **more: dict[str, Any],
) -> TinyRun:
    """Create a method that is ready to train, with the same weights each time."""
    config = settings(name, **more)
    torch.manual_seed(0)
    method = make_method(config).train()
    runtime = Runtime(device, precision, speed=speed)
    runtime.prepare(method, list(chain.from_iterable(method.players().values())))
    runtime.choose_memory_format(
        method, next(iter(method.translators().values())), lambda: batch(0)[0]
    )
    return TinyRun(config, method, runtime, make_optimizers(method, config.train, runtime))


def batch(step: int, count: int = 2, side: int = 32) -> Batch:
    """Return a batch of noise in torch's default dtype."""
    generator = torch.Generator().manual_seed(step)
    a, b = torch.rand(2, count, 3, side, side, generator=generator, dtype=torch.float64) * 2 - 1
    return Batch(a.to(torch.get_default_dtype()), b.to(torch.get_default_dtype()))


def train_steps(run: TinyRun, count: int = 5, images: int = 2) -> Losses:
    """Train some steps, with the same random numbers each time, and return their losses."""
    torch.manual_seed(1)
    return [
        update(run.method, [MicroBatch(batch(step, images))], run.optimizers, run.runtime)
        for step in range(count)
    ]


def training_state(run: TinyRun) -> dict[str, Tensor]:
    """Return copies of the weights, statistics, image pools and states of the optimizers."""
    tensors = {name: value.clone() for name, value in run.method.state_dict().items()}
    for player, optimizer in run.optimizers.items():
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{player} {number} {key}": value.clone() for key, value in state.items()}
    return tensors


def max_difference(run: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    """Return the largest absolute difference between tensors of the same name."""
    assert run.keys() == two.keys() and run
    return max(
        float((run[name].detach().double() - two[name].detach().double()).abs().max())
        for name in run
        if run[name].numel()
    )


def max_loss_difference(run: Losses, two: Losses) -> float:
    """Return the largest absolute difference between losses of the same step and name."""
    assert len(run) == len(two)
    return max(max_difference(a, b) for a, b in zip(run, two, strict=True))


# -- complete runs


def run_config(name: str, data: Path, run: Path, /, **more: dict[str, Any]) -> RunConfig:
    """Return the settings of a run that reads images from `data` and writes to the folder `run`."""
    paths: Sections = {"data": {"path": str(data)}, "train": {"run": str(run)}}
    return settings(name, **merge(paths, more))
