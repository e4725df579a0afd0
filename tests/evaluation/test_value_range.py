"""The value range stated with results: integers, ranges per channel, Lab and classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from viceversa.evaluation.value_range import ValueRange
from viceversa.images.domain import Domain, DomainConfig
from viceversa.images.values import quantized, to_pixels, to_tensor, to_values
from viceversa.metrics.paired import psnr

INT16 = Domain(DomainConfig(channels=1, range="-1000,3000"), "int16", (-1000.0,), (3000.0,))
HU = replace(INT16, config=replace(INT16.config, unit="HU"))


TWO_CHANNELS = Domain(DomainConfig(channels=2, range="minmax"), "float32", (0.0, 0.0), (1.0, 4.0))

SCALED = "in the files, scaled to -1 to 1; PSNR with peak 2 (equal to"


def uint8(**config: Any) -> Domain:
    return Domain(DomainConfig(**config), "uint8", (0.0,), (255.0,))


@pytest.mark.parametrize(
    ("domain", "low", "high", "peak", "text"),
    [
        (Domain(), 0, 255, 255, f"0 to 255 {SCALED} peak 255 before"),
        (INT16, -1000, 3000, 4000, f"-1000 to 3000 {SCALED} peak 4000 before"),
        (HU, -1000, 3000, 4000, f"-1000 to 3000 HU {SCALED} peak 4000 HU before"),
        (TWO_CHANNELS, 0, [1, 4], [1, 4], f"0 to 1, 4 {SCALED} peak 1, 4 before"),
        (uint8(kind="lab-l"), 0, 100, 100, "0 to 100"),
        (uint8(kind="lab-ab"), -110, 110, 220, "-110 to 110"),
        (uint8(kind="labels", ids=3), None, None, None, "classes as one-hot values"),
    ],
)
def test_the_range_is_stated(domain: Domain, low: Any, high: Any, peak: Any, text: str) -> None:
    found = ValueRange.of(domain)
    unit = domain.config.unit
    assert found.as_json() == {"low": low, "high": high, "peak": peak, "unit": unit}
    assert text in str(found) and str(found).endswith("PSNR is a mean over images")


def test_ranges_per_channel_share_a_table_cell() -> None:
    row = ValueRange((0.0, 0.0), (1.0, 4.0)).as_row()
    high = peak = "1.0 4.0"
    assert row == {"range_low": "0.0", "range_high": high, "peak": peak, "unit": ""}


FLOAT32 = Domain(DomainConfig(channels=1, range="-7.3,911.7"), "float32", (-7.3,), (911.7,))
UINT16 = Domain(DomainConfig(channels=1), "uint16", (0.0,), (65535.0,))


@pytest.mark.parametrize("domain", [uint8(channels=1), UINT16, INT16, FLOAT32])
def test_float64_values_equal_those_of_the_written_file(domain: Domain) -> None:
    """Then PSNR is that of the files to 1e-6, even for differences of one level."""
    drawn = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    nearly = drawn + 2 * 2 / (domain.high[0] - domain.low[0])
    files = [to_pixels(one, domain) for one in (drawn, nearly)]
    exact = [quantized(one.double(), domain) for one in (drawn, nearly)]
    for images, values in zip(files, exact, strict=True):
        read = to_values(torch.stack([to_tensor(one) for one in images]), domain, torch.float64)
        assert values.dtype == torch.float64
        assert torch.equal(read, values) or float((read - values).abs().max()) < 1e-15
    peak = domain.high[0] - domain.low[0]
    for i in range(2):
        one, other = (images[i].astype(np.float64) for images in files)
        by_hand = 10 * np.log10(peak**2 / ((one - other) ** 2).mean())
        assert float(psnr(exact[0], exact[1])[i]) == pytest.approx(by_hand, abs=1e-6)
    rounded = [quantized(one, domain) for one in (drawn, nearly)]  # the control
    if domain.dtype != "uint8":
        assert float(psnr(*rounded)[0]) != pytest.approx(float(psnr(*exact)[0]), abs=1e-6)
