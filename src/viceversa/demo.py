"""The two demos inside the package: train, judge on images never seen, show the picture."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from .config.recipes import Sections, merge, read_recipe
from .config.run import resolve
from .data import DataConfig, SplitIndex, index_split
from .data.dataset import ImageDataset
from .images import Pixels, write
from .images.domain import Domain
from .images.values import make_grid, to_pixels, to_values
from .inference import Translator
from .terminal import say
from .training.loop import train

RECIPES = {"pix2pix": ("demo", "openmoji"), "cyclegan": ("demo-cyclegan", "earth")}


def run_demo(which: str, out: Path, seed: int = 0, epochs: int | None = None) -> dict[str, float]:
    """Train a demo in `out`, print its test errors and baselines; returns the errors by name.

    An error is the mean absolute difference of pixels in [-1, 1] on the held-out images.
    """
    recipe, folder = RECIPES[which]
    data = Path(str(resources.files("viceversa") / "demos" / folder))
    run = out / (recipe if seed == 0 else f"{recipe}-{seed}")
    settings: Sections = {"data": {"path": str(data)}, "train": {"run": str(run), "seed": seed}}
    if epochs is not None:
        settings["train"]["epochs"] = epochs
    config = resolve(merge(read_recipe(recipe), settings))
    began = time.perf_counter()
    train(config)
    say(f"\ntrained in {time.perf_counter() - began:.0f} s")
    whole = dataclasses.replace(config.data, path=str(data), preprocess="resize")
    # Held-out images lie in pairs even where training has none: the truth to judge by.
    known = _whole(index_split(data, "train", config.paired), whole)
    unseen = _whole(index_split(data, "test", paired=True), whole)
    judge: Callable[..., dict[str, float]] = _paired if config.paired else _unpaired
    errors = judge(run, known, unseen)
    for name, error in errors.items():
        say(f"  {error:.4f}  {name}")
    say(f"the picture: {run / 'result.png'}")
    say(f"your own:    viceversa translate {run / 'ab.safetensors'} YOUR_PICTURE.png -o translated")
    return errors


def _whole(found: SplitIndex | None, config: DataConfig) -> tuple[Tensor, Tensor]:
    """Every image of both domains at its full size, as two batches."""
    assert found is not None
    pictures = ImageDataset(found, config, (Domain(), Domain()), True, 0, training=False)
    sides = [
        torch.stack([pictures.image(domain, index) for index in range(length)])
        for domain, length in zip("ab", (len(found.a), len(found.b)), strict=True)
    ]
    return to_values(sides[0], Domain()), to_values(sides[1], Domain())


def _error(made: Tensor, target: Tensor) -> float:
    """Mean absolute difference, of what the files would hold: 8 bits."""
    eight_bit = ((made.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    return float((eight_bit - target).abs().mean())


def _translate(run: Path, direction: str, images: Tensor) -> Tensor:
    translator = Translator.load(run / f"{direction}.safetensors")
    return torch.cat([translator.tensor(part) for part in torch.split(images, 16)])


def _paired(
    run: Path, known: tuple[Tensor, Tensor], unseen: tuple[Tensor, Tensor]
) -> dict[str, float]:
    lines, colours = unseen
    made = _translate(run, "ab", lines)
    chosen = range(0, len(lines), max(1, len(lines) // 10))
    columns = [list(side[list(chosen)]) for side in (lines, made, colours)]
    write(run / "result.png", make_grid(columns))
    say(f"mean absolute error on {len(lines)} drawings never seen (rows: line, made, true):")
    return {
        "pix2pix": _error(made, colours),
        "baseline: every enclosed region filled with one median colour": _error(
            _flood_filled(known, lines), colours
        ),
        "baseline: the line drawing unchanged": _error(lines, colours),
    }


def _flood_filled(known: tuple[Tensor, Tensor], lines: Tensor) -> Tensor:
    """Drawings with all that the outside cannot reach in the median colour seen there."""
    inside = torch.stack([_enclosed(line) for line in known[0]])
    colour = known[1].movedim(1, -1)[inside].median(dim=0).values
    enclosed = torch.stack([_enclosed(line) for line in lines])[:, None]
    return torch.where(enclosed, colour[:, None, None], lines)


def _enclosed(line: Tensor) -> Tensor:
    """(h, w) bool: light pixels of a drawing that no path of light ones joins to its border."""
    light: Pixels = (to_pixels(line[None], Domain())[0].mean(axis=2) > 127).astype(np.uint8) * 255
    image = Image.fromarray(np.pad(light, 1, constant_values=255)).copy()
    ImageDraw.floodfill(image, (0, 0), 128)
    filled: NDArray[np.uint8] = np.asarray(image)[1:-1, 1:-1]
    return torch.from_numpy(filled == 255)


def _unpaired(
    run: Path, known: tuple[Tensor, Tensor], unseen: tuple[Tensor, Tensor]
) -> dict[str, float]:
    say(f"mean absolute error on {len(unseen[0])} places never seen (rows: from, made, true):")
    errors: dict[str, float] = {}
    rows: list[list[Tensor]] = []
    for direction, name, here, there in (
        ("ab", "satellite to relief", 0, 1),
        ("ba", "relief to satellite", 1, 0),
    ):
        source, target = unseen[here], unseen[there]
        made = _translate(run, direction, source)
        rows += [list(source), list(made), list(target)]
        mean = [side.mean(dim=(0, 2, 3), keepdim=True) for side in known]
        constant = known[there].movedim(1, 0).flatten(1).median(dim=1).values[:, None, None]
        errors[f"CycleGAN, {name}"] = _error(made, target)
        shifted = source + mean[there] - mean[here]
        errors[f"baseline: {name} by shifting the mean colour"] = _error(shifted, target)
        errors[f"baseline: {name} by the best constant colour"] = _error(
            constant.expand_as(target), target
        )
    write(run / "result.png", make_grid(rows))
    return errors
