"""Sample grids and patch maps: the same images, drawn at intervals during training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..config.run import RunConfig
from ..data.user import SplitDataset
from ..evaluation.value_range import ValueRange
from ..images import Pixels
from ..images.values import make_grid, to_rgb
from ..inference.patch_scores import PatchScorer, Row, draw_figure, on_common_scale
from ..networks.patch_grid import patch_grid
from ..networks.sizes import at_any_size
from .snapshot import Snapshot


def sample_columns(generators: Mapping[str, nn.Module], dataset: SplitDataset) -> list[str]:
    """Return the titles of the columns of a sample grid, by the domains of the dataset."""
    if dataset.paired:
        return ["source", "translation", "target"]
    a, b = (side.upper() for side in dataset.direction)
    both = [f"to {b}", "and back", b, f"to {a}", "and back"]
    return [a, *(both if "ba" in generators else both[:1])]


def page_info(generators: Mapping[str, nn.Module], dataset: SplitDataset) -> dict[str, Any]:
    """Return what the page of a run needs to know of its images, for machine.json.

    `sample_columns`, and `value_ranges`: the range of the values of each target domain.
    """
    in_data = dict(zip("ab", dataset.direction, strict=True))
    sides = [in_data[direction[1]] for direction in generators]
    ranges = {side: ValueRange.of(dataset.domains[side]).as_json() for side in sides}
    return {"sample_columns": sample_columns(generators, dataset), "value_ranges": ranges}


@torch.no_grad()
def sample_grid(
    generators: Mapping[str, nn.Module], dataset: SplitDataset, count: int, device: torch.device
) -> Pixels | None:
    """Return an image with a row for each of the first `count` samples; None if there are none.

    Its columns are those of `sample_columns`.
    """
    source, target = (dataset.domains[side] for side in dataset.direction)
    rows = []
    for position in range(min(count, len(dataset))):
        batch = dataset.batch([(1, position)], device)
        if batch is None:
            continue
        a, b = batch
        fake_b = at_any_size(generators["ab"], a)
        row = [to_rgb(a, source), to_rgb(fake_b, target, a)]
        if dataset.paired:
            row.append(to_rgb(b, target, a))
        elif "ba" in generators:
            fake_a = at_any_size(generators["ba"], b)
            row += [
                to_rgb(at_any_size(generators["ba"], fake_b), source),
                to_rgb(b, target),
                to_rgb(fake_a, source),
                to_rgb(at_any_size(generators["ab"], fake_a), target),
            ]
        rows.append([image[0] for image in row])
    return make_grid(rows) if rows else None


@torch.no_grad()
def patch_map_figure(
    copies: Snapshot, dataset: SplitDataset, config: RunConfig, device: torch.device
) -> Pixels | None:
    """Return each discriminator's patch maps of the first translation and of a real image.

    None if the sample cannot be read, or no discriminator has a patch grid.
    """
    batch = dataset.batch([(1, 0)], device)
    if batch is None or copies.objective is None:
        return None
    rows = []
    for name, generator in copies.generators.items():
        discriminator = copies.discriminators.get(name[1])
        sides = dataset.direction if name == "ab" else dataset.direction[::-1]
        here, there = (dataset.domains[side] for side in sides)
        source, target = batch if name == "ab" else batch[::-1]
        size = target.shape[2], target.shape[3]
        if discriminator is None or patch_grid(discriminator.network, *size) is None:
            continue
        condition = here if discriminator.conditional else None
        scorer = PatchScorer(discriminator.network, there, condition, copies.objective)
        images = {"generated": at_any_size(generator, source), "real": target}
        scores = on_common_scale(*(scorer(image[0], source[0]) for image in images.values()))
        domain = "" if config.paired else f" {sides[1].upper()}"
        rows += [
            Row(title + domain, to_rgb(image, there, source)[0], one)
            for (title, image), one in zip(images.items(), scores, strict=True)
        ]
    if not rows:
        return None
    first = dataset.domains[dataset.direction[0]]
    return draw_figure(rows, to_rgb(batch[0], first)[0] if config.paired else None)
