"""FID of real sets of images, known from elsewhere: network, filter and formula at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import network, read_bytes, shared
from torch import Tensor

from viceversa.evaluation.features import pool3
from viceversa.metrics.distribution import fid, kid


def features(folder: Path, width: int) -> Tensor:
    """Of all images of a folder, in order, their left part of that width."""
    images = [read_bytes(path)[..., :width] for path in sorted(folder.iterdir())]
    return pool3(network("inception"), torch.cat(images))


@pytest.mark.slow
def test_facades() -> None:
    train, test = (features(shared("facades", split), 256) for split in ("train", "test"))
    assert (len(train), len(test)) == (400, 106)
    assert fid(train, test) == pytest.approx(69.2, rel=0.01)
    # few images make an FID of one and the same kind large; KID knows better
    assert abs(kid(train, test, 100, 50)[0]) < 0.002


@pytest.mark.slow
def test_horses_and_zebras() -> None:
    horses, zebras = (features(shared("horse2zebra", name), 256) for name in ("testA", "testB"))
    assert (len(horses), len(zebras)) == (120, 140)
    assert fid(horses, zebras) == pytest.approx(235.7, rel=0.01)
    assert kid(horses, zebras, 100, 50)[0] == pytest.approx(0.202, rel=0.03)
