"""Test networks: parameter counts, sizes, receptive fields, norms, initialization, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from viceversa.errors import UserError
from viceversa.fields import fill, pixels_text
from viceversa.networks import DISCRIMINATORS, GENERATORS
from viceversa.networks.init import init_weights
from viceversa.networks.norms import BatchNorm, GroupNorm, InstanceNorm, make_norm, use_policy
from viceversa.networks.patchgan import PatchGAN, PixelGAN
from viceversa.networks.resnet import ResNet
from viceversa.networks.sizes import check_size, parameters
from viceversa.networks.unet import GDLUNet, UNet

NORMS = ["batch", "layer", "instance", "instance-affine", "instance-std", "group", "none"]


def unet(norm: Any = "batch", depth: int = 8, **more: Any) -> UNet:
    return UNet(UNet.Config(norm=norm, depth=depth, **more), 3, 3)


def resnet(norm: Any, blocks: int) -> ResNet:
    return ResNet(ResNet.Config(norm=norm, blocks=blocks), 3, 3)


def small_resnet(downsamplings: int) -> ResNet:
    return ResNet(ResNet.Config(width=2, blocks=1, downsamplings=downsamplings), 3, 3)


def patchgan(channels: int, norm: Any, layers: int = 3, **more: Any) -> PatchGAN:
    return PatchGAN(PatchGAN.Config(norm=norm, layers=layers, **more), channels)


def biases(network: nn.Module, always: int) -> int:
    """Count bias parameters, except those of the last `always` convolutions with a bias."""
    kinds = nn.Conv2d | nn.ConvTranspose2d
    sizes = [
        m.bias.numel() for m in network.modules() if isinstance(m, kinds) and m.bias is not None
    ]
    return sum(sizes[: len(sizes) - always])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "count"),
    [
        (lambda: unet("batch"), 54_413_955),
        (lambda: unet("instance"), 54_409_603),
        (lambda: unet("batch", 7), 41_828_995),
        (lambda: unet("instance", 7), 41_825_667),
        (lambda: resnet("instance", 9), 11_378_179),
        (lambda: ResNet(ResNet.Config(downsamplings=4), 36, 3), 182_546_755),
        (lambda: resnet("batch", 9), 11_383_427),
        (lambda: resnet("instance", 6), 7_837_699),
        (lambda: resnet("batch", 6), 7_841_411),
        (lambda: patchgan(3, "instance"), 2_764_737),
        (lambda: patchgan(3, "batch"), 2_765_633),
        (lambda: patchgan(6, "batch"), 2_768_705),
        (lambda: patchgan(6, "instance"), 2_767_809),
        (lambda: patchgan(6, "batch", 1), 139_585),
        (lambda: patchgan(6, "batch", 2), 666_433),
        (lambda: patchgan(6, "batch", 4), 6_964_033),
        (lambda: patchgan(6, "batch", 5), 11_159_361),
        (lambda: patchgan(6, "batch", 6), 15_354_689),
        (lambda: PixelGAN(PixelGAN.Config(norm="instance"), 3), 8_705),
        (lambda: PixelGAN(PixelGAN.Config(), 6), 9_024),
        (lambda: GDLUNet(GDLUNet.Config(), 3, 3), 1_545_411),
        (lambda: patchgan(3, "instance-std", width=32, padding="same"), 694_241),
    ],
)
def test_parameter_counts(network: Any, count: int) -> None:
    with torch.device("meta"):
        assert parameters(network()) == count


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "count"),
    [
        (lambda: unet("none"), 54_404_099),
        (lambda: unet("none", 7), 41_821_187),
        (lambda: resnet("none", 9), 11_372_931),
        (lambda: resnet("none", 6), 7_833_987),
    ],
)
def test_parameter_counts_without_norm(network: Any, count: int) -> None:
    """The reference implementation has no biases there; `count` is its number."""
    built = network()
    assert parameters(built) - biases(built, always=1) == count


@pytest.mark.slow
def test_numbers_of_norm_and_dropout_layers() -> None:
    def number(network: nn.Module, kind: Any) -> int:
        return sum(isinstance(m, kind) for m in network.modules())

    assert number(unet(dropout_from=2), BatchNorm) == 13
    assert number(unet(dropout_from=2), nn.Dropout) == 3
    assert number(unet(depth=7, dropout_from=2, dropout_layers=2), BatchNorm) == 11
    assert number(resnet("instance", 9), InstanceNorm) == 23
    assert number(resnet("instance", 6), InstanceNorm) == 17
    dropped = ResNet(ResNet.Config(blocks=9, width=4, dropout=0.5), 3, 3)
    assert number(dropped, nn.Dropout) == 9


@pytest.mark.parametrize("first", [1, 2])
def test_positions_of_dropout_layers(first: int) -> None:
    ups = unet(width=2, dropout_from=first).ups
    layers = [n for n, up in enumerate(ups, start=1) if isinstance(list(up)[-1], nn.Dropout)]  # type: ignore[arg-type]
    assert layers == [first, first + 1, first + 2]


@pytest.mark.parametrize(
    ("size", "layers", "padding", "side"),
    [
        (256, 3, "one", 30),
        (128, 3, "one", 14),
        (512, 3, "one", 62),
        (64, 3, "one", 6),
        (128, 3, "same", 16),
        (256, 1, "one", 126),
        (256, 6, "one", 2),
    ],
)
def test_size_of_the_score_map(size: int, layers: int, padding: Any, side: int) -> None:
    network = patchgan(1, "none", layers, width=2, padding=padding)
    (scores,) = network(torch.zeros(1, 1, size, size))
    assert scores.shape == (1, 1, side, side)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "field"), [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286), (6, 574)]
)
@pytest.mark.parametrize("padding", ["one", "same"])
def test_receptive_field_by_gradient(layers: int, field: int, padding: Any) -> None:
    network = patchgan(1, "none", layers, width=1, padding=padding).double()
    for parameter in network.parameters():
        parameter.data.fill_(0.1)
    image = torch.ones(1, 1, 3 * field, 3 * field, dtype=torch.float64, requires_grad=True)
    (out,) = network(image)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    assert image.grad is not None
    nonzero = image.grad[0, 0] != 0
    assert int(nonzero.any(0).sum()) == int(nonzero.any(1).sum()) == field


def test_whole_image_discriminator_returns_the_mean_score() -> None:
    one, many = patchgan(3, "none", width=4, whole_image=True), patchgan(3, "none", width=4)
    many.load_state_dict(one.state_dict())
    image = torch.randn(2, 3, 64, 64)
    (score,), (scores,) = one(image), many(image)
    assert score.shape == (2, 1, 1, 1)
    assert torch.allclose(score, scores.mean((1, 2, 3), keepdim=True))


SMALL: dict[str, dict[str, int]] = {
    "unet": {"width": 4, "depth": 3},
    "gdl-unet": {"width": 4, "depth": 3},
    "resnet": {"width": 4, "blocks": 1},
}


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", GENERATORS)
def test_every_generator_has_gradients_with_every_norm(name: str, norm: str) -> None:
    network_class, config_class = GENERATORS[name]
    network = network_class(config_class(norm=norm, **SMALL[name]), 2, 3)
    out = network(torch.randn(2, 2, 32, 48))
    assert out.shape == (2, 3, 32, 48)
    assert float(out.detach().abs().max()) <= 1
    out.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_every_discriminator_has_gradients_with_every_norm(name: str, norm: str) -> None:
    network_class, config_class = DISCRIMINATORS[name]
    network = network_class(config_class(norm=norm, width=4), 5)
    (out,) = network(torch.randn(2, 5, 48, 48))
    assert out.shape[:2] == (2, 1)
    out.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize("depth", [2, 5])
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("upsample", ["transposed", "resize"])
def test_unet_variants(depth: int, skip: bool, upsample: Any) -> None:
    network = unet(depth=depth, skip=skip, upsample=upsample, width=4)
    assert network(torch.randn(1, 3, 64, 64)).shape == (1, 3, 64, 64)


@pytest.mark.parametrize("downsamplings", [1, 3, 4])
def test_downsamplings_of_a_resnet(downsamplings: int) -> None:
    network = small_resnet(downsamplings)
    assert (network.multiple, network.smallest) == (2**downsamplings, 2 ** (downsamplings + 1))
    image = torch.randn(1, 3, network.smallest, 3 * network.multiple)
    assert network(image).shape == image.shape
    block = 1 + 3 * (downsamplings + 1)
    (inner,) = network.features(image, [block])
    assert inner.shape[1:] == (2 * 2**downsamplings, 2, 3)
    assert network.feature_channels([block]) == [2 * 2**downsamplings]


def test_skip_connections_bypass_the_bottleneck() -> None:
    """With a bottleneck of zeros, the output depends on the input through skips only."""

    def depends_on_input(skip: bool) -> bool:
        network = unet("none", depth=3, width=4, skip=skip, dropout=0.0)
        image = torch.randn(1, 3, 32, 32)
        with torch.no_grad():
            network.downs[-1][-1].weight.zero_()  # type: ignore[index, union-attr, operator]
            one, other = network(image), network(image + 1)
        return not torch.equal(one, other)

    assert depends_on_input(skip=True)
    assert not depends_on_input(skip=False)


@pytest.mark.parametrize("norm", ["batch", "layer", "instance-affine", "group"])
def test_no_bias_before_an_affine_norm(norm: str) -> None:
    layers = list(patchgan(3, norm, width=4).layers)
    with_bias = [m.bias is not None for m in layers if isinstance(m, nn.Conv2d)]
    assert with_bias == [True, False, False, False, True]
    layers = list(patchgan(3, "instance", width=4).layers)
    assert all(m.bias is not None for m in layers if isinstance(m, nn.Conv2d))


def expected(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    mean, var = x.mean(dims, keepdim=True), x.var(dims, keepdim=True, correction=0)
    return (x - mean) / (var + 1e-5).sqrt()


def test_norms_match_their_formulas() -> None:
    x = torch.randn(3, 8, 5, 4, dtype=torch.float64) * 2 + 1
    batch = make_norm("batch", 8).double().train()
    assert torch.allclose(batch(x), expected(x, (0, 2, 3)))
    assert torch.allclose(make_norm("instance", 8)(x), expected(x, (2, 3)))
    assert torch.allclose(make_norm("layer", 8).double()(x), expected(x, (1, 2, 3)))
    grouped = expected(x.view(3, 2, 4, 5, 4), (2, 3, 4)).view(3, 8, 5, 4)
    assert torch.allclose(make_norm("group", 8, groups=2).double()(x), grouped)
    std = x.std((2, 3), keepdim=True, correction=0)
    mean = x.mean((2, 3), keepdim=True)
    assert torch.allclose(make_norm("instance-std", 8)(x), (x - mean) / (std + 1e-3))


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (16, 16), (48, 24), (7, 7)])
def test_default_groups_are_the_largest_divisor_up_to_32(channels: int, groups: int) -> None:
    norm = make_norm("group", channels)
    assert isinstance(norm, GroupNorm)
    assert norm.groups == groups


@pytest.mark.parametrize("norm", NORMS)
def test_only_batch_norm_depends_on_the_batch(norm: str) -> None:
    layer = make_norm(norm, 8).train()
    one, others = torch.randn(1, 8, 6, 6), torch.randn(2, 3, 8, 6, 6)
    outputs = [layer(torch.cat([one, other * 5]))[0] for other in others]
    assert torch.allclose(outputs[0], outputs[1], atol=1e-6) == (norm != "batch")


@pytest.mark.parametrize("statistics", ["image", "running"])
def test_batch_norm_at_inference_does_not_depend_on_the_batch(statistics: Any) -> None:
    network = unet(depth=3, width=4)
    network(torch.randn(4, 3, 32, 32))
    use_policy(network, statistics)
    images = torch.randn(3, 3, 32, 32)
    alone = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(network(images), alone, atol=1e-6)


def test_policies_give_different_outputs() -> None:
    network, image = unet(depth=3, width=4), torch.randn(2, 3, 32, 32)
    network(torch.randn(4, 3, 32, 32))
    outputs = []
    for statistics, dropout in (("image", False), ("running", False), ("image", True)):
        use_policy(network, statistics, dropout)  # type: ignore[arg-type]
        outputs.append(network(image))
        assert torch.equal(outputs[-1], network(image)) != dropout
    assert not torch.allclose(outputs[0], outputs[1])


def test_weight_initialization() -> None:
    def weights(kind: Any) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        network = PatchGAN(PatchGAN.Config(init=kind), 3)
        scales = [m.weight for m in network.modules() if isinstance(m, BatchNorm)]
        return network.layers[2].weight.detach(), torch.cat(scales).detach()  # type: ignore

    weight, scale = weights("normal")  # 64 -> 128 channels, 4x4
    assert float(weight.std()) == pytest.approx(0.02, rel=0.02)
    assert float(scale.std()) == pytest.approx(0.02, rel=0.1)
    assert float(scale.mean()) == pytest.approx(1, abs=0.005)
    weight, scale = weights("xavier")
    bound = (6 / (16 * (64 + 128))) ** 0.5
    assert float(weight.abs().max()) == pytest.approx(bound, rel=0.01)
    assert float((scale - 1).abs().max()) == 0
    weight, scale = weights("xavier-normal")
    assert float(weight.std()) == pytest.approx(0.02 * (2 / (16 * (64 + 128))) ** 0.5, rel=0.02)
    assert float(scale.std()) == pytest.approx(0.02, rel=0.1)
    weight, _ = weights("kaiming")
    assert float(weight.std()) == pytest.approx((2 / (16 * 64)) ** 0.5, rel=0.02)
    weight, _ = weights("orthogonal")
    rows = weight.flatten(1)
    assert torch.allclose(rows @ rows.T, torch.eye(128), atol=1e-5)


def test_linear_layers_are_initialized() -> None:
    layer = nn.Linear(256, 256)
    init_weights(layer, "xavier-normal")
    assert float(layer.weight.detach().std()) == pytest.approx(0.02 / 16, rel=0.02)
    assert float(layer.bias.detach().abs().max()) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "channels", "size", "batch", "message"),
    [
        (lambda: unet(width=2), 3, 200, 1, "256x256 would fit"),
        (lambda: GDLUNet(GDLUNet.Config(width=2), 3, 3), 3, 16, 1, "32x32 would fit"),
        (lambda: ResNet(ResNet.Config(width=2, blocks=1), 3, 3), 3, 4, 1, "8x8 would fit"),
        (lambda: patchgan(3, "batch", width=2), 3, 16, 1, "would fit"),
        (lambda: patchgan(3, "instance", width=2), 3, 8, 1, "would fit"),
    ],
)
def test_unsupported_size_is_refused_with_a_supported_one(
    network: Any, channels: int, size: int, batch: int, message: str
) -> None:
    built = network()
    with pytest.raises(ValueError, match=message) as error:
        check_size(built, channels, size, size, batch)
    fits = int(str(error.value).split(" would fit")[0].split("x")[-1])
    check_size(built, channels, fits, fits, batch)
    built.train()(torch.randn(batch, channels, fits, fits))
    with pytest.raises((ValueError, RuntimeError)):  # negative control: the network fails
        built(torch.randn(batch, channels, size, size))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "option", "height", "width", "now", "largest"),
    [
        (lambda n: unet(width=2, depth=n), "generator.depth", 64, 64, 8, 6),
        (lambda n: unet(width=2, depth=n), "generator.depth", 64, 96, 6, 5),
        (
            lambda n: GDLUNet(GDLUNet.Config(width=2, depth=n), 3, 3),
            "generator.depth",
            16,
            16,
            4,
            3,
        ),
        (lambda n: small_resnet(n), "generator.downsamplings", 48, 32, 5, 4),
        (lambda n: small_resnet(n), "generator.downsamplings", 8, 16, 4, 2),
        (lambda n: patchgan(3, "batch", width=2, layers=n), "discriminator.layers", 16, 40, 3, 2),
        (lambda n: patchgan(3, "instance", width=2, layers=n), "discriminator.layers", 7, 7, 3, 1),
    ],
)
def test_the_option_that_supports_a_size_is_named(
    make: Any, option: str, height: int, width: int, now: int, largest: int
) -> None:
    with pytest.raises(ValueError, match="cannot train on") as error:
        check_size(make(now), 3, height, width, 1)
    assert f"(--{option} {largest} or less supports {pixels_text(height, width)})" in str(
        error.value
    )
    check_size(make(largest), 3, height, width, 1)
    with pytest.raises(ValueError, match="cannot train on"):
        check_size(make(largest + 1), 3, height, width, 1)


def test_no_option_is_named_if_none_supports_a_size() -> None:
    with pytest.raises(ValueError, match="multiples of 256; 256x256 would fit"):
        check_size(unet(width=2), 3, 143, 143, 1)


def test_invalid_settings_are_refused() -> None:
    for config, values, limits in (
        (UNet.Config, {"depth": 1}, "from 2 to 16"),
        (UNet.Config, {"width": 0}, "from 1 to 8192"),
        (PatchGAN.Config, {"layers": 7}, "from 1 to 6"),
        (PatchGAN.Config, {"width": 10**6}, "from 1 to 8192"),
    ):
        with pytest.raises(UserError, match=limits) as caught:
            fill(config, values, "generator")
        assert caught.value.option == f"generator.{next(iter(values))}"
    with pytest.raises(ValueError, match="unknown norm"):
        make_norm("bach", 3)
