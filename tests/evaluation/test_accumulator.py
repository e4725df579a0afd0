"""Accumulated metrics, against direct calls; images that are too small."""

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


def measured(*names: str, of: list[tuple[Tensor, Tensor]], **more: Any) -> MetricAccumulator:
    """Takes in (made, target) one after the other; the source is the target upside down."""
    measures = MetricAccumulator(names, RGB, RGB, more.get("networks", {}))
    for made, target in of:
        measures.add(target.flip(2), made, target)
        measures.add_real(target)
    return measures


def test_means_of_pairs_are_those_of_direct_calls() -> None:
    pairs = [(images(n), images(100 + n)) for n in range(3)]
    means = measured(*PAIRED, of=pairs).compute()
    assert list(means) == list(PAIRED)
    for name, measure in (("l1", l1), ("psnr", psnr), ("ssim", ssim)):
        one_by_one = [float(measure(made, target)) for made, target in pairs]
        assert means[name] == pytest.approx(sum(one_by_one) / 3, rel=1e-6)


def test_by_hand() -> None:
    """Half the pixels are off by 1 of 2: L1 is 1/2, and PSNR 10 log10(4 / (1/2)) = 9.03 dB."""
    target = torch.zeros(1, 3, 16, 16)
    made = target.clone()
    made[..., :8] = 1.0
    means = measured("l1", "psnr", of=[(made, target)]).compute()
    assert means["l1"] == 0.5 and means["psnr"] == pytest.approx(10 * math.log10(8))


def test_a_batch_counts_as_its_images() -> None:
    made, target = images(1, count=4), images(2, count=4)
    alone = [(made[n : n + 1], target[n : n + 1]) for n in range(4)]
    names = (*PAIRED, "edge_correlation", "swd")
    together, apart = (measured(*names, of=of).compute() for of in ([(made, target)], alone))
    assert together == pytest.approx(apart, rel=1e-6)


def test_equal_images_have_no_psnr_to_average() -> None:
    same, made, target = images(1), images(2), images(3)
    means = measured("psnr", "l1", of=[(same, same), (made, target)]).compute()
    assert means["psnr"] == pytest.approx(float(psnr(made, target)))  # not infinity
    assert means["l1"] == pytest.approx(float(l1(made, target)) / 2)  # there it counts
    assert measured("psnr", of=[(same, same)]).compute() == {"psnr": math.inf}


def test_cycle_and_content() -> None:
    source, made, back = images(1), images(2), images(3)
    measures = MetricAccumulator(("cycle", "edge_correlation"), RGB, RGB, {})
    measures.add(source, made, None, back)
    assert measures.compute() == pytest.approx(
        {
            "cycle": float(l1(source, back)),
            "edge_correlation": float(edge_correlation(source, made)),
        }
    )


def test_swd_of_images_of_many_sizes_is_that_of_their_middles() -> None:
    pairs = [(images(1, 24, 30), images(2, 20, 40)), (images(3, 22, 26), images(4, 32, 28))]
    middles = [torch.cat([middle(pair[side], 20, 26) for pair in pairs]) for side in (0, 1)]
    measures = MetricAccumulator(("swd",), RGB, RGB, {})
    for made, target in pairs:
        measures.add(made, made)
        measures.add_real(target)
    assert measures.compute() == {"swd": swd(*middles)}


def middle(image: Tensor, height: int, width: int) -> Tensor:
    top, left = (image.shape[2] - height) // 2, (image.shape[3] - width) // 2
    return image[:, :, top : top + height, left : left + width]


@pytest.mark.parametrize("late", [False, True])
def test_what_an_image_is_too_small_for_is_left_out_and_told(late: bool) -> None:
    small, large = (images(1, 12, 15), images(2, 12, 15)), (images(3), images(4))
    of = [large, small] if late else [small, large]
    measures = measured(*PAIRED, "ms_ssim", "swd", of=of)
    means = measures.compute()
    assert set(means) == set(PAIRED)  # SSIM needs 11 pixels; and no SWD of those that came before
    size = "24 x 24" if late else "15 x 12"
    assert measures.unavailable == {
        "swd": "it needs images of at least 16 x 16 pixels, and one is 15 x 12",
        "ms_ssim": f"it needs images of at least 176 x 176 pixels, and one is {size}",
    }


def test_a_late_small_image_takes_back_what_was_measured_before() -> None:
    small, large = (images(1, 9, 9), images(2, 9, 9)), (images(3), images(4))
    measures = measured("l1", "ssim", of=[large, small])
    assert list(measures.compute()) == ["l1"] and list(measures.unavailable) == ["ssim"]


def test_ms_ssim_of_large_images() -> None:
    target = images(1, 176, 180)
    made = (target + 0.1 * images(2, 176, 180)).clamp(-1, 1)
    measures = measured("ms_ssim", of=[(made, target)])
    assert measures.compute() == pytest.approx({"ms_ssim": float(ms_ssim(made, target))})
    assert not measures.unavailable


class Colours(torch.nn.Module):
    """Stands where the network of FID and KID does: three numbers of an image."""

    def forward(self, rgb: Tensor) -> Tensor:
        return rgb.double().mean((2, 3)) / 255


@pytest.mark.parametrize(("count", "missed"), [(1, {"fid", "kid"}), (49, {"kid"}), (50, set())])
def test_too_few_images_for_a_distance_between_sets_are_told(
    count: int, missed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viceversa.evaluation.accumulator.pool3", lambda network, rgb: network(rgb))
    pairs = [(images(n, 4, 4), images(100 + n, 4, 4)) for n in range(count)]
    measures = measured("fid", "kid", of=pairs, networks={"inception": Colours()})
    found = measures.compute()
    assert measures.unavailable.keys() == missed
    assert {"fid", "kid"} - missed <= found.keys() and not missed & found.keys()
    if count == 49:
        told = "it needs at least 50 images in each set, and there are 49 and 49"
        assert measures.unavailable["kid"] == told


# -- as files would hold them


def domain(dtype: str = "uint8", high: float = 255.0, **config: Any) -> Domain:
    made = DomainConfig(**{"channels": 1, **config})
    return Domain(config=made, dtype=dtype, low=(0.0,), high=(high,))


DOMAINS = {
    "8 bits": (domain(), 0.0),
    "16 bits": (domain("uint16", 65535.0), 1.01 * 2 / 65535),  # but for ties in float32
    "16 bits with a sign": (domain("int16", 3000.0, range="0,3000"), 1.01 * 2 / 3000),
    "float": (domain("float32", 7.5), 1e-6),
    "labels": (domain(kind="labels", ids=5), 0.0),
}


@pytest.mark.parametrize("name", DOMAINS)
def test_as_written_is_what_a_file_gives_back(name: str) -> None:
    of, apart = DOMAINS[name]
    chance = torch.Generator().manual_seed(0)
    beyond = 1.0 if of.config.kind == "labels" else 1.1
    values = (torch.rand(2, of.config.width, 40, 50, generator=chance) * 2 - 1) * beyond
    read = torch.cat([to_values(to_tensor(one)[None], of) for one in to_pixels(values, of)])
    off = (quantized(values, of) - read).abs()
    assert float(off.max()) <= apart + 1e-6 and float((off > 1e-6).float().mean()) < 0.02
    if name != "float":  # the control: it is not left as it is
        assert float(((values.clamp(-1, 1) - read).abs() > 1e-6).float().mean()) > 0.5


def test_as_written_is_of_whole_numbers() -> None:
    values = torch.tensor([-1.5, -1.0, 0.0, 0.003, 0.004, 1.0, 2.0]).view(1, 1, 1, 7)
    numbers = (quantized(values, domain()) + 1) * 127.5
    assert numbers.flatten().tolist() == pytest.approx([0, 0, 128, 128, 128, 255, 255], abs=1e-4)


def test_what_a_network_is_shown_lies_where_the_network_does() -> None:
    """On a device without values: that it can be asked at all shows that the images were there."""

    class Maps(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3, 3, 1, 1, device="meta"))
            self.head = torch.nn.Parameter(torch.ones(3, device="meta"))

        def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
            seen.append(x.device.type)
            return [(torch.nn.functional.conv2d(x, self.weight), self.head)]

    seen: list[str] = []
    with pytest.raises((NotImplementedError, RuntimeError), match=r"[Mm]eta"):  # it has no numbers
        measured("lpips", of=[(images(1, 64, 64), images(2, 64, 64))], networks={"alexnet": Maps()})
    assert seen == ["meta", "meta"]


def test_each_side_of_a_set_has_room_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viceversa.evaluation.accumulator.SET_BYTES", 3 * images(0)[0].numel() * 4)
    kept = MetricAccumulator(["swd"], RGB, RGB, {})
    for n in range(5):
        kept.add(images(n), images(n))
    for n in range(2):
        kept.add_real(images(10 + n))
    assert kept.compute_sets()["swd"] > 0
    (note,) = kept.notes
    assert note.startswith("swd compares the first 3 translations and 2 real images")
    assert measured("swd", of=[(images(1), images(2))]).notes == []


def test_infinite_values_are_counted_and_not_in_the_mean() -> None:
    one, other = images(1), images(2)
    mixed = measured("psnr", of=[(one, one), (one, other)])
    assert mixed.compute() == measured("psnr", of=[(one, other)]).compute()
    (note,) = mixed.notes
    assert note.startswith("psnr of 1 images is infinite")


@pytest.mark.parametrize("pairs", [True, False])
def test_colours_without_pairs_have_no_fid(pairs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real colours would be judged as flat grey, or under the lightness of another image."""
    monkeypatch.setattr("viceversa.evaluation.accumulator.pool3", lambda network, rgb: network(rgb))
    here, there = (Domain(config=DomainConfig(kind=kind)) for kind in ("lab-l", "lab-ab"))
    found = MetricAccumulator(("fid", "swd"), here, there, {"inception": Colours()})
    for n in range(3):
        light, made, target = (
            images(3 * n + i, 16, 16)[:, :bands] for i, bands in ((0, 1), (1, 2), (2, 2))
        )
        found.add(light, made, target if pairs else None, None)
        found.add_real(target, light if pairs else images(n, 20, 20)[:, :1])
    means = found.compute()
    if pairs:
        assert {"fid", "swd"} == means.keys() and not found.unavailable
    else:
        assert list(means) == ["swd"] and found.unavailable.keys() == {"fid"}
