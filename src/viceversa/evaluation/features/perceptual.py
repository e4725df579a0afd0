"""Features of the perceptual loss, of the networks of LPIPS."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class PerceptualFeatures(nn.Module):
    """(n, 3, h, w) in [-1, 1], RGB -> five feature maps after their ReLU.

    Of VGG16, the first ReLU of each stage (pix2pixHD, sec. 3.2, uses those of VGG19); of AlexNet,
    all. As in pix2pixHD's code, images are not normalized with the statistics of ImageNet.

    Args:
        network: A network of LPIPS, `vgg` or `alexnet`.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        rest: list[nn.Module] = []
        for stage in network.stages:
            layers = list(stage)
            end = next(i for i, layer in enumerate(layers) if isinstance(layer, nn.ReLU)) + 1
            self.stages.append(nn.Sequential(*rest, *layers[:end]))
            rest = layers[end:]

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features
