"""Feature matching and the perceptual loss of pix2pixHD."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support import noise_pairs, raises_user_error
from torch import Tensor, nn

from viceversa.batch import Batch
from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import RunConfig, make_method, resolve
from viceversa.errors import UserError
from viceversa.evaluation.features import NETWORKS, PerceptualFeatures
from viceversa.losses import feature_matching, perceptual
from viceversa.training.loop import train

SIZE = 32


def settings(**method: Any) -> RunConfig:
    """Return pix2pix-hd with small networks."""
    own = {
        "method": method,
        "generator": {"name": "resnet", "width": 4, "blocks": 1, "downsamplings": 2},
        "discriminator": {"width": 4, "layers": 1},
    }
    return resolve(merge(read_recipe("pix2pix-hd"), own))


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(*(torch.rand(2, 2, 3, SIZE, SIZE, generator=generator) * 2 - 1))


def losses(config: RunConfig, networks: dict[str, Any] | None = None) -> dict[str, Tensor]:
    """Return the losses of the generator, with weights from one seed."""
    torch.manual_seed(0)
    method = make_method(config)
    method.feature_networks = networks or {}
    return dict(list(method.step(batch()))[-1][1])


def test_feature_matching_by_hand() -> None:
    fake = [torch.full((1, 2, 2, 2), 3.0), torch.full((1, 1, 1, 1), 1.0)]
    real = [torch.full((1, 2, 2, 2), 1.0), torch.full((1, 1, 1, 1), 5.0)]
    assert float(feature_matching(fake, real, None)) == 4 * (2 + 4) / 2
    weight = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    fake[0][0, :, 0, 1] = 100  # no data there
    assert float(feature_matching(fake, real, weight)) == 4 * (2 + 4) / 2


def test_the_perceptual_loss_by_hand() -> None:
    fake = [torch.full((1, 1, 1, 1), float(i)) for i in (32, 16, 8, 4, 1)]
    real = [torch.zeros(1, 1, 1, 1)] * 5
    assert float(perceptual(fake, real, None)) == 5


def test_no_gradient_reaches_the_features_of_the_real_image() -> None:
    fake, real = (torch.rand(1, 1, 2, 2, requires_grad=True) for _ in range(2))
    for loss in (feature_matching([fake], [real], None), perceptual([fake] * 5, [real] * 5, None)):
        loss.backward()
        assert fake.grad is not None and real.grad is None


def test_a_weight_of_0_leaves_the_other_losses_as_they_are() -> None:
    vgg = {"vgg": PerceptualFeatures(NETWORKS["vgg"].make())}
    both = losses(settings(), vgg)
    plain = losses(settings(lambda_features=0, lambda_perceptual=0))
    assert set(both) - set(plain) == {"g_features", "g_perceptual"}
    assert all(torch.equal(both[name], plain[name]) for name in plain)


@pytest.mark.parametrize(("name", "widths"), [("vgg", (64, 128, 256, 512, 512))])
def test_features_are_those_after_the_first_relu_of_each_stage(
    name: str, widths: tuple[int, ...]
) -> None:
    network: Any = NETWORKS[name].make()
    features = PerceptualFeatures(network)(torch.rand(1, 3, SIZE, SIZE))
    assert [one.shape[1] for one in features] == list(widths)
    assert [one.shape[2] for one in features] == [32, 16, 8, 4, 2]
    first = nn.functional.relu(network.stages[0][0](torch.ones(1, 3, SIZE, SIZE)))
    assert torch.equal(PerceptualFeatures(network)(torch.ones(1, 3, SIZE, SIZE))[0], first)


def test_feature_matching_decreases_the_distance_of_activations() -> None:
    """Only the generator is trained, so that the activations of real images stay the same."""
    torch.manual_seed(0)
    method: Any = make_method(settings(lambda_perceptual=0, lambda_gan=1, lambda_l1=0))
    optimizer = torch.optim.Adam(method.g_ab.parameters(), lr=2e-3)
    distances = []
    for _ in range(20):
        loss = dict(list(method.step(batch())))["generator"]["g_features"]
        distances.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert distances[-1] < 0.8 * distances[0]


@pytest.mark.parametrize(
    ("method", "data", "words"),
    [
        ({"lambda_perceptual": 1}, {"b": {"channels": 1}}, "lambda_perceptual"),
        ({"lambda_gan": 0}, {}, "lambda_features"),
    ],
)
def test_losses_that_cannot_be_computed_are_refused(
    method: dict[str, Any], data: dict[str, Any], words: str
) -> None:
    config = settings(**method)
    with pytest.raises(UserError, match=words):
        make_method(resolve(merge(config.sections, {"data": data})))


def test_a_missing_network_is_named_with_the_command_that_gets_it(tmp_path: Path) -> None:
    noise_pairs(tmp_path / "data", 2, SIZE)
    own = {
        "data": {"path": str(tmp_path / "data"), "load_size": SIZE, "crop_size": SIZE},
        "train": {"run": str(tmp_path / "run"), "device": "cpu", "precision": "fp32"},
        "validate": {"features": str(tmp_path / "none")},
    }
    missing = tmp_path / "none" / "vgg.safetensors"
    with raises_user_error(path=missing) as caught:
        train(resolve(merge(settings().sections, own)))
    assert "viceversa features --get vgg" in str(caught.value)
