"""Model files of small networks that were never trained."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from viceversa.checkpoint import save_network
from viceversa.config import plain
from viceversa.images.domain import Domain
from viceversa.networks import GENERATORS

SMALL = {
    "unet": {"width": 4, "depth": 3, "init": "kaiming"},
    "gdl-unet": {"width": 4, "depth": 3},
    "resnet": {"width": 4, "blocks": 1, "init": "kaiming"},
}


def small_model(folder: Path, source: Domain, target: Domain, name: str = "unet") -> Path:
    """Write a model from `source` to `target`; its running statistics are those of no image."""
    torch.manual_seed(0)
    network_class, config_class = GENERATORS[name]
    config = config_class(**SMALL[name])
    network = network_class(config, source.config.width, target.config.width)
    for key, buffer in network.named_buffers():
        buffer.copy_(torch.rand_like(buffer) + (1.0 if key.endswith("var") else 0.0))
    header = {
        "kind": "translator", "direction": "ab", "source": plain(source), "target": plain(target),
        "generator": {"name": name, **asdict(config)},
    }  # fmt: skip
    path = folder / "ab.safetensors"
    save_network(path, network.state_dict(), header)
    return path
