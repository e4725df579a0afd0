"""A step of a method makes no tensor from Python values: in a CUDA graph such a copy cannot be
captured, and the steps would run without the graph."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from viceversa.batch import Batch
from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import make_method, resolve

SIDE = 32


class Copies(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the tensors that are made from Python values."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten.lift_fresh.default
        return func(*args, **(kwargs or {}))


def features(x: Tensor) -> list[Tensor]:
    return [x] * 5


def copies(recipe: str, function: Any = None) -> int:
    """Return the number of such tensors in a step with masks."""
    small = {
        "generator": {"name": "resnet", "width": 4, "blocks": 1},
        "discriminator": {"width": 4, "layers": 1},
    }
    if recipe.startswith(("cut", "fastcut")):
        small["method"] = {"layers": (0, 4), "head_width": 4, "patches": 8}
    method = make_method(resolve(merge(read_recipe(recipe), small)))
    method.feature_networks = {"vgg": function or features}
    images = torch.rand(2, 2, 3, SIDE, SIDE) * 2 - 1
    weight = (torch.rand(2, 1, SIDE, SIDE) > 0.2).float()
    batch = Batch(*images, weight, weight, progress=torch.tensor(0.9))
    with Copies() as found:
        for _, losses in method.step(batch):
            assert losses
    return found.count


RECIPES = ["pix2pix-hd", "cyclegan", "cut", "fastcut", "cut-paired", "reggan", "cyclegan-reg"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_makes_no_tensor_from_python_values(recipe: str) -> None:
    assert copies(recipe) == 0


def test_control_a_tensor_from_python_values_is_counted() -> None:
    def scaled(x: Tensor) -> list[Tensor]:
        return [x * x.new_tensor([2.0])] * 5

    assert copies("pix2pix-hd", scaled) == 2
