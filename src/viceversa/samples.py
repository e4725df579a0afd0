"""Sheets of the same images, drawn again and again while a method trains."""

from __future__ import annotations

import copy

import torch

from .data.dataset import Pictures
from .images import Pixels
from .images.tensors import grid, shown
from .methods import Method
from .networks import at_any_size, use_policy


@torch.no_grad()
def sample_sheet(
    method: Method, pictures: Pictures, count: int, device: torch.device
) -> Pixels | None:
    """One picture: a row for each of the first `count` images; None where there is none.

    Paired: source, translation, target. Unpaired: a, there, back again, and the same from b. Copies
    translate, so that drawing samples changes nothing in training.
    """
    copies = {name: copy.deepcopy(g) for name, g in method.translators().items()}
    for network in copies.values():
        use_policy(network)
    here, there = (pictures.domains[side] for side in pictures.sides)
    rows = []
    for position in range(min(count, len(pictures))):
        batch = pictures.batch([(1, position)], device)
        if batch is None:
            continue
        a, b = batch
        row = [shown(a, here), shown(fake := at_any_size(copies["ab"], a), there, a)]
        if pictures.paired:
            row.append(shown(b, there, a))
        elif "ba" in copies:
            back = at_any_size(copies["ba"], b)
            row += [
                shown(at_any_size(copies["ba"], fake), here),
                shown(b, there),
                shown(back, here),
            ]
            row.append(shown(at_any_size(copies["ab"], back), there))
        rows.append([image[0] for image in row])
    return grid(rows) if rows else None
