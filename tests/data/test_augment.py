"""Augmentation: each by its name and strength, pairs alike, and nothing where it is off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from viceversa.data.config import DataConfig
from viceversa.data.transforms import Augmentation, color_jitter, draw_augmentation, has_warp, warp

IMAGE = torch.arange(2 * 3 * 16 * 16).reshape(2, 3, 16, 16) % 251
STRENGTHS: dict[str, Any] = {"zoom": 0.4, "rotate": 30.0, "shift": 0.2, "shear": 15.0}


def warped(image: Tensor, draws: list[Augmentation], nearest: bool = False, **data: Any) -> Tensor:
    return warp(image, draws, DataConfig(**data), nearest)


def at(
    zoom: float = 0, across: float = 0, down: float = 0, rotate: float = 0, shear: float = 0
) -> Augmentation:
    return Augmentation(warp=(zoom, across, down, rotate, shear))


def test_without_strength_nothing_moves() -> None:
    assert not has_warp(DataConfig())
    assert all(has_warp(DataConfig(**{name: value})) for name, value in STRENGTHS.items())
    still = warped(IMAGE, [Augmentation(), Augmentation()], **STRENGTHS)
    assert torch.allclose(still, IMAGE.float(), atol=1e-3)


def test_a_quarter_of_rotation_is_a_quarter_turn() -> None:
    square = IMAGE.float()
    turned = warped(square, [at(rotate=1), at(rotate=-1)], rotate=90.0)
    assert torch.allclose(turned[0], torch.rot90(square[0], 1, (1, 2)), atol=1e-2)
    assert torch.allclose(turned[1], torch.rot90(square[1], -1, (1, 2)), atol=1e-2)


def test_a_turn_keeps_shapes_where_the_image_is_not_square() -> None:
    flat = torch.zeros(1, 1, 20, 40)
    flat[:, :, 8:12, 10:30] = 1  # 20 wide, 4 high
    turned = warped(flat, [at(rotate=1)], rotate=90.0)
    rows = (turned[0, 0].amax(1) > 0.5).sum()
    columns = (turned[0, 0, :, 10:30].amax(0) > 0.5).sum()  # further out the image is mirrored
    assert (int(rows), int(columns)) == (20, 4)


def test_a_shift_moves_by_its_share_of_the_side() -> None:
    moved = warped(IMAGE, [at(across=1), at(down=-1)], shift=0.25)  # 4 of 16 pixels
    assert torch.allclose(moved[0, :, :, :12], IMAGE[0, :, :, 4:].float(), atol=1e-2)
    assert torch.allclose(moved[1, :, 4:], IMAGE[1, :, :12].float(), atol=1e-2)


def test_a_zoom_shows_a_part_and_never_what_lies_outside() -> None:
    part = warped(IMAGE, [at(zoom=1, across=-1, down=-1), at(zoom=1)], zoom=0.5)
    corner = torch.nn.functional.interpolate(
        IMAGE[:1, :, :8, :8].float(), scale_factor=2, mode="bilinear"
    )
    assert torch.allclose(part[0, :, 1:14, 1:14], corner[0, :, 1:14, 1:14], atol=1e-2)
    middle = IMAGE[1, :, 4:12, 4:12].float()
    assert part[1].min() >= middle.min() - 60 and not torch.equal(part[1], IMAGE[1].float())


def test_a_slant_moves_rows_apart() -> None:
    column = torch.zeros(1, 1, 21, 21)
    column[..., 10] = 1
    slanted = warped(column, [at(shear=1)], shear=45.0)[0, 0]
    assert slanted[10].argmax() == 10 and abs(int(slanted[5].argmax()) - 10) == 5
    assert int(slanted[5].argmax()) - 10 == 10 - int(slanted[15].argmax())


def test_classes_are_never_mixed() -> None:
    classes = (IMAGE % 5).to(torch.uint8)[:, :1]
    config = DataConfig(**STRENGTHS)
    draws = [draw_augmentation(config, (0, number)) for number in range(2)]
    mixed = warp(classes, draws, config, nearest=False)
    kept = warp(classes, draws, config, nearest=True)
    assert kept.dtype == torch.uint8 and set(kept.unique().tolist()) <= set(range(5))
    assert not set(mixed.unique().tolist()) <= set(range(5))  # the control: bilinear mixes them


@pytest.mark.parametrize("which", [0, 1, 2])
def test_jitter_changes_brightness_contrast_and_saturation(which: int) -> None:
    values = torch.tensor([-0.4, 0.0, 0.4]).view(1, 3, 1, 1).repeat(1, 1, 2, 2)
    values[..., 0] *= 0.5
    chosen = [0.0, 0.0, 0.0]
    chosen[which] = 1.0
    made = color_jitter(values, [Augmentation(color_jitter=tuple(chosen))], 0.5)
    if which == 0:
        expected = values + 0.5
    elif which == 1:
        mean = values.mean()
        expected = mean + 1.5 * (values - mean)
    else:
        grey = (values * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
        expected = grey + 1.5 * (values - grey)
    assert torch.allclose(made, expected.clamp(-1, 1), atol=1e-6)
    assert torch.allclose(color_jitter(values, [Augmentation()], 0.5), values, atol=1e-6)
    many = color_jitter(values[:, :1], [Augmentation(color_jitter=(0.0, 0.0, 1.0))], 0.5)
    assert torch.equal(many, values[:, :1])  # grey has no saturation


def test_draws_are_spread_and_bounded() -> None:
    config = DataConfig(rotate90=True, flip_vertical=True)
    draws = [draw_augmentation(config, (3, number)) for number in range(500)]
    for values in (
        np.array([one.warp for one in draws]),
        np.array([one.color_jitter for one in draws]),
    ):
        assert np.abs(values).max() <= 1 and np.abs(values[:, 1:].mean(0)).max() < 0.1
    assert {one.rotations for one in draws} == {0, 1, 2, 3}
    assert 200 < sum(one.flip_vertical for one in draws) < 300
    assert draw_augmentation(config, (3, 7)) == draws[7]
