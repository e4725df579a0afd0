"""The networks by whose features LPIPS is defined: AlexNet and VGG16, as far as it looks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# What LPIPS subtracts from, and divides, an RGB image in [-1, 1] by: ImageNet's means and
# deviations, which are of values from 0 to 1 (mean 0.485, 0.456, 0.406), on that scale.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class Stack(nn.Module):
    """(n, 3, h, w) in [-1, 1], RGB -> [(map, head), ...]: five maps after their ReLU (n, c, ., .),
    each with what LPIPS v0.1 learnt its channels to weigh (c,).
    """

    def __init__(self, stages: Sequence[Sequence[nn.Module]], widths: Sequence[int]):
        super().__init__()
        self.stages = nn.ModuleList([nn.Sequential(*stage) for stage in stages])
        self.heads = nn.ParameterList([torch.zeros(width) for width in widths])

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        x = (x - x.new_tensor(SHIFT).view(3, 1, 1)) / x.new_tensor(SCALE).view(3, 1, 1)
        found = []
        for stage, head in zip(self.stages, self.heads, strict=True):
            x = stage(x)
            found.append((x, head))
        return found


def alexnet() -> nn.Module:
    """AlexNet's five convolutions ("One weird trick", 2014); its smallest image is 31 x 31."""
    pool = nn.MaxPool2d(3, 2)
    stages = [
        [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU()],
        [pool, nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU()],
        [pool, nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU()],
        [nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU()],
        [nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU()],
    ]
    return Stack(stages, (64, 192, 384, 256, 256))


def vgg() -> nn.Module:
    """VGG16's thirteen convolutions, seen at the end of each of its five stages; from 16 x 16."""
    widths = (64, 128, 256, 512, 512)
    stages, before = [], 3
    for i, (width, deep) in enumerate(zip(widths, (2, 2, 3, 3, 3), strict=True)):
        stage: list[nn.Module] = [nn.MaxPool2d(2)] if i else []
        for _ in range(deep):
            stage += [nn.Conv2d(before, width, 3, 1, 1), nn.ReLU()]
            before = width
        stages.append(stage)
    return Stack(stages, widths)
