"""Copies of the networks in training, and a few translations by them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..batch import Batch
from ..config.run import RunConfig
from ..data.user import SplitDataset
from ..directions import ENDS, Direction, DomainName, Name, in_data
from ..losses import fill
from ..methods.base import Discriminator, Method
from ..networks.norms import use_policy
from ..networks.sizes import at_any_size
from ..runtime.random_state import random_state, restore_random_state
from .diagnostics import Translations

EXAMPLES = 4  # samples that are translated for diagnostics, always the same ones


Generators = Mapping[Direction, nn.Module]


class Snapshot(NamedTuple):
    """Copies of a method's networks in eval mode."""

    generators: Generators
    """By direction."""
    discriminators: dict[DomainName, Discriminator]
    """By domain of their images."""
    objective: str | None
    """Name of the adversarial objective; None if no discriminator is trained."""


@contextmanager
def snapshot(method: Method) -> Iterator[Snapshot]:
    """Yield copies of the networks; restore every random number generator at the end."""
    before = random_state()
    try:
        discriminators = method.discriminators()
        copies = eval_copies({domain: one.network for domain, one in discriminators.items()})
        yield Snapshot(
            eval_copies(method.translators()),
            {d: one._replace(network=copies[d]) for d, one in discriminators.items()},
            method.objective.name if method.objective else None,
        )
    finally:
        restore_random_state(before)


@torch.no_grad()
def eval_copies(networks: Mapping[Name, nn.Module]) -> dict[Name, nn.Module]:
    """Return copies in eval mode: batch norm with the statistics of each image, no dropout."""
    copies = {name: copy.deepcopy(network) for name, network in networks.items()}
    for network in copies.values():
        use_policy(network)
    return copies


@torch.no_grad()
def translations(
    copies: Snapshot, dataset: SplitDataset, config: RunConfig, device: torch.device
) -> dict[str, Translations]:
    """Translate a few samples with each generator.

    Returns:
        The translations by direction, named by the domains of the dataset; empty if no sample can
        be read.
    """
    batches = [dataset.batch([(1, p)], device) for p in range(min(EXAMPLES, len(dataset)))]
    valid = [batch for batch in batches if batch is not None]
    valid = [one for one in valid if _shapes(one) == _shapes(valid[0])]
    if not valid:
        return {}
    batch = _joined(valid)
    found: dict[str, Translations] = {}
    for direction in copies.generators:
        source, target = batch.of(direction)
        output = translated(copies.generators, direction, source, batch)
        scores: list[Tensor | None] = [None, None]
        discriminator = copies.discriminators.get(ENDS[direction][1])
        if copies.objective and discriminator:
            scores = [scores_of(discriminator, source, image) for image in (output, target)]
        found[in_data(direction, config.data.direction)] = Translations(
            source, output, target, config.paired, *scores
        )
    return found


def scores_of(discriminator: Discriminator, source: Tensor, image: Tensor) -> Tensor:
    """Return all scores of a discriminator on images (n, c, h, w), as a vector."""
    pair = torch.cat([source, image], dim=1) if discriminator.conditional else image
    return torch.cat([scores.flatten() for scores in discriminator.network(pair)])


def translated(
    generators: Generators, direction: Direction, images: Tensor, batch: Batch
) -> Tensor:
    """Return translations, filled where the images of a batch that they are from have no data."""
    output = at_any_size(generators[direction], images)
    if direction == "ab":
        return fill(output, batch.weight_a, batch.fill_b)
    return fill(output, batch.weight_b, batch.fill_a)


def _joined(batches: Sequence[Batch]) -> Batch:
    """Return one batch of samples of one dataset, of which all have weights or none."""
    a, b, weight_a, weight_b = (
        torch.cat(parts) if isinstance(parts[0], Tensor) else None
        for parts in zip(*(batch[:4] for batch in batches), strict=True)
    )
    assert a is not None and b is not None
    return batches[0]._replace(a=a, b=b, weight_a=weight_a, weight_b=weight_b)


def _shapes(batch: Batch) -> tuple[torch.Size, torch.Size]:
    return batch.a.shape, batch.b.shape
