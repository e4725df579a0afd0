"""Networks of files, and the domains of their images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ..directions import ENDS, Direction
from ..errors import UserError
from ..images.domain import Domain, DomainConfig
from .architecture import Architecture
from .options import SavedOptions


@dataclass(frozen=True)
class NetworkFile:
    """A network from a file, with the direction of the translations that it generates or scores."""

    path: Path
    side: str
    """A or B in CycleGAN, else empty."""
    architecture: Architecture
    network: nn.Module
    direction: Direction = "ab"

    @property
    def generates(self) -> bool:
        """Whether it is a generator."""
        return self.architecture.kind == "generator"

    @property
    def name(self) -> str:
        """Name of its model file."""
        domain = self.direction[1]
        return f"{self.direction if self.generates else 'd_' + domain}.safetensors"


def fit_domains(
    networks: Sequence[NetworkFile], saved: SavedOptions, method: str
) -> dict[str, Domain]:
    """Return the domains A and B of the 8-bit images of networks. Raises UserError."""
    channels: dict[str, int] = {}
    for one in sorted(networks, key=lambda one: not one.generates):
        given: tuple[int, ...] = one.architecture.channels
        if not (one.generates or set(ENDS[one.direction]) <= channels.keys()):
            given = _of_discriminator(one, saved, method)
        elif not one.generates:
            continue
        for end, count in zip(ENDS[one.direction], given, strict=True):
            if channels.setdefault(end, count) != count:
                raise UserError(
                    f"{one.path} has {count} channels in {end.upper()}, and another network "
                    f"{channels[end]}; convert it alone",
                    path=one.path,
                )
    kinds = {1: "lab-l", 2: "lab-ab"} if saved.lab else {}
    return {name: _domain(count, kinds.get(count, "image")) for name, count in channels.items()}


def _of_discriminator(one: NetworkFile, saved: SavedOptions, method: str) -> tuple[int, int]:
    """Return the channels of both domains of a discriminator without its generator."""
    (count,) = one.architecture.channels
    if saved.channels is not None:
        return saved.channels if one.side != "B" else saved.channels[::-1]
    if method == "cyclegan":
        return count, count
    raise UserError(
        f"{one.path}: its {count} channels do not show whether it takes pairs; convert the folder "
        "of its generator, or name it with _net_D_A for a discriminator of single images",
        path=one.path,
    )


def _domain(channels: int, kind: Any) -> Domain:
    if kind != "image":
        return Domain(DomainConfig(kind=kind), "uint8", (0.0,), (255.0,))
    low, high = (0.0,) * channels, (255.0,) * channels
    return Domain(DomainConfig(channels=channels), "uint8", low, high)
