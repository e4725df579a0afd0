"""Estimate what a training run costs before it starts: arithmetic, memory, disk and time.

Steps are timed only if they fit into the memory. No file is written.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..checkpoint import Checkpoints
from ..config.run import RunConfig
from ..errors import UserError
from ..runtime.device import free_memory
from ..runtime.distributed import Ranks
from ..training.preflight import disk_space
from ..training.setup import open_runtime
from .alternatives import Choice, choices
from .costs import Costs, estimate, time_steps
from .images import ImageStats, inspect_images

IMAGE_LIBRARIES = 90_000_000  # bytes of code that is loaded with the first image


def make_plan(config: RunConfig, steps: int, note: Callable[[str], None]) -> dict[str, Any]:
    """Estimate the costs of a run and, if it fits into the memory, time a few steps.

    Args:
        config: The settings of the run.
        steps: How many steps to time; 0 for none.
        note: Gets a message at the start of each stage.

    Returns:
        Plain values: bytes, multiply-accumulates and seconds; None for what is not known.

    Raises:
        UserError: The data is missing, the networks cannot train on its size, or the device is not
            available.
    """
    if steps < 0:
        raise UserError(f"--steps must be at least 0, not {steps}", option="--steps")
    checkpoints = Checkpoints(Path(config.train.run) / "checkpoints", config.train.keep_last)
    runtime, config = open_runtime(config, checkpoints, Ranks(), note)
    train, device = config.train, runtime.device
    images = inspect_images(config)
    note("estimating ...")
    costs = estimate(config, images.size, device, images.count)
    memory = _memory(costs, config, images, device)
    batch = crop = time = None
    alternatives: list[Choice] = []
    if memory["free"] is not None:
        batch, crop, alternatives = choices(
            config, images, device, memory["free"], memory["images"], memory["needed"]
        )
    if steps and memory["fits"]:
        note(f"timing {steps} step{'s' * (steps > 1)} on {device} ...")
        seconds, memory["measured"] = time_steps(config, images.size, steps, note)
        time = step_times(seconds, config, images.count, costs.step_macs)
    cached = images.decoded if config.data.cache == "disk" else 0
    disk = costs.disk._replace(needed=costs.disk.needed + cached)
    room = disk_space(disk, Path(train.run or "."))
    plan = {
        "device": str(device),
        "height": images.size[0],
        "width": images.size[1],
        "batch_size": train.batch_size,
        "accumulation_steps": train.accumulation_steps,
        "precision": train.precision,
        "images": images.count or None,
        "epochs": train.epochs,
        "splits": {
            name: {"a": len(split.a), "b": len(split.b), "layout": split.layout}
            for name, split in images.splits.items()
        },
        "parameters": costs.parameters | {"all": sum(costs.parameters.values())},
        "macs": {"step": costs.step_macs, "translation": costs.translation_macs},
        "memory": memory,
        "largest": {"batch": batch, "crop": crop},
        "alternatives": alternatives,
        "disk": {
            "checkpoint": disk.state,
            "models": disk.models,
            "images": cached,
            "needed": disk.needed,
            "free": room.free,
        },
        "time": time,
        "settings": config.sections,
    }
    return plan | {"advice": _advice(plan, images, room.enough)}


def _memory(
    costs: Costs, config: RunConfig, images: ImageStats, device: torch.device
) -> dict[str, Any]:
    """Return the memory of a run by use, and whether it fits."""
    data, free = config.data, free_memory(device)
    limit = data.cache_megabytes * 2**20 if data.cache == "memory" else 0
    cached = IMAGE_LIBRARIES + min(images.decoded, limit) if device.type == "cpu" else 0
    return {
        **costs.parts,
        "margin": costs.margin,
        "ema": costs.ema,
        "copies": costs.copies,
        "images": cached,
        "steps": costs.steps,
        "needed": costs.run + cached,
        "free": free,
        "fits": free is None or costs.run + cached <= free,
        "measured": None,
    }


def step_times(
    seconds: list[float], config: RunConfig, images: int, step_macs: int
) -> dict[str, Any]:
    """Return the median step and the times of a run from the seconds of each timed step."""
    train, step = config.train, statistics.median(seconds)
    rate = train.batch_size * train.accumulation_steps / step
    return {
        "step": step,
        "every": seconds,
        "images_per_s": rate,
        "macs_per_s": step_macs / step,
        "thousand_images": 1000 / rate,
        "epoch": images / rate if images else None,
        "all": images * train.epochs / rate if images else None,
    }


def _advice(plan: dict[str, Any], images: ImageStats, disk_enough: bool) -> list[str]:
    """Return at most four sentences on what the numbers mean."""
    memory, lines = plan["memory"], []
    if memory["free"] is None:
        lines.append(f"The free memory of {plan['device']} is not known.")
    elif memory["fits"]:
        fraction = memory["needed"] / memory["free"]
        lines.append(f"The run fits: it needs {fraction:.0%} of the free memory.")
    if not disk_enough:
        lines.append(
            "The disk is too full: free space, or keep fewer checkpoints (--train.keep_last)."
        )
    if (memory["measured"] or 0) > 1.25 * memory["steps"]:
        lines.append("The timed steps needed more memory than predicted; rely on the measurement.")
    if not images.count:
        lines.append("Name the data after the recipe to get the time of all epochs.")
    elif images.unpaired:
        lines.append(f"{images.unpaired} images are unpaired; viceversa check lists them.")
    if not images.one_size:
        lines.append("With these settings images keep their own sizes; this is for one of them.")
    if plan["time"]:
        lines.append("The time is that of steps only, without loading, samples and checkpoints.")
    return lines[:4]
