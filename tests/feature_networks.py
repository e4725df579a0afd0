"""Where tests find the feature networks, and the data that lies beside the project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from viceversa.evaluation.features import find, load

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".venv" / "features"
SHARED = ROOT.parent / "shared" / "data"


def network(name: str) -> nn.Module:
    """A feature network, or the test is skipped."""
    if find(name, FOLDER) is None:
        pytest.skip(f"the network {name} is not in {FOLDER}: viceversa features --get {name}")
    return load(name, FOLDER)[0]


def shared(*parts: str) -> Path:
    """A folder or file of the shared data, or the test is skipped."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


def read_bytes(path: Path) -> Tensor:
    """An image as (1, 3, h, w) uint8."""
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None]


def read_values(path: Path) -> Tensor:
    """An image as (1, 3, h, w) in [-1, 1]."""
    return read_bytes(path).float() / 127.5 - 1
