"""The variants of a training step that `train_speed` measures, and the work of its workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from machine_peak import Peaks, machine
from reference import depth, reference_model
from torch.utils.flop_counter import FlopCounterMode
from train_job import Job

from viceversa.batch import Batch
from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import RunConfig, make_method, resolve
from viceversa.data.loader import Loader
from viceversa.data.open import open_data
from viceversa.plan.costs import random_feature_networks
from viceversa.runtime.cuda_graph import WARM_UP
from viceversa.runtime.device import synchronized_time
from viceversa.runtime.training import Runtime
from viceversa.training.gradients import GradientStats
from viceversa.training.setup import make_optimizers, set_learning_rates
from viceversa.training.step import MicroBatch, update

Work = tuple[dict[str, Any], dict[str, Callable[[], Any]]]
Step = Callable[[Batch], object]

WAKE_UP = 0.1  # seconds
PRESETS = {"pix2pix": "pix2pix-reference", "cyclegan": "cyclegan-reference"}
SAME, BEST = "same precision", "fastest settings"
OFF = {
    "fused": False,
    "flush_denormals": False,
    "conv_as_matmul": False,
    "memory_format": "contiguous",
    "compile": False,
    "cuda_graph": "off",
    "activation_checkpointing": "off",
}


@dataclass(frozen=True)
class Variant:
    """A variant of a training step: its tables, precision and speed options."""

    tables: tuple[str, ...]
    precision: str
    speed: dict[str, Any] = field(default_factory=dict)
    on_gpu: bool = False
    """Whether it needs a GPU."""


VARIANTS = {
    "reference": Variant((SAME, BEST), "fp32"),
    "reference-fp32": Variant((SAME,), "fp32", {"allow_tf32": False}, on_gpu=True),
    "plain": Variant((SAME,), "fp32", OFF),
    "fp32": Variant((SAME,), "fp32"),
    "tf32": Variant((SAME, BEST), "tf32", on_gpu=True),
    "tf32-eager": Variant((BEST,), "tf32", {"cuda_graph": "off"}, on_gpu=True),
    "bf16": Variant((BEST,), "bf16"),
    "bf16-eager": Variant((BEST,), "bf16", {"cuda_graph": "off"}, on_gpu=True),
    "bf16-compiled": Variant((BEST,), "bf16", {"compile": True, "memory_format": "channels_last"}),
}


def computed_in(name: str, device: str) -> str:
    """Return the precision of products: by default, torch uses tf32 in convolutions on a GPU."""
    tf32 = name == "reference" and device.startswith("cuda")
    return "tf32" if tf32 else VARIANTS[name].precision


def settings(job: Job) -> RunConfig:
    """Return the reference's settings of a method, or a recipe, at the size and width of a job."""
    base = read_recipe(PRESETS.get(job.method, job.method))
    generator: dict[str, Any] = {"width": job.width}
    if base.get("generator", {}).get("name", "unet") == "unet":
        generator["depth"] = depth(job.size)
    own = {
        "generator": generator,
        "discriminator": {"width": job.width},
        "data": {"path": job.path, "load_size": round(job.size * 286 / 256), "crop_size": job.size},
        "train": {"precision": job.precision, "batch_size": job.batch, "device": job.device},
        "speed": job.speed,
    }
    return resolve(merge(base, own))


def count(job: Job) -> tuple[int, int]:
    """Return the MACs of a training step, forward and backward, and the number of weights."""
    with torch.device("meta"):
        method = make_method(settings(job)).train()
        batch = tuple(torch.empty(job.batch, 3, job.size, job.size) for _ in range(2))
        players = method.players()
        with FlopCounterMode(display=False) as counter:
            for player, losses in method.step(Batch(*batch)):
                assert player is not None
                weights = list(chain.from_iterable(n.parameters() for n in players[player]))
                torch.stack(list(losses.values())).sum().backward(inputs=weights)
    trained = sum(weight.numel() for weight in method.parameters())
    return counter.get_total_flops() // 2, trained


def images(job: Job) -> Batch:
    """Return a random batch on the device."""
    torch.manual_seed(0)
    shape = job.batch, 3, job.size, job.size
    return Batch(*((torch.rand(shape) * 2 - 1).to(job.device) for _ in range(2)))


def package_step(job: Job) -> Work:
    """Return the step of training, with the check of gradients."""
    config = settings(job)
    runtime = Runtime(job.device, job.precision, speed=config.speed)
    method = make_method(config).train()
    random_feature_networks(method, runtime.device)
    networks = list(chain.from_iterable(method.players().values()))
    runtime.prepare(method, networks)
    optimizers = make_optimizers(method, config.train, runtime)
    set_learning_rates(optimizers, config.train, 1)
    watch = GradientStats(runtime.device)
    batch = images(job)
    layout = runtime.choose_memory_format(method, networks[0], lambda: batch.a)
    runtime.compile(networks, [])
    graphed = config.speed.cuda_graph == "auto" and runtime.device.type == "cuda"
    notes: list[str] = []  # for example, that no graph could be captured
    step = runtime.graphed(
        lambda batch: update(
            method, [MicroBatch(batch)], optimizers, runtime, config.train.grad_clip, watch
        ),
        notes.append,
    )
    warm_up = (3 if config.speed.compile else 2) + (WARM_UP if graphed else 0)
    answers = timed(step, batch, job, warm_up, graphed)
    return {
        "precision": job.precision,
        "speed": asdict(config.speed),
        "memory_format": layout,
        "notes": notes,
    }, answers


def reference_step(job: Job) -> Work:
    """Return the step of the reference, with its defaults and initial weights."""
    if job.speed:
        torch.backends.cudnn.allow_tf32 = job.speed["allow_tf32"]
    model, own = reference_model(job.path, job.method, job.width, job.size, job.device)

    def step(batch: Batch) -> None:
        model.set_input({"A": batch.a, "B": batch.b, "A_paths": "", "B_paths": ""})
        model.optimize_parameters()

    return {"precision": "fp32", **job.speed, **own}, timed(step, images(job), job, 2, False)


def timed(
    step: Step, batch: Batch, job: Job, warm_up: int, graphed: bool
) -> dict[str, Callable[[], Any]]:
    """Warm up a step; return the requests that a worker answers."""
    device = batch[0].device

    def turn() -> float:
        wake()
        began = synchronized_time(device)
        for _ in range(job.per_turn):
            step(batch)
        return (synchronized_time(device) - began) / job.per_turn

    def kernels() -> int | None:
        """Return the number of kernels of a step. Profiling slows down later steps."""
        if device.type != "cuda" or graphed:
            return None
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
            step(batch)
            torch.cuda.synchronize(device)
        on_gpu = [
            event
            for event in profiler.events()
            if event.device_type == torch.autograd.DeviceType.CUDA
        ]
        return sum(not event.is_user_annotation for event in on_gpu)

    for _ in range(warm_up):
        step(batch)
    return {"turn": turn, "kernels": kernels}


def wake() -> None:
    """Keep the threads busy for a moment.

    They have slept since the last turn, and the first tens of milliseconds are slower than in
    training.
    """
    numbers = torch.ones(2**18)
    until = time.perf_counter() + WAKE_UP
    while time.perf_counter() < until:
        numbers.mul_(1)


def peaks(job: Job) -> Work:
    """Describe the machine and measure its peak rates."""
    return {"machine": machine(job.device)}, {"turn": Peaks(job.device, job.precisions).measured}


def loader(job: Job) -> Work:
    """Return epochs of the training loader, without training steps."""
    config = settings(job)
    data = open_data(config.data, config.paired, 0, Path("unused"), lambda text: None)
    device = torch.device(job.device)
    epochs = Loader(data.train, job.batch, device)
    epoch_numbers = iter(range(1, 1000))

    def turn() -> float:
        """Return the seconds of the next epoch."""
        began = synchronized_time(device)
        for batch in epochs.epoch(next(epoch_numbers)):
            assert batch is not None
        return synchronized_time(device) - began

    about = {"images": len(data.train), "loading_threads": config.data.workers}
    return about, {"turn": turn}


WORK: dict[str, Callable[[Job], Work]] = {
    "package": package_step,
    "reference": reference_step,
    "peaks": peaks,
    "loader": loader,
}
