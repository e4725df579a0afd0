"""Test FID and KID of real datasets against known values."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import feature_network, read_bytes, shared
from torch import Tensor

from viceversa.evaluation.features import pool3
from viceversa.metrics.distribution import fid, kid


def features(folder: Path, width: int, count: int | None = None) -> Tensor:
    """Return features of the left `width` pixels of the first `count` images."""
    images = [read_bytes(path)[..., :width] for path in sorted(folder.iterdir())[:count]]
    return pool3(feature_network("inception"), torch.cat(images))


@pytest.mark.soak
def test_facades() -> None:
    train, test = (features(shared("facades", split), 256) for split in ("train", "test"))
    assert (len(train), len(test)) == (400, 106)
    assert fid(train, test) == pytest.approx(69.2, rel=0.01)
    # FID of few images of the same domain is large; KID is unbiased.
    assert abs(kid(train, test, 100, 50)[0]) < 0.002


@pytest.mark.soak
def test_horses_and_zebras() -> None:
    horses, zebras = (features(shared("horse2zebra", name), 256) for name in ("testA", "testB"))
    assert (len(horses), len(zebras)) == (120, 140)
    assert fid(horses, zebras) == pytest.approx(235.7, rel=0.01)
    assert kid(horses, zebras, 100, 50)[0] == pytest.approx(0.202, rel=0.03)


@pytest.mark.slow
def test_subsets_of_horses_and_zebras() -> None:
    """40 images of each domain; the values were measured with code that passes the tests above."""
    horses, zebras = (features(shared("horse2zebra", name), 256, 40) for name in ("testA", "testB"))
    assert fid(horses, zebras) == pytest.approx(235.7, rel=0.01)
    assert fid(horses[:20], horses[20:]) == pytest.approx(144.4, rel=0.01)  # negative control
