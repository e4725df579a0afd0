"""Test LPIPS against its formula and the published values of its authors' example."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import feature_network, read_values, shared
from torch import Tensor, nn

from viceversa.metrics.perceptual import lpips


class TwoLayerNetwork(nn.Module):
    """Feature network with two maps: the image, and its mean."""

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        mean = x.mean((2, 3), keepdim=True)
        return [(x, torch.tensor([1.0, 2.0, 0.0])), (mean, torch.tensor([0.0, 0.0, 5.0]))]


def test_lpips_of_known_images() -> None:
    x, y = torch.zeros(1, 3, 1, 2), torch.zeros(1, 3, 1, 2)
    x[0, :, 0, 0] = torch.tensor([3.0, 4.0, 0.0])  # length 5: normalized to 0.6, 0.8
    y[0, :, 0, 0] = torch.tensor([0.0, 2.0, 0.0])  # normalized to 0, 1
    x[0, :, 0, 1] = torch.tensor([0.0, 0.0, 1.0])
    y[0, :, 0, 1] = torch.tensor([0.0, 0.0, 9.0])  # the same direction: no distance
    first = (1 * 0.6**2 + 2 * 0.2**2) / 2
    # Means: (1.5, 2, 0.5) of length sqrt(6.5), and (0, 1, 4.5) of length sqrt(21.25).
    second = 5 * (0.5 / 6.5**0.5 - 4.5 / 21.25**0.5) ** 2
    assert float(lpips(TwoLayerNetwork(), x, y)) == pytest.approx(first + second, rel=1e-5)
    assert float(lpips(TwoLayerNetwork(), y, x)) == pytest.approx(first + second, rel=1e-5)
    assert float(lpips(TwoLayerNetwork(), x, x)) == 0


@pytest.mark.parametrize(("name", "expected"), [("alexnet", (0.722, 0.138))])
def test_published_values_of_the_authors_example(name: str, expected: tuple[float, float]) -> None:
    folder = shared("lpips_example")
    reference = read_values(folder / "ex_ref.png")
    others = torch.cat([read_values(folder / f"ex_p{i}.png") for i in range(2)])
    values = lpips(feature_network(name), reference.expand_as(others), others)
    assert [round(value, 3) for value in values.tolist()] == list(expected)


def plain_alexnet(weights: dict[str, Tensor], image: np.ndarray) -> list[np.ndarray]:
    """Return the five feature maps of AlexNet for an image (3, h, w) in [-1, 1].

    Written independently of the package, from the paper; ImageNet normalization included.
    """
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = torch.from_numpy(((image.transpose(1, 2, 0) + 1) / 2 - mean) / deviation).float()
    x = x.permute(2, 0, 1)[None]
    kernels = [weights[name] for name in sorted(weights) if name.endswith("weight")]
    biases = [weights[name] for name in sorted(weights) if name.endswith("bias")]
    maps = []
    for i, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        if i in (1, 2):
            x = F.max_pool2d(x, 3, 2)
        x = F.conv2d(x, kernel, bias, stride=4 if i == 0 else 1, padding=(2, 2, 1, 1, 1)[i]).relu()
        maps.append(x[0].double().numpy())
    return maps


def test_lpips_matches_an_independent_implementation() -> None:
    net = feature_network("alexnet")
    folder = shared("lpips_example")
    images = [read_values(folder / f"ex_{name}.png") for name in ("ref", "p0")]
    state = net.state_dict()
    weights = {name: state[name] for name in state if name.startswith("stages")}
    heads = [state[f"heads.{i}"].double().numpy() for i in range(5)]
    total = 0.0
    a, b = (plain_alexnet(weights, image[0].numpy()) for image in images)
    for x, y, head in zip(a, b, heads, strict=True):
        x, y = (m / np.sqrt((m**2).sum(0)).clip(1e-10) for m in (x, y))
        total += float(np.einsum("c,chw->hw", head, (x - y) ** 2).mean())
    assert float(lpips(net, *images)) == pytest.approx(total, rel=2e-3)  # LPIPS uses rounded means


def test_head_weights_match_torchmetrics() -> None:
    from pathlib import Path

    import torchmetrics.functional.image

    folder = Path(torchmetrics.functional.image.__file__).parent / "lpips_models"
    for network, name in (("alexnet", "alex"), ("vgg", "vgg")):
        state = feature_network(network).state_dict()
        known = torch.load(folder / f"{name}.pth", map_location="cpu", weights_only=True)
        for i in range(5):
            assert torch.equal(state[f"heads.{i}"], known[f"lin{i}.model.1.weight"].flatten())


@pytest.mark.parametrize("name", ["alexnet", "vgg"])
def test_lpips_is_zero_for_equal_images_and_grows_with_blur(name: str) -> None:
    net = feature_network(name)
    x = read_values(shared("lpips_example") / "ex_ref.png")
    values = [float(lpips(net, F.avg_pool2d(x, k, 1, k // 2), x)) for k in (1, 3, 5, 9)]
    assert values[0] == 0
    assert values == sorted(values) and values[1] > 0.05


def test_images_without_three_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="3 channels"):
        lpips(TwoLayerNetwork(), torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64))
