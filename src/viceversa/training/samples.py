"""Sample grids and patch maps: the same images, drawn at intervals during training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..config.run import RunConfig
from ..data.open import Datasets
from ..data.user import SplitDataset
from ..directions import ENDS, in_data
from ..evaluation.value_range import ValueRange
from ..images import Pixels
from ..images.values import make_grid, to_rgb
from ..inference.patch_scores import PatchScorer, Row, draw_figure, on_common_scale
from ..networks.patch_grid import patch_grid
from .snapshot import Generators, Snapshot, translated


class SampleImage(NamedTuple):
    """An image of samples, and what its file records about it for the page of the run."""

    pixels: Pixels
    about: dict[str, Any]


def sample_columns(generators: Generators, dataset: SplitDataset) -> list[str]:
    """Return the titles of the columns of a sample grid, by the domains of the dataset."""
    if dataset.paired:
        return ["source", "translation", "target"]
    a, b = (side.upper() for side in dataset.direction)
    both = [f"to {b}", "and back", b, f"to {a}", "and back"]
    return [a, *(both if "ba" in generators else both[:1])]


def page_info(generators: Generators, data: Datasets) -> dict[str, Any]:
    """Return what the page of a run needs to know of its images, for machine.json.

    `sample_columns`; `images`: their number by split; and `value_ranges`: the range of the values
    of each target domain.
    """
    dataset = data.samples
    sides = [in_data(ENDS[direction][1], dataset.direction) for direction in generators]
    ranges = {side: ValueRange.of(dataset.domains[side]).as_json() for side in sides}
    columns = sample_columns(generators, dataset)
    return {"sample_columns": columns, "images": data.counts(), "value_ranges": ranges}


def sample_images(
    copies: Snapshot, dataset: SplitDataset, config: RunConfig, device: torch.device
) -> Iterator[tuple[str, SampleImage]]:
    """Yield the sample grid and the patch maps, with the names of their folders."""
    count = config.train.samples
    grid = sample_grid(copies.generators, dataset, count, device, config.data.path)
    if grid is not None:
        yield "samples", grid
    figure = patch_map_figure(copies, dataset, config, device) if count else None
    if figure is not None:
        yield "patch_maps", figure


@torch.no_grad()
def sample_grid(
    generators: Generators,
    dataset: SplitDataset,
    count: int,
    device: torch.device,
    root: str,
) -> SampleImage | None:
    """Return an image with a row for each of the first `count` samples; None if there are none.

    Its columns are those of `sample_columns`. It records them, and the names of the files without
    the path `root` of the dataset.
    """
    source, target = (dataset.domains[side] for side in dataset.direction)
    rows, names = [], []
    for position in range(min(count, len(dataset))):
        batch = dataset.batch([(1, position)], device)
        if batch is None:
            continue
        a, b = batch.a, batch.b
        fake_b = translated(generators, "ab", a, batch)
        row = [to_rgb(a, source), to_rgb(fake_b, target, a)]
        if dataset.paired:
            row.append(to_rgb(b, target, a))
        elif "ba" in generators:
            fake_a = translated(generators, "ba", b, batch)
            back = batch._replace(weight_a=batch.weight_b, weight_b=batch.weight_a)
            row += [
                to_rgb(translated(generators, "ba", fake_b, back), source),
                to_rgb(b, target),
                to_rgb(fake_a, source),
                to_rgb(translated(generators, "ab", fake_a, back), target),
            ]
        rows.append([image[0] for image in row])
        files = [name.removeprefix(f"{Path(root)}/") for name in dataset.names(1, position)]
        names.append(", ".join(files[:1] if dataset.paired else files))
    about = {"columns": sample_columns(generators, dataset), "rows": names}
    return SampleImage(make_grid(rows), about) if rows else None


@torch.no_grad()
def patch_map_figure(
    copies: Snapshot, dataset: SplitDataset, config: RunConfig, device: torch.device
) -> SampleImage | None:
    """Return each discriminator's patch maps of the first translation and of a real image.

    None if the sample cannot be read, or no discriminator has a patch grid.
    """
    batch = dataset.batch([(1, 0)], device)
    if batch is None or copies.objective is None:
        return None
    rows, single = [], config.paired and len(copies.generators) == 1
    for direction in copies.generators:
        end = ENDS[direction][1]
        discriminator = copies.discriminators.get(end)
        here, there = dataset.domains_of(direction)
        source, target = batch.of(direction)
        size = target.shape[2], target.shape[3]
        if discriminator is None or patch_grid(discriminator.network, *size) is None:
            continue
        condition = here if discriminator.conditional else None
        scorer = PatchScorer(discriminator.network, there, condition, copies.objective)
        images = {"generated": translated(copies.generators, direction, source, batch)}
        images["real"] = target
        scores = on_common_scale(*(scorer(image[0], source[0]) for image in images.values()))
        domain = "" if single else f" {in_data(end, dataset.direction).upper()}"
        rows += [
            Row(title + domain, to_rgb(image, there, source)[0], one)
            for (title, image), one in zip(images.items(), scores, strict=True)
        ]
    if not rows:
        return None
    first = dataset.domains[dataset.direction[0]]
    figure = draw_figure(rows, to_rgb(batch.a, first)[0] if single else None)
    return SampleImage(figure.pixels, {"panels": [panel._asdict() for panel in figure.panels]})
