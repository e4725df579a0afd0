"""CUT, FastCUT and their contrastive losses: hand-worked values, masks, hard negatives."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support import ConvGenerator
from torch import Tensor, nn

from viceversa.batch import Batch
from viceversa.methods.contrastive import make_heads
from viceversa.methods.cut import CUT
from viceversa.methods.nce import (
    Patches,
    draw_positions,
    embed,
    mirror,
    patch_hdce,
    patch_nce,
    unit,
)
from viceversa.networks.patchgan import PatchGAN
from viceversa.networks.resnet import ResNet


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def method(**options: Any) -> CUT:
    """Return CUT with small networks; always the same weights."""
    torch.manual_seed(0)
    config = CUT.Config(**{"layers": (0, 2, 5), "patches": 16, "head_width": 8, **options})
    generator = ResNet.Config(width=4, blocks=1, init="kaiming")
    discriminator = PatchGAN.Config(width=4, layers=1, norm="instance")
    return CUT(
        config,
        (3, 3),
        lambda i, o: ResNet(generator, i, o),
        lambda i: PatchGAN(discriminator, i),
    )


def images(seed: int = 0) -> tuple[Tensor, Tensor]:
    a, b = torch.rand(2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return a, b


def losses(one: CUT, batch: Batch, seed: int = 1) -> dict[str, float]:
    torch.manual_seed(seed)
    return {
        name: float(loss.detach()) for _, turn in one.step(batch) for name, loss in turn.items()
    }


# -- the losses


def test_patch_nce_by_hand() -> None:
    keys = torch.eye(3)[None]
    # The own key has cosine 1, the two others 0: log(e^2 + 2) - 2 at temperature 1/2.
    own = math.log(math.e**2 + 2) - 2
    assert float(patch_nce(Patches(keys, keys), 0.5)) == pytest.approx(own)
    assert float(patch_nce(Patches(keys.roll(1, 1), keys), 0.5)) == pytest.approx(own + 2)
    two = torch.cat([keys, keys.roll(1, 1)])
    assert float(patch_nce(Patches(two, torch.cat([keys, keys])), 0.5)) == pytest.approx(own + 1)


def test_patch_nce_is_the_cross_entropy_of_the_cosines() -> None:
    queries, keys = unit(torch.randn(2, 4, 9, 5, generator=torch.Generator().manual_seed(0)))
    expected = nn.functional.cross_entropy(
        (queries @ keys.transpose(1, 2) / 0.07).flatten(0, 1), torch.arange(9).repeat(4)
    )
    assert float(patch_nce(Patches(queries, keys))) == pytest.approx(float(expected))


def test_hard_negatives_by_hand() -> None:
    keys = unit(torch.tensor([[[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]]))
    near, t, gamma = math.sqrt(0.5), 0.5, 0.25  # cosines: 0-1 and 1-2 are near, 0-2 is 0
    far = 0 * math.exp((0 - near) / gamma)  # the factor of the pair 0-2, times its cosine
    ends = math.log(math.exp((near - 1) / t) + math.exp((far - 1) / t))
    middle = math.log(2 * math.exp((near - 1) / t))
    found = patch_hdce(Patches(keys, keys), gamma, t)
    assert float(found) == pytest.approx((2 * ends + middle) / 3, abs=1e-6)


def test_hard_negatives_count_by_the_similarity_of_their_keys() -> None:
    """With a large gamma all count alike; with a small one only the most similar negative does."""
    queries, keys = unit(torch.randn(2, 1, 5, 4, generator=torch.Generator().manual_seed(3)))
    cosines = (queries @ keys.transpose(1, 2))[0]
    own = cosines.diagonal()[:, None]
    negatives = ~torch.eye(5, dtype=torch.bool)
    alike = torch.where(negatives, (cosines - own) / 0.07, -math.inf).logsumexp(1).mean()
    assert float(patch_hdce(Patches(queries, keys), 1e12)) == pytest.approx(float(alike))
    similar = torch.where(negatives, keys[0] @ keys[0].T, -math.inf)
    kept = torch.where(similar == similar.amax(1, keepdim=True), cosines, 0.0)
    most = torch.where(negatives, (kept - own) / 0.07, -math.inf).logsumexp(1).mean()
    assert float(patch_hdce(Patches(queries, keys), 1e-6)) == pytest.approx(float(most))


def test_a_small_vector_has_a_norm_below_one() -> None:
    """As in CUT's code, and with a finite gradient at 0."""
    v = torch.tensor([[3.0, 4.0], [3e-7, 4e-7], [0.0, 0.0]], requires_grad=True)
    norms = unit(v).norm(dim=1)
    assert norms.tolist() == pytest.approx([1, 5 / 6, 0], abs=1e-7)
    unit(v).sum().backward()
    assert v.grad is not None and v.grad.isfinite().all()


# -- positions and masks


def test_positions_are_drawn_without_replacement() -> None:
    torch.manual_seed(0)
    positions, valid = draw_positions(torch.zeros(2, 3, 5, 4), 12)
    assert positions.shape == (1, 12) and len(set(positions[0].tolist())) == 12 and valid is None
    positions, _ = draw_positions(torch.zeros(2, 3, 5, 4), 256)
    assert sorted(positions[0].tolist()) == list(range(20))
    counts = torch.stack([draw_positions(torch.zeros(1, 1, 2, 2), 1)[0] for _ in range(400)])
    assert counts.flatten().bincount(minlength=4).min() > 70


def test_patches_are_drawn_where_there_is_data() -> None:
    torch.manual_seed(0)
    weight = torch.zeros(2, 1, 8, 8)
    weight[0, :, :2, :4] = 1  # 2 positions of a map of half the size
    weight[1, :, :, 4:] = 0.5  # 8 of them
    positions, valid = draw_positions(torch.zeros(2, 3, 4, 4), 5, weight)
    assert valid is not None and valid.tolist() == [[True, True, False, False, False], [True] * 5]
    assert set(positions[0, :2].tolist()) == {0, 1}
    assert all(one % 4 >= 2 for one in positions[1].tolist())


def test_patches_without_data_change_nothing() -> None:
    queries, keys = unit(torch.randn(2, 2, 6, 4, generator=torch.Generator().manual_seed(0)))
    valid = torch.tensor([[True] * 4 + [False] * 2, [False] * 6])  # an image without data counts 0
    for loss in (patch_nce, lambda patches: patch_hdce(patches, 0.3)):
        masked = float(loss(Patches(queries, keys, valid)))
        alone = float(loss(Patches(queries[:1, :4], keys[:1, :4])))
        assert masked == pytest.approx(alone / 2, abs=1e-12)
        assert masked != pytest.approx(float(loss(Patches(queries, keys))) / 2)


def masked_batch(under_mask: float) -> Batch:
    """Return a batch whose source has these values in its first rows, before it is filled."""
    a, b = images()
    weight = torch.ones(2, 1, 16, 16)
    weight[:, :, :6] = 0
    a = torch.where(weight > 0, a, under_mask)
    filled = torch.where(weight > 0, a, -1.0)
    return Batch(filled, b, weight, None)


def test_an_output_under_the_mask_changes_no_loss() -> None:
    """A generator whose output differs there only has the same losses."""
    one = method(lambda_identity=0.0)
    expected = losses(one, masked_batch(0.5))

    def other_output(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        noise = torch.linspace(-0.5, 0.5, 16).expand_as(output)
        rows = torch.arange(16)[:, None] < 6
        return torch.where(rows, noise, output)

    hook = one.g_ab.register_forward_hook(other_output)
    assert losses(one, masked_batch(-0.3)) == expected
    hook.remove()
    without = masked_batch(0.5)._replace(weight_a=None)
    assert losses(one, without)["g_nce"] != expected["g_nce"]


# -- options of the method


def test_weights_scale_the_terms_and_zero_leaves_out_the_identity_loss() -> None:
    batch = Batch(*images())
    one, two = method(), method(lambda_nce=1.5, lambda_identity=0.0, lambda_gan=2.0)
    found, other = losses(one, batch), losses(two, batch)
    assert found.keys() - other.keys() == {"g_identity"}
    assert found["d_fake"] == other["d_fake"]
    assert other["g_nce"] == pytest.approx(3 * found["g_nce"])
    assert other["g_gan"] == pytest.approx(2 * found["g_gan"])


def test_flip_equivariance_mirrors_the_input_and_the_features() -> None:
    batch = Batch(*images())
    plain, flipping = (
        method(lambda_identity=0.0),
        method(lambda_identity=0.0, flip_equivariance=True),
    )
    inputs: list[Tensor] = []
    flipping.g_ab.register_forward_hook(lambda module, args, output: inputs.append(args[0]))
    mirrored = []
    for seed in range(8):
        losses(flipping, batch, seed)
        mirrored.append(not torch.equal(inputs[-1], batch.a))
        assert torch.equal(inputs[-1], batch.a.flip(3) if mirrored[-1] else batch.a)
    assert 0 < sum(mirrored) < 8
    # A generator of 1x1 convolutions does not change with the position: same contrastive loss.
    for one in (plain, flipping):
        torch.manual_seed(0)
        one.g_ab = ConvGenerator(ConvGenerator.Config(kernel=1), 3, 3)
        one.config = CUT.Config(
            **{**vars(one.config), "layers": (0,), "patches": 256}  # all positions
        )
        one.heads = make_heads(one.g_ab, (0,), 8)
    seed = mirrored.index(True)
    found, expected = (losses(one, batch, seed)["g_nce"] for one in (flipping, plain))
    assert found == pytest.approx(expected, abs=1e-12)


def test_mirror() -> None:
    x = torch.arange(6.0).view(1, 1, 2, 3)
    assert mirror(x, None) is x and mirror(None, torch.tensor(True)) is None
    assert torch.equal(mirror(x, torch.tensor(False)), x)
    assert torch.equal(mirror(x, torch.tensor(True)), x.flip(3))


def test_hard_negatives_follow_the_progress_of_training() -> None:
    hard = method(negatives="hard", gamma=8.0, gamma_end=0.5, lambda_identity=0.0)
    batch = Batch(*images())
    at = {p: losses(hard, batch._replace(progress=torch.tensor(p)))["g_nce"] for p in (0.0, 0.5)}
    assert at[0.0] != at[0.5]
    for progress, gamma in ((0.0, 8.0), (0.5, 4.25)):
        fixed = method(negatives="hard", gamma=gamma, gamma_end=gamma, lambda_identity=0.0)
        assert losses(fixed, batch)["g_nce"] == at[progress]
    equal = losses(method(lambda_identity=0.0), batch)
    assert equal["g_nce"] != at[0.0] and equal["d_fake"] == losses(hard, batch)["d_fake"]


def test_the_heads_train_with_the_generator_and_the_keys_have_no_gradient() -> None:
    one = method()
    assert one.players()["generator"] == [one.g_ab, one.heads]
    *_, (_, turn) = one.step(Batch(*images()))
    gradients = torch.autograd.grad(turn["g_nce"], list(one.heads.parameters()))
    assert any(float(gradient.abs().sum()) > 0 for gradient in gradients)
    key = torch.rand(1, 3, 8, 8, requires_grad=True)
    (patches,) = embed(make_heads(one.g_ab, (0,), 4), [torch.rand(1, 3, 8, 8)], [key], 6)
    assert patches.queries.requires_grad and not patches.keys.requires_grad


def test_half_precision_features_are_embedded_in_float32() -> None:
    torch.set_default_dtype(torch.float32)
    heads = make_heads(method().g_ab, (0,), 4)
    feature = torch.rand(1, 3, 8, 8, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        (patches,) = embed(heads, [feature], [feature], 6)
        loss = patch_nce(patches).detach()
    assert patches.queries.dtype == loss.dtype == torch.float32
    expected = patch_nce(Patches(patches.queries.detach().double(), patches.keys.double()))
    assert float(loss) == pytest.approx(float(expected), abs=1e-5)


# -- errors


@pytest.mark.parametrize(
    ("layers", "message"),
    [((), "method.layers is empty"), ((0, 99), "the generator has no layer 99; set method.layers")],
)
def test_layers_that_do_not_exist_are_refused(layers: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method(layers=layers)


def test_a_generator_without_features_is_refused() -> None:
    with pytest.raises(ValueError, match="compares features, which this generator does not have"):
        CUT(CUT.Config(), (3, 3), lambda i, o: nn.Conv2d(i, o, 1), lambda i: nn.Identity())


def test_domains_with_different_channels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"as many channels in A \(1\) as in B \(3\)"):
        CUT(CUT.Config(), (1, 3), lambda i, o: nn.Identity(), lambda i: nn.Identity())
