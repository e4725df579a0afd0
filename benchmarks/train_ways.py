"""The ways to take a step that `train_speed` times, and what a worker does for each."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from machine_peak import Peaks, machine
from torch.utils.flop_counter import FlopCounterMode
from train_job import Job

from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import RunConfig, make_method, resolve
from viceversa.data.loader import Loader
from viceversa.data.open import open_data
from viceversa.methods.base import Batch
from viceversa.runtime.cuda_graph import WARM_UP
from viceversa.runtime.device import synchronized_time
from viceversa.runtime.training import Runtime
from viceversa.training.gradients import GradientStats
from viceversa.training.setup import make_optimizers, set_learning_rates
from viceversa.training.step import MicroBatch, update

Work = tuple[dict[str, Any], dict[str, Callable[[], Any]]]
Step = Callable[[Batch], object]

AWAKE = 0.1  # seconds
PRESETS = {"pix2pix": "pix2pix-reference", "cyclegan": "cyclegan-reference"}
SAME, BEST = "same precision", "ours at its best"
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
class Way:
    """A way to take a step: the tables it stands in, its precision, what is set for speed."""

    tables: tuple[str, ...]
    precision: str
    speed: dict[str, Any] = field(default_factory=dict)
    on_gpu: bool = False
    """Whether it is one on a GPU alone."""


WAYS = {
    "reference": Way((SAME, BEST), "fp32"),
    "reference-fp32": Way((SAME,), "fp32", {"allow_tf32": False}, on_gpu=True),
    "plain": Way((SAME,), "fp32", OFF),
    "fp32": Way((SAME,), "fp32"),
    "tf32": Way((SAME, BEST), "tf32", on_gpu=True),
    "tf32-eager": Way((BEST,), "tf32", {"cuda_graph": "off"}, on_gpu=True),
    "bf16": Way((BEST,), "bf16"),
    "bf16-eager": Way((BEST,), "bf16", {"cuda_graph": "off"}, on_gpu=True),
    "bf16-compiled": Way((BEST,), "bf16", {"compile": True, "memory_format": "channels_last"}),
}


def computed_in(name: str, device: str) -> str:
    """The precision in which a way multiplies: torch lets the reference's convolutions round to
    tf32 on a GPU, unless it is told else."""
    tf32 = name == "reference" and device.startswith("cuda")
    return "tf32" if tf32 else WAYS[name].precision


def depth(size: int) -> int:
    """How often a U-Net halves an image: to 1 pixel at 256, at most 8 times."""
    return min(8, (size & -size).bit_length() - 1)


def settings(job: Job) -> RunConfig:
    """The preset that does what the reference does, at a job's size and width."""
    generator: dict[str, Any] = {"width": job.width}
    if job.method == "pix2pix":
        generator["depth"] = depth(job.size)
    own = {
        "generator": generator,
        "discriminator": {"width": job.width},
        "data": {"path": job.path, "load_size": round(job.size * 286 / 256), "crop_size": job.size},
        "train": {"precision": job.precision, "batch_size": job.batch, "device": job.device},
        "speed": job.speed,
    }
    return resolve(merge(read_recipe(PRESETS[job.method]), own))


def count(job: Job) -> tuple[int, int]:
    """MACs of a training step of a method, forward and backward, and the weights it trains."""
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
    """A made batch, on the device."""
    torch.manual_seed(0)
    shape = job.batch, 3, job.size, job.size
    a, b = ((torch.rand(shape) * 2 - 1).to(job.device) for _ in range(2))
    return a, b


def ours(job: Job) -> Work:
    """A step as training takes it, with the check of its gradients."""
    config = settings(job)
    runtime = Runtime(job.device, job.precision, speed=config.speed)
    method = make_method(config).train()
    networks = list(chain.from_iterable(method.players().values()))
    runtime.prepare(method, networks)
    optimizers = make_optimizers(method, config.train, runtime)
    set_learning_rates(optimizers, config.train, 1)
    watch = GradientStats(runtime.device)
    batch = images(job)
    layout = runtime.choose_memory_format(method, networks[0], lambda: batch[0])
    runtime.compile(networks, [])
    graphed = config.speed.cuda_graph == "auto" and runtime.device.type == "cuda"
    notes: list[str] = []  # that no graph could be made, say
    step = runtime.graphed(
        lambda batch: update(
            method, [MicroBatch(batch)], optimizers, runtime, config.train.grad_clip, watch
        ),
        notes.append,
    )
    warm_up = (3 if config.speed.compile else 2) + (WARM_UP if graphed else 0)
    asked = timed(step, batch, job, warm_up, graphed)
    return {
        "precision": job.precision,
        "speed": asdict(config.speed),
        "memory_format": layout,
        "notes": notes,
    }, asked


def theirs(job: Job) -> Work:
    """A step of the reference, with its own defaults and weights as it begins with them."""
    sys.path.insert(0, job.path)
    import models.cycle_gan_model
    import models.pix2pix_model

    if job.speed:
        torch.backends.cudnn.allow_tf32 = job.speed["allow_tf32"]
    common = {
        "isTrain": True,
        "checkpoints_dir": "unused",
        "name": "unused",
        "preprocess": "none",
        "device": torch.device(job.device),
        "direction": "AtoB",
        "input_nc": 3,
        "output_nc": 3,
        "ngf": job.width,
        "ndf": job.width,
        "n_layers_D": 3,
        "netD": "basic",
        "init_type": "normal",
        "init_gain": 0.02,
        "lr": 2e-4,
        "beta1": 0.5,
        "lr_policy": "linear",
        "epoch_count": 1,
        "n_epochs": 100,
        "n_epochs_decay": 100,
        "continue_train": False,
        "verbose": False,
    }
    if job.method == "pix2pix":
        own: dict[str, Any] = {
            "netG": f"unet_{2 ** depth(job.size)}",
            "norm": "batch",
            "no_dropout": False,
            "gan_mode": "vanilla",
            "lambda_L1": 100.0,
        }
        model = models.pix2pix_model.Pix2PixModel(Namespace(**common, **own))
    else:
        own = {
            "netG": "resnet_9blocks",
            "norm": "instance",
            "no_dropout": True,
            "gan_mode": "lsgan",
            "lambda_A": 10.0,
            "lambda_B": 10.0,
            "lambda_identity": 0.5,
            "pool_size": 50,
        }
        model = models.cycle_gan_model.CycleGANModel(Namespace(**common, **own))
    model.setup(model.opt)

    def step(batch: Batch) -> None:
        model.set_input({"A": batch[0], "B": batch[1], "A_paths": "", "B_paths": ""})
        model.optimize_parameters()

    return {"precision": "fp32", **job.speed, **own}, timed(step, images(job), job, 2, False)


def timed(
    step: Step, batch: Batch, job: Job, warm_up: int, graphed: bool
) -> dict[str, Callable[[], Any]]:
    """What is asked of a step, once it has warmed up."""
    device = batch[0].device

    def turn() -> float:
        wake()
        began = synchronized_time(device)
        for _ in range(job.per_turn):
            step(batch)
        return (synchronized_time(device) - began) / job.per_turn

    def kernels() -> int | None:
        """How many kernels a step launches; asked last, as a profiler leaves traces."""
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
    """Keep the processor's threads busy for a moment: they have slept since the last turn, and the
    first tens of milliseconds after that are slower than those of training, step upon step."""
    numbers = torch.ones(2**18)
    until = time.perf_counter() + AWAKE
    while time.perf_counter() < until:
        numbers.mul_(1)


def peaks(job: Job) -> Work:
    """The machine and its peak."""
    return {"machine": machine(job.device)}, {"turn": Peaks(job.device, job.precisions).measured}


def loader(job: Job) -> Work:
    """Epochs of images as training loads them, with nothing done to them."""
    config = settings(job)
    data = open_data(config.data, config.paired, 0, Path("unused"), lambda text: None)
    device = torch.device(job.device)
    epochs = Loader(data.train, job.batch, device)
    seen = iter(range(1, 1000))

    def turn() -> float:
        """Seconds of the next epoch."""
        began = synchronized_time(device)
        for batch in epochs.epoch(next(seen)):
            assert batch is not None
        return synchronized_time(device) - began

    about = {"images": len(data.train), "loading_threads": config.data.workers}
    return about, {"turn": turn}


WORK: dict[str, Callable[[Job], Work]] = {
    "ours": ours,
    "reference": theirs,
    "peaks": peaks,
    "loader": loader,
}
