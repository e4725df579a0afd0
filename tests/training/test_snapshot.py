"""Translations for diagnostics."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from viceversa.config.recipes import read_recipe
from viceversa.config.run import resolve
from viceversa.data import DataConfig
from viceversa.data.open_user import UserData, open_user_data
from viceversa.training.snapshot import Snapshot, translations

SIDE = 4


class Zeros(nn.Module):
    """A generator of zeros."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


@pytest.mark.parametrize(("masked", "first"), [(True, -1.0), (False, 0.0)])
def test_translations_are_filled_where_their_sources_have_no_data(
    masked: bool, first: float
) -> None:
    """The discriminator is trained on filled ones, and would recognize others by that."""
    item: dict[str, Any] = {name: torch.zeros(3, SIDE, SIDE) for name in "ab"}
    if masked:
        item["weight"] = torch.ones(SIDE, SIDE)
        item["weight"][0] = 0
    data = open_user_data(UserData([item] * 3, None), DataConfig(), True, 0, lambda text: None)
    copies = Snapshot({"ab": Zeros()}, {}, None)
    config = resolve(read_recipe("pix2pix"))
    found = translations(copies, data.samples, config, torch.device("cpu"))
    assert found["ab"].generated.shape == (3, 3, SIDE, SIDE)
    assert (found["ab"].generated[:, :, 0] == first).all()
    assert not found["ab"].generated[:, :, 1:].any()
