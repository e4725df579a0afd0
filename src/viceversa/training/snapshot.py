"""A look at a few translations: what the discriminators say of them, and how healthy they are."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..config.run import RunConfig
from ..data.dataset import ImageDataset
from ..directions import in_data
from ..images import Pixels
from ..images.values import to_rgb
from ..inference.patch_scores import PatchScorer, Row, draw_figure, on_common_scale
from ..methods.base import Discriminator, Method
from ..networks.norms import use_policy
from ..networks.patch_grid import patch_grid
from ..networks.sizes import at_any_size
from ..runtime.random_state import random_state, restore_random_state
from .diagnostics import Translations

IMAGES = 4  # that are looked at, always the same ones


class Players(NamedTuple):
    """Copies of a method's networks in eval mode."""

    generators: dict[str, nn.Module]
    """By direction."""
    discriminators: dict[str, Discriminator]
    """By domain of their images."""
    objective: str | None
    """Name of the adversarial objective; None if no discriminator is trained."""


@contextmanager
def aside(method: Method, device: torch.device) -> Iterator[Players]:
    """Copies of the networks in eval mode; every random number generator is restored afterwards."""
    before = random_state()
    try:
        discriminators = method.discriminators()
        copies = in_use({domain: one.network for domain, one in discriminators.items()})
        yield Players(
            in_use(method.translators()),
            {d: one._replace(network=copies[d]) for d, one in discriminators.items()},
            method.objective.name if method.objective else None,
        )
    finally:
        restore_random_state(before)


@torch.no_grad()
def in_use(networks: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """Copies of networks in eval mode: batch norm by each image alone, no dropout."""
    copies = {name: copy.deepcopy(network) for name, network in networks.items()}
    for network in copies.values():
        use_policy(network)
    return copies


@torch.no_grad()
def ways(
    players: Players, pictures: ImageDataset, config: RunConfig, device: torch.device
) -> dict[str, Translations]:
    """A look at each generator, by the domains as they lie on disk; none where images are bad."""
    batches = [pictures.batch([(1, p)], device) for p in range(min(IMAGES, len(pictures)))]
    good = [batch for batch in batches if batch is not None]
    good = [batch for batch in good if batch[0].shape == good[0][0].shape
            and batch[1].shape == good[0][1].shape]  # fmt: skip
    if not good:
        return {}
    a, b = (torch.cat(side) for side in zip(*good, strict=True))
    found = {}
    for name, generator in players.generators.items():
        source, target = (a, b) if name == "ab" else (b, a)
        made = at_any_size(generator, source)
        says: list[Tensor | None] = [None, None]
        if players.objective and name[1] in players.discriminators:
            discriminator = players.discriminators[name[1]]
            says = [scores_of(discriminator, source, one) for one in (made, target)]
        found[in_data(name, config.data.direction)] = Translations(
            source, made, target, config.paired, says[0], says[1]
        )
    return found


@torch.no_grad()
def verdicts(
    players: Players, pictures: ImageDataset, config: RunConfig, device: torch.device
) -> Pixels | None:
    """Draw the patch scores of the first translation of each direction, and of a real image."""
    batch = pictures.batch([(1, 0)], device)
    if batch is None or players.objective is None:
        return None
    rows = []
    for name, generator in players.generators.items():
        discriminator = players.discriminators.get(name[1])
        sides = pictures.direction if name == "ab" else pictures.direction[::-1]
        here, there = (pictures.domains[side] for side in sides)
        source, target = batch if name == "ab" else batch[::-1]
        size = target.shape[2], target.shape[3]
        if discriminator is None or patch_grid(discriminator.network, *size) is None:
            continue
        conditional = here if discriminator.conditional else None
        scorer = PatchScorer(discriminator.network, there, conditional, players.objective)
        images = {"generated": at_any_size(generator, source), "real": target}
        scores = on_common_scale(*(scorer(image[0], source[0]) for image in images.values()))
        domain = "" if config.paired else f" {sides[1].upper()}"
        rows += [
            Row(title + domain, to_rgb(image, there, source)[0], of_image)
            for (title, image), of_image in zip(images.items(), scores, strict=True)
        ]
    if not rows:
        return None
    first = pictures.domains[pictures.direction[0]]
    return draw_figure(rows, to_rgb(batch[0], first)[0] if config.paired else None)


def scores_of(discriminator: Discriminator, source: Tensor, image: Tensor) -> Tensor:
    """All scores of a discriminator on images (n, c, h, w), as a vector."""
    pair = torch.cat([source, image], dim=1) if discriminator.conditional else image
    return torch.cat([scores.flatten() for scores in discriminator.network(pair)])
