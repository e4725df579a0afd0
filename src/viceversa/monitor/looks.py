"""A look at a few translations: what the discriminators say of them, and how healthy they are."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..build import RunConfig, on_disk
from ..data.dataset import Pictures
from ..health import Way
from ..images import Pixels
from ..images.tensors import shown
from ..judging import Judge, Row, on_one_scale, verdict_sheet
from ..methods import Method
from ..networks import at_any_size, use_policy
from ..runtime.random_state import random_state, restore_random_state

IMAGES = 4  # that are looked at, always the same ones


class Players(NamedTuple):
    """Copies of a method's networks in use: generators by way, discriminators by domain."""

    generators: dict[str, nn.Module]
    judges: dict[str, tuple[nn.Module, bool]]
    """... and whether each wants the pair."""


@contextmanager
def aside(method: Method, device: torch.device) -> Iterator[Players]:
    """Copies of the networks in eval mode; every random number generator is restored afterwards."""
    before = random_state()
    try:
        judges = method.judges()
        copies = in_use({domain: network for domain, (network, _) in judges.items()})
        yield Players(
            in_use(method.translators()),
            {domain: (copies[domain], wants_pair) for domain, (_, wants_pair) in judges.items()},
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
    players: Players, pictures: Pictures, config: RunConfig, device: torch.device
) -> dict[str, Way]:
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
        if _judged(config) and name[1] in players.judges:
            says = [_scores(*players.judges[name[1]], source, one) for one in (made, target)]
        found[on_disk(name, config.data.direction)] = Way(
            source, made, target, config.paired, says[0], says[1]
        )
    return found


@torch.no_grad()
def verdicts(
    players: Players, pictures: Pictures, config: RunConfig, device: torch.device
) -> Pixels | None:
    """What each discriminator says of the first translation, and of a real image beside it."""
    batch = pictures.batch([(1, 0)], device)
    if batch is None or not _judged(config):
        return None
    rows = []
    for name, generator in players.generators.items():
        judge, wants_pair = players.judges[name[1]]
        sides = pictures.sides if name == "ab" else pictures.sides[::-1]
        here, there = (pictures.domains[side] for side in sides)
        source, target = batch if name == "ab" else batch[::-1]
        ask = Judge(judge, there, here if wants_pair else None, _gan_loss(config))
        images = {"made": at_any_size(generator, source), "real": target}
        says = on_one_scale(*(ask(image[0], source[0]) for image in images.values()))
        of = "" if config.paired else f" {sides[1].upper()}"
        rows += [
            Row(what + of, shown(image, there, source)[0], said)
            for (what, image), said in zip(images.items(), says, strict=True)
        ]
    first = pictures.domains[pictures.sides[0]]
    return verdict_sheet(rows, shown(batch[0], first)[0] if config.paired else None)


def _scores(judge: nn.Module, wants_pair: bool, source: Tensor, image: Tensor) -> Tensor:
    scores: Tensor = judge(torch.cat([source, image], dim=1) if wants_pair else image)
    return scores


def _judged(config: RunConfig) -> bool:
    """Whether there is a discriminator that learns, and what its scores mean is known."""
    return bool(_gan_loss(config)) and bool(config.sections["method"].get("lambda_gan", 1))


def _gan_loss(config: RunConfig) -> str:
    return str(config.sections["method"].get("gan_loss", ""))
