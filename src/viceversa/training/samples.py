"""Sheets of the same images, drawn again and again while a method trains."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ..data.dataset import ImageDataset
from ..images import Pixels
from ..images.values import make_grid, to_rgb
from ..networks.sizes import at_any_size


def sample_columns(generators: Mapping[str, nn.Module], pictures: ImageDataset) -> list[str]:
    """Return the titles of the columns of a sample grid, by the domains as they are on disk."""
    if pictures.paired:
        return ["source", "translation", "target"]
    a, b = (side.upper() for side in pictures.direction)
    both = [f"to {b}", "and back", b, f"to {a}", "and back"]
    return [a, *(both if "ba" in generators else both[:1])]


@torch.no_grad()
def sample_sheet(
    generators: dict[str, nn.Module], pictures: ImageDataset, count: int, device: torch.device
) -> Pixels | None:
    """One picture: a row for each of the first `count` images; None where there is none.

    Its columns are those that `sample_columns` names.
    """
    here, there = (pictures.domains[side] for side in pictures.direction)
    rows = []
    for position in range(min(count, len(pictures))):
        batch = pictures.batch([(1, position)], device)
        if batch is None:
            continue
        a, b = batch
        row = [to_rgb(a, here), to_rgb(fake := at_any_size(generators["ab"], a), there, a)]
        if pictures.paired:
            row.append(to_rgb(b, there, a))
        elif "ba" in generators:
            back = at_any_size(generators["ba"], b)
            row += [
                to_rgb(at_any_size(generators["ba"], fake), here),
                to_rgb(b, there),
                to_rgb(back, here),
            ]
            row.append(to_rgb(at_any_size(generators["ab"], back), there))
        rows.append([image[0] for image in row])
    return make_grid(rows) if rows else None
