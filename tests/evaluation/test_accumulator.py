"""Test the accumulation of metrics against direct calls, and images that are too small."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from viceversa.evaluation.accumulator import MetricAccumulator
from viceversa.images.domain import Domain, DomainConfig
from viceversa.images.values import quantized, to_pixels, to_tensor, to_values
from viceversa.metrics.edges import edge_correlation
from viceversa.metrics.paired import l1, ms_ssim, psnr, ssim
from viceversa.metrics.sliced import swd

RGB = Domain()
PAIRED = ("l1", "psnr", "ssim")


def images(seed: int, height: int = 24, width: int = 24, count: int = 1) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, height, width, generator=chance) * 2 - 1


def accumulate(*names: str, of: list[tuple[Tensor, Tensor]], **more: Any) -> MetricAccumulator:
    """Add pairs (output, target), with the target upside down as the source."""
    metrics = MetricAccumulator(names, RGB, RGB, more.get("networks", {}))
    for output, target in of:
        metrics.add(target.flip(2), output, target)
        metrics.add_real(target)
    return metrics


def test_means_of_pairs_match_direct_calls() -> None:
    pairs = [(images(n), images(100 + n)) for n in range(3)]
    means = accumulate(*PAIRED, of=pairs).compute()
    assert list(means) == list(PAIRED)
    for name, measure in (("l1", l1), ("psnr", psnr), ("ssim", ssim)):
        single = [float(measure(output, target)) for output, target in pairs]
        assert means[name] == pytest.approx(sum(single) / 3, rel=1e-6)


def test_l1_and_psnr_of_known_images() -> None:
    """Half the pixels are off by 1 of 2: L1 is 1/2, and PSNR 10 log10(4 / (1/2)) = 9.03 dB."""
    target = torch.zeros(1, 3, 16, 16)
    output = target.clone()
    output[..., :8] = 1.0
    means = accumulate("l1", "psnr", of=[(output, target)]).compute()
    assert means["l1"] == 0.5 and means["psnr"] == pytest.approx(10 * math.log10(8))


def test_batch_counts_as_its_images() -> None:
    output, target = images(1, count=4), images(2, count=4)
    alone = [(output[n : n + 1], target[n : n + 1]) for n in range(4)]
    names = (*PAIRED, "edge_correlation", "swd")
    batched, separate = (accumulate(*names, of=of).compute() for of in ([(output, target)], alone))
    assert batched == pytest.approx(separate, rel=1e-6)


def test_infinite_psnr_is_left_out_of_the_mean() -> None:
    same, output, target = images(1), images(2), images(3)
    means = accumulate("psnr", "l1", of=[(same, same), (output, target)]).compute()
    assert means["psnr"] == pytest.approx(float(psnr(output, target)))  # not infinity
    assert means["l1"] == pytest.approx(float(l1(output, target)) / 2)
    assert accumulate("psnr", of=[(same, same)]).compute() == {"psnr": math.inf}


def test_cycle_and_edge_correlation() -> None:
    source, output, back = images(1), images(2), images(3)
    metrics = MetricAccumulator(("cycle", "edge_correlation"), RGB, RGB, {})
    metrics.add(source, output, None, back)
    assert metrics.compute() == pytest.approx(
        {
            "cycle": float(l1(source, back)),
            "edge_correlation": float(edge_correlation(source, output)),
        }
    )


def test_swd_of_several_sizes_uses_the_center_crops() -> None:
    pairs = [(images(1, 24, 30), images(2, 20, 40)), (images(3, 22, 26), images(4, 32, 28))]
    crops = [torch.cat([center_crop(pair[side], 20, 26) for pair in pairs]) for side in (0, 1)]
    metrics = MetricAccumulator(("swd",), RGB, RGB, {})
    for output, target in pairs:
        metrics.add(output, output)
        metrics.add_real(target)
    assert metrics.compute() == {"swd": swd(*crops)}


def center_crop(image: Tensor, height: int, width: int) -> Tensor:
    top, left = (image.shape[2] - height) // 2, (image.shape[3] - width) // 2
    return image[:, :, top : top + height, left : left + width]


@pytest.mark.parametrize("late", [False, True])
def test_metrics_unavailable_for_small_images_are_left_out_and_reported(late: bool) -> None:
    small, large = (images(1, 12, 15), images(2, 12, 15)), (images(3), images(4))
    of = [large, small] if late else [small, large]
    metrics = accumulate(*PAIRED, "ms_ssim", "swd", of=of)
    means = metrics.compute()
    assert set(means) == set(PAIRED)  # SSIM needs 11 pixels; SWD is dropped for all images
    size = "24 x 24" if late else "15 x 12"
    assert metrics.unavailable == {
        "swd": "it needs images of at least 16 x 16 pixels, and one is 15 x 12",
        "ms_ssim": f"it needs images of at least 176 x 176 pixels, and one is {size}",
    }


def test_later_small_image_drops_a_metric_of_earlier_images() -> None:
    small, large = (images(1, 9, 9), images(2, 9, 9)), (images(3), images(4))
    metrics = accumulate("l1", "ssim", of=[large, small])
    assert list(metrics.compute()) == ["l1"] and list(metrics.unavailable) == ["ssim"]


def test_ms_ssim_of_large_images() -> None:
    target = images(1, 176, 180)
    output = (target + 0.1 * images(2, 176, 180)).clamp(-1, 1)
    metrics = accumulate("ms_ssim", of=[(output, target)])
    assert metrics.compute() == pytest.approx({"ms_ssim": float(ms_ssim(output, target))})
    assert not metrics.unavailable


class Colours(torch.nn.Module):
    """Replaces the Inception network: the mean colour of an image."""

    def forward(self, rgb: Tensor) -> Tensor:
        return rgb.double().mean((2, 3)) / 255


@pytest.mark.parametrize(
    ("count", "unavailable"), [(1, {"fid", "kid"}), (49, {"kid"}), (50, set())]
)
def test_too_few_images_for_fid_and_kid_are_reported(
    count: int, unavailable: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viceversa.evaluation.accumulator.pool3", lambda network, rgb: network(rgb))
    pairs = [(images(n, 4, 4), images(100 + n, 4, 4)) for n in range(count)]
    metrics = accumulate("fid", "kid", of=pairs, networks={"inception": Colours()})
    result = metrics.compute()
    assert metrics.unavailable.keys() == unavailable
    assert {"fid", "kid"} - unavailable <= result.keys() and not unavailable & result.keys()
    if count == 49:
        reason = "it needs at least 50 images in each set, and there are 49 and 49"
        assert metrics.unavailable["kid"] == reason


# -- values rounded as in written files


def domain(dtype: str = "uint8", high: float = 255.0, **config: Any) -> Domain:
    domain_config = DomainConfig(**{"channels": 1, **config})
    return Domain(config=domain_config, dtype=dtype, low=(0.0,), high=(high,))


DOMAINS = {
    "8 bits": (domain(), 0.0),
    "16 bits": (domain("uint16", 65535.0), 1.01 * 2 / 65535),  # float32 ties round either way
    "16 bits signed": (domain("int16", 3000.0, range="0,3000"), 1.01 * 2 / 3000),
    "float": (domain("float32", 7.5), 1e-6),
    "labels": (domain(kind="labels", ids=5), 0.0),
}


@pytest.mark.parametrize("name", DOMAINS)
def test_quantized_values_match_written_pixels(name: str) -> None:
    of, tolerance = DOMAINS[name]
    chance = torch.Generator().manual_seed(0)
    largest = 1.0 if of.config.kind == "labels" else 1.1
    values = (torch.rand(2, of.config.width, 40, 50, generator=chance) * 2 - 1) * largest
    read = torch.cat([to_values(to_tensor(pixels)[None], of) for pixels in to_pixels(values, of)])
    difference = (quantized(values, of) - read).abs()
    assert float(difference.max()) <= tolerance + 1e-6
    assert float((difference > 1e-6).float().mean()) < 0.02
    if name != "float":  # negative control: values without quantization
        assert float(((values.clamp(-1, 1) - read).abs() > 1e-6).float().mean()) > 0.5


def test_quantized_8_bit_values_are_integers() -> None:
    values = torch.tensor([-1.5, -1.0, 0.0, 0.003, 0.004, 1.0, 2.0]).view(1, 1, 1, 7)
    numbers = (quantized(values, domain()) + 1) * 127.5
    assert numbers.flatten().tolist() == pytest.approx([0, 0, 128, 128, 128, 255, 255], abs=1e-4)


def test_network_input_is_on_the_device_of_the_network() -> None:
    """The meta device has no values, so the metric fails, after the network was called on it."""

    class Maps(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3, 3, 1, 1, device="meta"))
            self.head = torch.nn.Parameter(torch.ones(3, device="meta"))

        def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
            devices.append(x.device.type)
            return [(torch.nn.functional.conv2d(x, self.weight), self.head)]

    devices: list[str] = []
    pair = images(1, 64, 64), images(2, 64, 64)
    with pytest.raises((NotImplementedError, RuntimeError), match=r"[Mm]eta"):
        accumulate("lpips", of=[pair], networks={"alexnet": Maps()})
    assert devices == ["meta", "meta"]


def test_memory_limit_of_swd_applies_to_each_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viceversa.evaluation.accumulator.SET_BYTES", 3 * images(0)[0].numel() * 4)
    limited = MetricAccumulator(["swd"], RGB, RGB, {})
    for n in range(5):
        limited.add(images(n), images(n))
    for n in range(2):
        limited.add_real(images(10 + n))
    assert limited.compute_sets()["swd"] > 0
    (note,) = limited.notes
    assert note.startswith("swd compares the first 3 translations and 2 real images")
    assert accumulate("swd", of=[(images(1), images(2))]).notes == []


def test_infinite_values_are_left_out_of_the_mean_and_counted() -> None:
    one, other = images(1), images(2)
    mixed = accumulate("psnr", of=[(one, one), (one, other)])
    assert mixed.compute() == accumulate("psnr", of=[(one, other)]).compute()
    (note,) = mixed.notes
    assert note.startswith("psnr of 1 images is infinite")


@pytest.mark.parametrize("pairs", [True, False])
def test_colours_without_pairs_have_no_fid(pairs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pairs, the real colours have no lightness that belongs to them."""
    monkeypatch.setattr("viceversa.evaluation.accumulator.pool3", lambda network, rgb: network(rgb))
    source, target_domain = (Domain(config=DomainConfig(kind=kind)) for kind in ("lab-l", "lab-ab"))
    result = MetricAccumulator(("fid", "swd"), source, target_domain, {"inception": Colours()})
    for n in range(3):
        light, output, target = (
            images(3 * n + i, 16, 16)[:, :channels] for i, channels in ((0, 1), (1, 2), (2, 2))
        )
        result.add(light, output, target if pairs else None, None)
        result.add_real(target, light if pairs else images(n, 20, 20)[:, :1])
    means = result.compute()
    if pairs:
        assert {"fid", "swd"} == means.keys() and not result.unavailable
    else:
        assert list(means) == ["swd"] and result.unavailable.keys() == {"fid"}
