"""CUT on pairs that do not match exactly: the adaptive loss and the Gaussian pyramid."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from viceversa.batch import Batch
from viceversa.losses import l1, pyramid_l1
from viceversa.methods.base import Method
from viceversa.methods.cut import CUT
from viceversa.methods.cut_paired import PairedCUT
from viceversa.methods.nce import Patches, patch_nce, positive_weights, unit
from viceversa.networks.patchgan import PatchGAN
from viceversa.networks.resnet import ResNet

SMALL: dict[str, Any] = {"layers": (0, 2), "patches": 16, "head_width": 8}


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def build(method: Any, **options: Any) -> Any:
    """Return a method with small networks; always the same weights."""
    torch.manual_seed(0)
    generator = ResNet.Config(width=4, blocks=1, init="kaiming")
    discriminator = PatchGAN.Config(width=4, layers=1, norm="instance")
    return method(
        method.Config(**{**SMALL, **options}),
        (3, 3),
        lambda i, o: ResNet(generator, i, o),
        lambda i: PatchGAN(discriminator, i),
    )


def losses(one: Method, progress: float = 0.0, weight: Tensor | None = None) -> dict[str, float]:
    a, b = torch.rand(2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    if weight is not None:
        a, b = torch.where(weight > 0, a, -1), torch.where(weight > 0, b, -1)
    torch.manual_seed(1)
    turns = list(one.step(Batch(a, b, weight, weight, progress=torch.tensor(progress))))
    return {name: float(loss.detach()) for _, turn in turns for name, loss in turn.items()}


def test_without_its_own_terms_it_is_cut() -> None:
    weights = {"lambda_nce": 0.7, "lambda_identity": 0.3}
    plain = losses(build(CUT, **weights))
    assert losses(build(PairedCUT, lambda_asp=0.0, lambda_pyramid=0.0, **weights)) == plain
    more = losses(build(PairedCUT, **weights))
    assert more.keys() - plain.keys() == {"g_asp", "g_pyramid"}
    assert {name: more[name] for name in plain} == plain


def test_weights_scale_the_terms() -> None:
    one, two = (
        losses(build(PairedCUT)),
        losses(build(PairedCUT, lambda_asp=5.0, lambda_pyramid=1.0)),
    )
    assert one["g_asp"] == pytest.approx(2 * two["g_asp"])
    assert one["g_pyramid"] == pytest.approx(10 * two["g_pyramid"])
    assert PairedCUT.paired and not CUT.paired


def test_the_weights_of_patches_adapt_in_the_last_epochs() -> None:
    """Until the decay begins, the loss does not change with the progress."""
    one = build(PairedCUT, asp_decay=0.25)
    start, late, later = (losses(one, progress) for progress in (0.0, 0.8, 0.95))
    assert losses(one, 0.75) == start
    assert len({start["g_asp"], late["g_asp"], later["g_asp"]}) == 3
    assert {**late, "g_asp": 0} == {**start, "g_asp": 0}
    assert losses(build(PairedCUT, asp_decay=0.5), 0.6)["g_asp"] == pytest.approx(late["g_asp"])


def test_the_adaptive_loss_by_hand() -> None:
    keys = torch.eye(2)[None]
    queries = torch.tensor([[[1.0, 0.0], [0.6, -0.8]]])  # cosines of the positives: 1 and -0.8
    patches = Patches(queries, keys)
    weights = positive_weights(patches)
    assert weights.tolist() == [[1, 0]]
    first = math.log(1 + math.exp((0 - 1) / 0.5))
    second = math.log(1 + math.exp((0.6 + 0.8) / 0.5))
    assert float(patch_nce(patches, 0.5)) == pytest.approx((first + second) / 2)
    assert float(patch_nce(patches, 0.5, weights)) == pytest.approx(first)
    half = float(patch_nce(patches, 0.5, 0.5 + 0.5 * weights))  # the mean weight is 1
    assert half == pytest.approx((first + 0.5 * second) / 1.5)


def test_weights_and_masks_combine() -> None:
    queries, keys = unit(torch.randn(2, 1, 5, 4, generator=torch.Generator().manual_seed(0)))
    valid = torch.tensor([[True] * 3 + [False] * 2])
    weights = torch.tensor([[0.5, 1.0, 0.2, 3.0, 4.0]])
    masked = float(patch_nce(Patches(queries, keys, valid), weights=weights))
    alone = float(patch_nce(Patches(queries[:, :3], keys[:, :3]), weights=weights[:, :3]))
    assert masked == pytest.approx(alone, abs=1e-12)


def test_the_pyramid_by_hand() -> None:
    """A constant difference is not blurred: 1 at each level, of weights 1/64 to 1/4, and 1."""
    x = torch.rand(2, 3, 64, 48)
    assert float(pyramid_l1(x, x + 1)) == pytest.approx((1 / 2 - 1 / 64 + 1) / 6)
    assert float(pyramid_l1(x, x)) == 0
    small = torch.rand(1, 1, 2, 2)  # too small to be blurred
    assert float(pyramid_l1(small, 0 * small)) == pytest.approx(float(l1(small, 0 * small)))


def test_a_pixel_is_blurred_by_a_binomial_kernel() -> None:
    x = torch.zeros(1, 1, 9, 9)
    x[..., 4, 4] = 1
    line = torch.tensor([1.0, 4, 6, 4, 1]) / 16
    blurred, halved = torch.outer(line, line), torch.outer(line, line)[::2, ::2]
    expected = (blurred.sum() / 81 / 4 + halved.sum() / 25) / 2
    assert float(pyramid_l1(x, 0 * x, levels=1)) == pytest.approx(float(expected))


def test_masked_pixels_have_no_weight_in_the_pyramid() -> None:
    """The difference is 1 where there is data, and 0 where both images have the fill value."""
    weight = torch.ones(1, 1, 16, 16)
    weight[..., 8:] = 0
    x = torch.where(weight > 0, torch.rand(1, 3, 16, 16), -1)
    y = x + weight
    assert float(pyramid_l1(x, y, weight, levels=0)) == pytest.approx(1)
    assert float(pyramid_l1(x, y, levels=0)) == pytest.approx(0.5)
    assert float(pyramid_l1(x, y, weight)) > 1.1 * float(pyramid_l1(x, y))


def test_values_under_the_mask_change_no_loss() -> None:
    weight = torch.ones(2, 1, 16, 16)
    weight[..., :6] = 0
    one = build(PairedCUT, lambda_identity=0.0)
    expected = losses(one, weight=weight)

    def other_output(module: Any, inputs: Any, output: Tensor) -> Tensor:
        return torch.where(weight > 0, output, torch.linspace(-0.5, 0.5, 16))

    hook = one.g_ab.register_forward_hook(other_output)
    assert losses(one, weight=weight) == expected
    hook.remove()
    assert losses(one) != expected
