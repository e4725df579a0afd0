"""A network in bands gives the output of the whole image, in bounded memory and disk space."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from viceversa.errors import UserError
from viceversa.networks.config import GDLUNetConfig, ResNetConfig, UNetConfig
from viceversa.networks.norms import BatchNorm, InstanceNorm, use_policy
from viceversa.networks.resnet import ResNet
from viceversa.networks.same import SameConv
from viceversa.networks.unet import GDLUNet, UNet
from viceversa.streaming import BandedNetwork, Unknown, sampled_norms, scratch, whole_memory
from viceversa.streaming.graph import maps, reach
from viceversa.streaming.passes import plan

NORMS = ("batch", "layer", "instance", "instance-affine", "instance-std", "group", "none")
NETWORKS: dict[str, Callable[[str], nn.Module]] = {
    "resnet": lambda norm: ResNet(ResNetConfig(width=4, blocks=2, norm=norm, groups=2), 2, 3),
    "unet": lambda norm: UNet(UNetConfig(width=4, depth=4, norm=norm, groups=2, dropout=0.0), 2, 3),
    "gdl": lambda norm: GDLUNet(GDLUNetConfig(width=4, depth=3, norm=norm, groups=2), 2, 3),
}


def banded(
    network: nn.Module, image: Tensor, folder: Path, band: int = 8, policy: str = "image"
) -> tuple[Tensor, BandedNetwork]:
    use_policy(network, "running" if policy == "running" else "image")
    made = BandedNetwork(network, (image.shape[1], image.shape[2], image.shape[3]), 10**9)
    return computed(made, image, folder, band), made


def computed(made: BandedNetwork, image: Tensor, folder: Path, band: int) -> Tensor:
    """Return the output for an image, computed in bands of this size."""
    made.band = band
    rows: list[Tensor] = []
    made(lambda start, end: image[:, :, start:end], rows.append, folder)
    return torch.cat(rows, dim=2)


def whole(network: nn.Module, image: Tensor) -> Tensor:
    with torch.inference_mode():
        output: Tensor = network(image)
    return output


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_output_is_that_of_the_whole_image(name: str, norm: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = NETWORKS[name](norm)
    image = torch.rand(1, 2, 80, 48) * 2 - 1
    image[:, :, 10:] *= 0.2  # the statistics of bands differ
    for band in (4, 24, 512):
        output, _ = banded(network, image, tmp_path, band)
        torch.testing.assert_close(output, whole(network, image), rtol=0, atol=2e-5)
    assert list(tmp_path.iterdir()) == []


def test_statistics_of_bands_would_be_another_output(tmp_path: Path) -> None:
    """Control: with the statistics of each band instead, the output is far from the whole one."""
    torch.manual_seed(1)
    network = NETWORKS["resnet"]("instance")
    image = torch.rand(1, 2, 80, 48) * 2 - 1
    image[:, :, 40:] *= 0.2
    halves = torch.cat([whole(network, image[:, :, :40]), whole(network, image[:, :, 40:])], dim=2)
    assert (halves - whole(network, image)).abs().max() > 0.05


@pytest.mark.parametrize(
    "network",
    [
        ResNet(ResNetConfig(width=4, blocks=1, antialias=True), 2, 3),
        ResNet(ResNetConfig(width=4, blocks=1, upsample="resize"), 2, 3),
        ResNet(ResNetConfig(width=4, blocks=1, downsamplings=3, spectral_norm=True), 2, 3),
        ResNet(ResNetConfig(width=4, blocks=2, dropout=0.5), 2, 3),
        UNet(UNetConfig(width=4, depth=3, upsample="resize", skip=False), 2, 3),
    ],
    ids=["antialias", "resize", "spectral", "dropout", "no-skip"],
)
def test_every_option_of_the_generators(network: nn.Module, tmp_path: Path) -> None:
    torch.manual_seed(2)
    image = torch.rand(1, 2, 40, 56) * 2 - 1
    output, _ = banded(network, image, tmp_path)
    torch.testing.assert_close(output, whole(network, image), rtol=0, atol=2e-5)


def test_running_statistics_need_one_pass_and_no_files(tmp_path: Path) -> None:
    network = NETWORKS["unet"]("batch")
    network.train()
    network(torch.rand(4, 2, 32, 32))
    image = torch.rand(1, 2, 64, 32) * 2 - 1
    output, made = banded(network, image, tmp_path, policy="running")
    assert len(made.plan.passes) == 1 and made.plan.scratch == 0
    torch.testing.assert_close(output, whole(network, image), rtol=0, atol=1e-5)


def test_the_stream_is_as_exact_as_the_whole_pass(tmp_path: Path) -> None:
    """Both are equally far from a pass in float64, also where most of the image is constant."""
    torch.manual_seed(3)
    network = NETWORKS["resnet"]("instance")
    image = torch.ones(1, 2, 128, 64)
    image[:, :, 50:70] = torch.rand(1, 2, 20, 64)
    output, _ = banded(network, image, tmp_path)
    once = whole(network, image)
    exact = whole(network.double(), image.double())
    assert (output - exact).abs().max() < 3 * (once - exact).abs().max() + 1e-6


def test_costs_of_the_resnet_of_the_paper() -> None:
    """Two maps of 256 channels at a quarter of the size are stored: 128 bytes per pixel."""
    with torch.device("meta"):
        network = ResNet(ResNetConfig(width=64, blocks=9), 3, 3).eval()
    made = plan(maps(network, (3, 1200, 1200)))
    assert made.scratch == 128 * 1200**2
    assert 1.05 < made.arithmetic <= 1.25
    assert len(made.passes) == 24  # one per norm, and one for the output
    assert made.traffic / 1200**2 < 4000


def test_files_are_as_large_as_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    network = NETWORKS["resnet"]("instance")
    made: list[scratch.MapFile] = []
    create, write = scratch.Scratch.create, scratch.MapFile.write_rows

    def create_noted(self: scratch.Scratch, shape: tuple[int, int, int]) -> scratch.MapFile:
        made.append(create(self, shape))
        return made[-1]

    def write_noted(self: scratch.MapFile, rows: Tensor) -> None:
        write(self, rows)
        open_files = [one.file for one in made if not one.file.closed]
        sizes.append(sum(file.seek(0, 2) for file in open_files))

    monkeypatch.setattr(scratch.Scratch, "create", create_noted)
    monkeypatch.setattr(scratch.MapFile, "write_rows", write_noted)
    _, banded_network = banded(network, torch.rand(1, 2, 64, 32), tmp_path)
    assert max(sizes) == banded_network.plan.scratch > 0


def test_too_little_disk_space_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "free_space", lambda folder: 1000)
    with pytest.raises(UserError, match=r"temporary files are needed .* --scratch"):
        banded(NETWORKS["resnet"]("instance"), torch.rand(1, 2, 64, 32), tmp_path)


def test_a_write_that_fails_is_a_user_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(UserError, match=r"temporary files in .* could not be used: the disk is"):
        banded(NETWORKS["resnet"]("instance"), torch.rand(1, 2, 64, 32), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_refused_with_the_figure() -> None:
    network = NETWORKS["resnet"]("instance").eval()
    with pytest.raises(UserError, match=r"32 pixels wide .* 1.00 kB may be used; raise"):
        BandedNetwork(network, (2, 64, 32), 1000)


def test_layers_that_copy_their_input_to_pad_it_need_more_memory() -> None:
    """A 4x4 convolution of stride 1 has one more pixel after the image than before it."""
    shape = (4, 512, 512)
    uneven, even = (
        whole_memory(nn.Sequential(layer).eval(), shape)
        for layer in (SameConv(4, 4, 4), SameConv(4, 4, 3))
    )
    assert uneven - even == pytest.approx(2.25 * 4 * 4 * 512**2, rel=0.01)


def test_less_memory_makes_smaller_bands() -> None:
    network = ResNet(ResNetConfig(width=16, blocks=1), 3, 3).eval()
    shape = (3, 4096, 4096)
    large, small = (BandedNetwork(network, shape, memory) for memory in (10**10, 3 * 10**8))
    assert large.band > 4 * small.band
    assert small.memory <= 3 * 10**8 < large.memory


class Residual(nn.Module):
    """User-defined network with functions, in-place layers and two norms of one map."""

    def __init__(self, last: nn.Module) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 4, 5, padding=2), nn.InstanceNorm2d(4)
        self.other, self.relu = nn.GroupNorm(2, 4), nn.ReLU(inplace=True)
        self.middle, self.last = nn.Conv2d(8, 4, 3, padding=2, dilation=2), last

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        both = torch.cat([self.norm(x), self.relu(self.other(x))], 1)
        out: Tensor = self.last(x + F.leaky_relu(self.middle(both), 0.1))
        return out.tanh()


def test_a_network_of_a_user_with_known_layers(tmp_path: Path) -> None:
    torch.manual_seed(4)
    network = Residual(nn.Conv2d(4, 3, 1))
    image = torch.rand(1, 2, 30, 21)
    output, made = banded(network, image, tmp_path, band=7)
    torch.testing.assert_close(output, whole(network, image), rtol=0, atol=1e-5)
    assert len(made.plan.passes) == 2  # both norms in one pass


class Centred(nn.Conv2d):
    """User-defined layer whose rows differ from the rows of its base class."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight - self.weight.mean(), self.bias, padding=self.padding)


class Reused(nn.Module):
    """Skip connection of the reference's U-Net: an in-place layer modifies its input."""

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.middle = nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.middle(self.relu(x))], 1)


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def hooked(layer: nn.Module) -> nn.Module:
    layer.register_forward_hook(lambda module, inputs, output: 2 * output)
    return layer


@pytest.mark.parametrize(
    ("last", "why"),
    [
        (Centred(4, 3, 3, padding=1), "it computes"),
        (Reused(), "uses a map after another layer modified it in place"),
        (Function(lambda x: F.relu(x, True) + x), "uses a map after another layer"),
        (Function(lambda x: torch.add(x, x.tanh(), alpha=0.5)), "it computes add"),
        (Function(lambda x: torch.cat(tensors=[x, x.tanh()], dim=1)), "it computes cat"),
        (hooked(nn.Conv2d(4, 3, 1)), "last has forward hooks"),
        (hooked(nn.ReLU()), "last has forward hooks"),
        (nn.Conv2d(4, 3, 1, padding=1), "last is Conv2d"),
    ],
    ids=["subclass", "in-place", "argument", "alpha", "cat", "hook", "relu-hook", "only-padding"],
)
def test_networks_that_would_have_another_output_are_unknown(last: nn.Module, why: str) -> None:
    with pytest.raises(Unknown, match=why):
        maps(Residual(last).eval(), (2, 16, 16))


def test_hooks_of_the_network_itself_are_unknown() -> None:
    with pytest.raises(Unknown, match="it has forward hooks"):
        maps(hooked(Residual(nn.Conv2d(4, 3, 1))).eval(), (2, 16, 16))


class InPlace(nn.Module):
    """In-place functions whose inputs nothing else uses."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = self.last(x)
        x += F.relu(y, True)
        return F.leaky_relu(x, 0.1, inplace=True)


def test_functions_in_place_modify_no_rows_that_are_used_again(tmp_path: Path) -> None:
    torch.manual_seed(7)
    network, image = InPlace(), torch.rand(1, 2, 30, 21)
    output, _ = banded(network, image, tmp_path, band=7)
    torch.testing.assert_close(output, whole(network, image), rtol=0, atol=1e-6)


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (Residual(nn.AdaptiveAvgPool2d(1)), "last is AdaptiveAvgPool2d"),
        (Residual(nn.Sequential(nn.Flatten())), "last.0 is Flatten"),
        (Branches(), "cannot be traced"),
    ],
    ids=["pool", "flatten", "branches"],
)
def test_other_networks_are_named_as_unknown(network: nn.Module, why: str) -> None:
    with pytest.raises(Unknown, match=why):
        maps(network.eval(), (2, 16, 16))


def test_noise_is_unknown() -> None:
    network = UNet(UNetConfig(width=4, depth=3), 2, 3)
    use_policy(network, "image", dropout=True)
    with pytest.raises(Unknown, match="dropout"):
        maps(network, (2, 16, 16))


def test_an_exception_of_the_caller_ends_the_work_and_leaves_no_file(tmp_path: Path) -> None:
    network = NETWORKS["resnet"]("instance").eval()
    made = BandedNetwork(network, (2, 64, 32), 10**9)
    made.band = 8
    done: list[float] = []

    def progress(fraction: float) -> None:
        done.append(fraction)
        if fraction > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(lambda start, end: torch.zeros(1, 2, end - start, 32), print, tmp_path, progress)
    assert done == sorted(done) and list(tmp_path.iterdir()) == []


def test_progress_ends_at_one(tmp_path: Path) -> None:
    done: list[float] = []
    made = BandedNetwork(NETWORKS["unet"]("instance").eval(), (2, 64, 32), 10**9)
    made.band = 16
    made(
        lambda start, end: torch.rand(1, 2, end - start, 32),
        lambda rows: None,
        tmp_path,
        done.append,
    )
    assert done == sorted(done) and done[-1] == pytest.approx(1)


@pytest.mark.parametrize("blocks", [1, 3])
def test_the_receptive_field_limits_the_influence_of_pixels_outside_a_tile(blocks: int) -> None:
    network = ResNet(ResNetConfig(width=2, blocks=blocks, norm="none"), 1, 1).eval()
    found = reach(network, 1, network.multiple)
    image = torch.rand(1, 1, 256, 16, requires_grad=True)
    used = []
    for row in (128 + found - 1, 128 + found):  # rows of a tile that begins at row 128
        (gradient,) = torch.autograd.grad(network(image)[0, 0, row].sum(), image)
        used.append(int(gradient.abs().sum(dim=(0, 1, 3)).nonzero()[:, 0].min()))
    assert used[0] < 128 <= used[1]


def test_norms_use_the_statistics_that_they_were_given() -> None:
    """Norms of `use_policy` decide by layer which statistics they need."""
    from viceversa.streaming.statistics import needs_statistics

    norm = BatchNorm(2)
    assert needs_statistics(norm) and needs_statistics(InstanceNorm(2))
    norm.eval_statistics = "running"
    assert not needs_statistics(norm)
    assert not needs_statistics(nn.BatchNorm2d(2)) and needs_statistics(nn.InstanceNorm2d(2))


@pytest.mark.parametrize("norm", ["batch", "group", "instance-std"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_statistics_of_one_crop_of_all_of_the_image_are_exact(
    name: str, norm: str, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    network = NETWORKS[name](norm).eval()
    image = torch.rand(1, 2, 64, 32) * 2 - 1
    made = BandedNetwork(network, (2, 64, 32), 10**9, sampled_norms(network, image))
    assert len(made.plan.passes) == 1 and made.plan.scratch == 0
    assert "2.00 times the arithmetic; norms have the statistics of 1 crop" in made.costs
    output = computed(made, image, tmp_path, 16)
    torch.testing.assert_close(output, whole(network, image), rtol=0, atol=2e-5)


def test_crops_share_their_statistics(tmp_path: Path) -> None:
    """The result is much closer to the whole image than that of tiles, each with its own."""
    torch.manual_seed(6)
    network = NETWORKS["resnet"]("instance").eval()
    image = (torch.rand(1, 2, 128, 64) - 0.5) * torch.linspace(0.2, 2, 128)[:, None]
    crops = torch.cat([image[:, :, top : top + 32, :32] for top in (0, 32, 64, 96)])
    made = BandedNetwork(network, (2, 128, 64), 10**9, sampled_norms(network, crops))
    shared = computed(made, image, tmp_path, 128)
    exact = whole(network, image)
    tiles = [whole(network, image[:, :, top : top + 32]) for top in (0, 32, 64, 96)]
    of_crops, of_tiles = (
        float((output - exact).abs().mean()) for output in (shared, torch.cat(tiles, 2))
    )
    assert 0 < of_crops < of_tiles / 3
