"""Warps by whole and fractional pixels, and the losses of a flow by hand."""

from __future__ import annotations

import pytest
import torch

from viceversa.methods.flow import smoothness, squared_shift, warp


def constant_flow(rows: float, columns: float, side: int, count: int = 1) -> torch.Tensor:
    return torch.tensor([float(rows), float(columns)]).view(1, 2, 1, 1).expand(count, 2, side, side)


@pytest.mark.parametrize("side", [2, 16, 64])
def test_warp_by_whole_pixels_is_exact(side: int) -> None:
    images = torch.randn(2, 3, side, side)
    assert torch.equal(warp(images, torch.zeros(2, 2, side, side)), images)
    moved = warp(images, constant_flow(1, -1, side, 2))
    assert torch.equal(moved[:, :, :-1, 1:], images[:, :, 1:, :-1])
    assert torch.equal(moved[:, :, -1, 1:], images[:, :, -1, :-1])  # the border is repeated
    assert torch.equal(moved[:, :, :-1, 0], images[:, :, 1:, 0])


def test_warp_interpolates_and_differentiates() -> None:
    """The image rises by 3 per row and by 5 per column; sides are no powers of two."""
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    images = (3 * rows + 5 * columns).view(1, 1, 6, 7)
    flow = torch.zeros(1, 2, 6, 7)
    flow[:, 0], flow[:, 1] = 0.25, -0.5
    flow.requires_grad_()
    warped = warp(images, flow)
    expected = images + 3 * 0.25 - 5 * 0.5
    inner = slice(1, -1)
    assert torch.allclose(warped[..., inner, inner], expected[..., inner, inner], atol=1e-4)
    warped[..., inner, inner].sum().backward()
    assert flow.grad is not None
    assert torch.allclose(flow.grad[:, 0, inner, inner], torch.tensor(3.0), atol=1e-4)
    assert torch.allclose(flow.grad[:, 1, inner, inner], torch.tensor(5.0), atol=1e-4)


def test_warp_of_half_precision_is_float32() -> None:
    images, flow = torch.randn(1, 1, 8, 8), torch.randn(1, 2, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        warped = warp(images.bfloat16(), flow.bfloat16())
    assert warped.dtype == torch.float32
    assert torch.equal(warped, warp(images.bfloat16().float(), flow.bfloat16().float()))


def test_smoothness_by_hand() -> None:
    assert float(smoothness(constant_flow(3, -2, 8))) == 0
    flow = torch.zeros(1, 2, 4, 5)
    flow[:, 0] = 3 * torch.arange(4.0)[:, None]  # rows: 3 from row to row, in half of the channels
    assert float(smoothness(flow)) == 9 / 2
    flow[:, 1] = 2 * torch.arange(5.0)
    assert float(smoothness(flow)) == 9 / 2 + 4 / 2


def test_squared_shift_by_hand() -> None:
    flow = torch.cat([constant_flow(3, -4, 2), constant_flow(0, 1, 2)])
    assert float(squared_shift(flow)) == (25 + 1) / 2
    opposite = torch.cat([constant_flow(3, -4, 2), constant_flow(-3, 4, 2)], dim=3)
    assert float(squared_shift(opposite)) == 0
    left = torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(1, 1, 2, 4)
    assert float(squared_shift(opposite, left)) == 25
    assert float(squared_shift(opposite, torch.zeros(1, 1, 2, 4))) == 0
