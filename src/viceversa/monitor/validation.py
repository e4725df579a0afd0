"""Numbers of generators on images that they don't learn from."""

from __future__ import annotations

import torch
from torch import nn

from ..build import RunConfig
from ..data.open import Opened
from ..images.tensors import as_written
from ..networks import at_any_size


class Validation:
    def __init__(self, config: RunConfig, data: Opened, device: torch.device):
        assert data.held_out is not None
        self.pictures, self.device = data.held_out, device
        self.paired = config.paired
        self.count = min(config.validate.images, len(self.pictures))
        self.told = f"validation on {self.count} images of {data.split}"

    @torch.no_grad()
    def __call__(self, generators: dict[str, nn.Module]) -> dict[str, float]:
        here, there = (self.pictures.domains[side] for side in self.pictures.sides)
        total = 0.0
        for position in range(self.count):
            batch = self.pictures.batch([(1, position)], self.device)
            if batch is None:
                continue
            a, b = batch
            made = as_written(at_any_size(generators["ab"], a), there).to(b.device)
            total += float((made - b).abs().mean())
        return {"l1" if self.paired else "swd": total / self.count}
