"""Test geometric and colour augmentation."""

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


def augmentation(
    zoom: float = 0, shift_x: float = 0, shift_y: float = 0, rotate: float = 0, shear: float = 0
) -> Augmentation:
    return Augmentation(warp=(zoom, shift_x, shift_y, rotate, shear))


def test_no_augmentation_leaves_the_image_unchanged() -> None:
    assert not has_warp(DataConfig())
    assert all(has_warp(DataConfig(**{name: value})) for name, value in STRENGTHS.items())
    unchanged = warped(IMAGE, [Augmentation(), Augmentation()], **STRENGTHS)
    assert torch.allclose(unchanged, IMAGE.float(), atol=1e-3)


def test_rotation_by_90_degrees() -> None:
    square = IMAGE.float()
    rotated = warped(square, [augmentation(rotate=1), augmentation(rotate=-1)], rotate=90.0)
    assert torch.allclose(rotated[0], torch.rot90(square[0], 1, (1, 2)), atol=1e-2)
    assert torch.allclose(rotated[1], torch.rot90(square[1], -1, (1, 2)), atol=1e-2)


def test_rotation_keeps_the_aspect_ratio_of_shapes() -> None:
    flat = torch.zeros(1, 1, 20, 40)
    flat[:, :, 8:12, 10:30] = 1  # 20 wide, 4 high
    rotated = warped(flat, [augmentation(rotate=1)], rotate=90.0)
    rows = (rotated[0, 0].amax(1) > 0.5).sum()
    columns = (rotated[0, 0, :, 10:30].amax(0) > 0.5).sum()  # beyond, the image is mirrored
    assert (int(rows), int(columns)) == (20, 4)


def test_shift_is_a_fraction_of_the_side() -> None:
    moved = warped(
        IMAGE, [augmentation(shift_x=1), augmentation(shift_y=-1)], shift=0.25
    )  # 4 of 16 pixels
    assert torch.allclose(moved[0, :, :, :12], IMAGE[0, :, :, 4:].float(), atol=1e-2)
    assert torch.allclose(moved[1, :, 4:], IMAGE[1, :, :12].float(), atol=1e-2)


def test_zoom_enlarges_a_part_inside_the_image() -> None:
    part = warped(
        IMAGE, [augmentation(zoom=1, shift_x=-1, shift_y=-1), augmentation(zoom=1)], zoom=0.5
    )
    corner = torch.nn.functional.interpolate(
        IMAGE[:1, :, :8, :8].float(), scale_factor=2, mode="bilinear"
    )
    assert torch.allclose(part[0, :, 1:14, 1:14], corner[0, :, 1:14, 1:14], atol=1e-2)
    middle = IMAGE[1, :, 4:12, 4:12].float()
    assert part[1].min() >= middle.min() - 60 and not torch.equal(part[1], IMAGE[1].float())


def test_shear_moves_rows() -> None:
    column = torch.zeros(1, 1, 21, 21)
    column[..., 10] = 1
    sheared = warped(column, [augmentation(shear=1)], shear=45.0)[0, 0]
    assert sheared[10].argmax() == 10 and abs(int(sheared[5].argmax()) - 10) == 5
    assert int(sheared[5].argmax()) - 10 == 10 - int(sheared[15].argmax())


def test_warped_label_maps_contain_only_classes() -> None:
    classes = (IMAGE % 5).to(torch.uint8)[:, :1]
    config = DataConfig(**STRENGTHS)
    draws = [draw_augmentation(config, (0, number)) for number in range(2)]
    mixed = warp(classes, draws, config, nearest=False)
    kept = warp(classes, draws, config, nearest=True)
    assert kept.dtype == torch.uint8 and set(kept.unique().tolist()) <= set(range(5))
    assert not set(mixed.unique().tolist()) <= set(range(5))  # negative control: bilinear


@pytest.mark.parametrize("which", [0, 1, 2])
def test_jitter_changes_brightness_contrast_and_saturation(which: int) -> None:
    values = torch.tensor([-0.4, 0.0, 0.4]).view(1, 3, 1, 1).repeat(1, 1, 2, 2)
    values[..., 0] *= 0.5
    chosen = [0.0, 0.0, 0.0]
    chosen[which] = 1.0
    jittered = color_jitter(values, [Augmentation(color_jitter=tuple(chosen))], 0.5)
    if which == 0:
        expected = values + 0.5
    elif which == 1:
        mean = values.mean()
        expected = mean + 1.5 * (values - mean)
    else:
        grey = (values * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
        expected = grey + 1.5 * (values - grey)
    assert torch.allclose(jittered, expected.clamp(-1, 1), atol=1e-6)
    assert torch.allclose(color_jitter(values, [Augmentation()], 0.5), values, atol=1e-6)
    single = color_jitter(values[:, :1], [Augmentation(color_jitter=(0.0, 0.0, 1.0))], 0.5)
    assert torch.equal(single, values[:, :1])  # one channel has no saturation


def test_distribution_of_random_augmentations() -> None:
    config = DataConfig(rotate90=True, flip_vertical=True)
    draws = [draw_augmentation(config, (3, number)) for number in range(500)]
    for values in (
        np.array([draw.warp for draw in draws]),
        np.array([draw.color_jitter for draw in draws]),
    ):
        assert np.abs(values).max() <= 1 and np.abs(values[:, 1:].mean(0)).max() < 0.1
    assert {draw.rotations for draw in draws} == {0, 1, 2, 3}
    assert 200 < sum(draw.flip_vertical for draw in draws) < 300
    assert draw_augmentation(config, (3, 7)) == draws[7]
