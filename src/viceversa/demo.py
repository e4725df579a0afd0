"""The two demos of the package: train, measure errors on held-out images, save example results."""

from __future__ import annotations

import dataclasses
import time
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from .config.recipes import Sections, merge, read_recipe
from .config.run import resolve
from .data import DataConfig, index_split
from .data.dataset import ImageDataset
from .images import Pixels, write
from .images.domain import Domain
from .images.values import make_grid, quantized, to_pixels
from .inference import Translator
from .terminal import say
from .training.loop import train

RECIPES = {"pix2pix": ("demo", "openmoji"), "cyclegan": ("demo-cyclegan", "earth")}
Pairs = tuple[Tensor, Tensor]
"""All images of A and of B, (n, 3, h, w) in [-1, 1]; `[0][i]` and `[1][i]` are a pair."""


def run_demo(which: str, out: Path, seed: int = 0, epochs: int | None = None) -> dict[str, float]:
    """Train a demo and print its test errors and those of baselines.

    Args:
        which: `pix2pix` or `cyclegan`.
        out: Folder in which the run folder is created.
        seed: Seed of the training.
        epochs: Number of epochs; None: that of the recipe.

    Returns:
        Mean absolute error of pixels in [-1, 1] on the held-out images, by name.
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
    # The held-out images are pairs, also for unpaired training: the target is the reference.
    training = _images(config.data, data, "train", config.paired)
    test = _images(config.data, data, "test", paired=True)
    errors = (_paired_errors if config.paired else _unpaired_errors)(run, training, test)
    for name, error in errors.items():
        say(f"  {error:.4f}  {name}")
    say(f"example results: {run / 'result.png'}")
    model = run / "ab.safetensors"
    say(f"your own images: viceversa translate {model} IMAGE.png -o translated")
    activity = "draw an emoji" if which == "pix2pix" else "translate on a page"
    say(f"{activity}: pip install '.[serve]', then viceversa serve {model} --open")
    say(f"report: {run / 'report.html'}")
    return errors


def _images(config: DataConfig, path: Path, split: str, paired: bool) -> Pairs:
    index = index_split(path, split, paired)
    assert index is not None
    config = dataclasses.replace(config, path=str(path), preprocess="resize")
    dataset = ImageDataset(index, config, (Domain(), Domain()), True, 0, training=False)
    a, b = (
        torch.cat([dataset.values(name, i, torch.device("cpu")) for i in range(len(files))])
        for name, files in (("a", index.a), ("b", index.b))
    )
    return a, b


def _error(output: Tensor, target: Tensor) -> float:
    """Return the mean absolute error of the output as saved in files with 8 bits."""
    return float((quantized(output, Domain()) - target).abs().mean())


def _translate(run: Path, direction: str, images: Tensor) -> Tensor:
    translator = Translator.load(run / f"{direction}.safetensors")
    return torch.cat([translator.tensor(part) for part in torch.split(images, 16)])


def _paired_errors(run: Path, training: Pairs, test: Pairs) -> dict[str, float]:
    lines, target = test
    output = _translate(run, "ab", lines)
    step = max(1, len(lines) // 10)
    write(run / "result.png", make_grid([list(side[::step]) for side in (lines, output, target)]))
    say(f"mean absolute error on {len(lines)} held-out drawings (rows: source, output, target):")
    outputs = {
        "pix2pix": output,
        "baseline: every enclosed region filled with one median colour": _fill(training, lines),
        "baseline: the line drawing unchanged": lines,
    }
    return {name: _error(output, target) for name, output in outputs.items()}


def _fill(training: Pairs, lines: Tensor) -> Tensor:
    """Fill the enclosed regions of drawings with the median colour of such regions in training."""
    inside = torch.stack([_enclosed(line) for line in training[0]])
    colour = training[1].movedim(1, -1)[inside].median(dim=0).values
    enclosed = torch.stack([_enclosed(line) for line in lines])[:, None]
    return torch.where(enclosed, colour[:, None, None], lines)


def _enclosed(line: Tensor) -> Tensor:
    """Return the light pixels, (h, w) of bool, that no light path connects to the border."""
    light: Pixels = (to_pixels(line[None], Domain())[0].mean(axis=2) > 127).astype(np.uint8) * 255
    image = Image.fromarray(np.pad(light, 1, constant_values=255)).copy()
    ImageDraw.floodfill(image, (0, 0), 128)
    filled: NDArray[np.uint8] = np.asarray(image)[1:-1, 1:-1]
    return torch.from_numpy(filled == 255)


def _unpaired_errors(run: Path, training: Pairs, test: Pairs) -> dict[str, float]:
    say(f"mean absolute error on {len(test[0])} held-out places (rows: source, output, target):")
    errors: dict[str, float] = {}
    rows: list[list[Tensor]] = []
    means = [side.mean(dim=(0, 2, 3), keepdim=True) for side in training]
    for direction, name, i, j in (
        ("ab", "satellite to relief", 0, 1),
        ("ba", "relief to satellite", 1, 0),
    ):
        source, target = test[i], test[j]
        output = _translate(run, direction, source)
        rows += [list(source), list(output), list(target)]
        median = training[j].movedim(1, 0).flatten(1).median(dim=1).values[:, None, None]
        outputs = {
            f"CycleGAN, {name}": output,
            f"baseline: {name} by shifting the mean colour": source + means[j] - means[i],
            f"baseline: {name} by the best constant colour": median.expand_as(target),
        }
        errors |= {name: _error(output, target) for name, output in outputs.items()}
    write(run / "result.png", make_grid(rows))
    return errors
