"""AlexNet and VGG16 as far as LPIPS uses them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Mean and deviation of ImageNet, (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225) of values from 0
# to 1, for values in [-1, 1].
MEAN, DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class LPIPSNetwork(nn.Module):
    """(n, 3, h, w) in [-1, 1], RGB -> [(feature map (n, c, ., .), weights (c,)), ...].

    Five feature maps after their ReLU, with the channel weights of LPIPS v0.1.
    """

    def __init__(self, stages: Sequence[Sequence[nn.Module]], widths: Sequence[int]) -> None:
        super().__init__()
        self.stages = nn.ModuleList([nn.Sequential(*stage) for stage in stages])
        self.heads = nn.ParameterList([torch.zeros(width) for width in widths])

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        x = (x - x.new_tensor(MEAN).view(3, 1, 1)) / x.new_tensor(DEVIATION).view(3, 1, 1)
        features = []
        for stage, head in zip(self.stages, self.heads, strict=True):
            x = stage(x)
            features.append((x, head))
        return features


def alexnet() -> nn.Module:
    """AlexNet's five convolutions ("One weird trick", 2014), for images of 31 x 31 or more."""
    pool = nn.MaxPool2d(3, 2)
    stages = [
        [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU()],
        [pool, nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU()],
        [pool, nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU()],
        [nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU()],
        [nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU()],
    ]
    return LPIPSNetwork(stages, (64, 192, 384, 256, 256))


def vgg() -> nn.Module:
    """VGG16's thirteen convolutions in five stages, for images of 16 x 16 or more."""
    widths = (64, 128, 256, 512, 512)
    stages, channels = [], 3
    for i, (width, depth) in enumerate(zip(widths, (2, 2, 3, 3, 3), strict=True)):
        stage: list[nn.Module] = [nn.MaxPool2d(2)] if i else []
        for _ in range(depth):
            stage += [nn.Conv2d(channels, width, 3, 1, 1), nn.ReLU()]
            channels = width
        stages.append(stage)
    return LPIPSNetwork(stages, widths)
