"""Test patch scores: their values from 0 to 1, the patch map and the figure."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from viceversa.errors import UserError
from viceversa.images.domain import Domain, DomainConfig
from viceversa.inference.patch_scores import (
    PatchScorer,
    PatchScores,
    Row,
    draw_figure,
    draw_patch_map,
    on_common_scale,
    to_unit_range,
)
from viceversa.inference.patch_scores.patch_map import COLOURS, STOPS, to_colours, upsample
from viceversa.inference.patch_scores.scores import MEANINGS
from viceversa.losses import GAN_LOSSES
from viceversa.networks.patch_grid import PatchGrid
from viceversa.networks.patchgan import PatchGAN

GREY = Domain(DomainConfig(channels=1), "uint8", (0.0,), (255.0,))


@pytest.mark.parametrize(
    ("gan_loss", "scores", "expected"),
    [
        ("bce", [0.0, math.log(3), -math.log(4)], [0.5, 0.75, 0.2]),
        ("lsgan", [-0.2, 0.3, 1.7], [0.0, 0.3, 1.0]),
        ("hinge", [-1.0, 0.0, 0.5, 3.0], [0.0, 0.5, 0.75, 1.0]),
        ("wgan-gp", [-30.0, -10.0, 10.0, 50.0], [0.0, 0.25, 0.5, 1.0]),
        ("wgan-gp", [7.0, 7.0], [0.5, 0.5]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_unit_range_of_known_scores(
    gan_loss: str, scores: list[float], expected: list[float], dtype: Any
) -> None:
    values = to_unit_range(torch.tensor(scores, dtype=dtype), gan_loss)
    assert values.dtype == torch.float32
    assert values.tolist() == pytest.approx(expected, abs=1e-6)


def test_given_ends_apply_to_unbounded_scores_only() -> None:
    scores = torch.tensor([-5.0, 0.0, 30.0])
    assert to_unit_range(scores, "wgan-gp", (-10.0, 10.0)).tolist() == [0.25, 0.5, 1.0]
    assert to_unit_range(scores, "lsgan", (-10.0, 10.0)).tolist() == [
        0.0,
        0.0,
        1.0,
    ]  # fixed range


def test_every_objective_describes_its_values() -> None:
    assert MEANINGS.keys() == GAN_LOSSES.keys()
    for gan_loss in GAN_LOSSES:
        assert ("no probability" in MEANINGS[gan_loss]) == (gan_loss in ("hinge", "wgan-gp"))


def scores_of(scores: list[list[float]], gan_loss: str = "bce", side: int = 8) -> PatchScores:
    """Return the scores of a square image, of adjacent patches that do not overlap."""
    stride = side // len(scores)
    found = PatchGrid(side, side, len(scores), len(scores[0]), stride, stride, 0, 0)
    return PatchScores(torch.tensor(scores), found, gan_loss)


def test_summary_of_patch_scores() -> None:
    one = scores_of([[-2.0, 0.0], [1.0, 3.0]])
    assert one.mean_score == 0.5 and one.mean_value == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert one.real_fraction == 0.5  # undecided is not real
    assert (one.lowest, one.highest) == ((0, 0), (1, 1)) and not one.is_single
    critic = scores_of([[-2.0, 0.0], [1.0, 2.0]], "wgan-gp")
    assert critic.real_fraction is None and critic.mean_value == pytest.approx((0.25 + 2) / 4)
    single = scores_of([[1.0]])
    assert single.is_single and single.mean_value == pytest.approx(float(single.values))


def test_unbounded_scores_are_compared_on_a_common_scale() -> None:
    low, high = scores_of([[0.0, 1.0]], "wgan-gp"), scores_of([[3.0, 4.0]], "wgan-gp")
    assert torch.equal(low.values, high.values)  # negative control: each on its own scale
    fake, real = on_common_scale(low, high)
    assert fake.values.tolist() == [[0.0, 0.25]] and real.values.tolist() == [[0.75, 1.0]]


# -- positions in the patch map


def averaging_network(layers: int = 3, padding: Any = "one") -> PatchGAN:
    """Return a PatchGAN of averaging layers: its scores are highest at bright spots."""
    config = PatchGAN.Config(width=1, layers=layers, norm="none", padding=padding)
    network = PatchGAN(config, 1)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data.zero_()
            layer.weight.data[:, :, 1:3, 1:3] = 0.25 / layer.in_channels
            if layer.bias is not None:
                layer.bias.data.zero_()
    return network


@pytest.mark.parametrize("padding", ["one", "same"])
@pytest.mark.parametrize("times", [1, 2])
def test_peak_of_the_map_is_at_the_bright_spot(padding: Any, times: int) -> None:
    network = averaging_network(padding=padding)
    scorer = PatchScorer(network, GREY, None, "hinge")
    found = network.patch_grid(128, 96)
    naive_misses = 0
    for i, j in ((1, 1), (1, found.columns - 3), (found.rows - 3, 2), (5, 6)):
        y, x = (round(at) for at in found.centre(i, j))
        image = torch.zeros(1, 128, 96)
        image[:, y - 2 : y + 3, x - 2 : x + 3] = 1.0
        one = scorer(image)
        lit = upsample(one.values, one.grid, 128 * times, 96 * times)
        peak = np.unravel_index(lit.argmax(), lit.shape)
        assert abs(peak[0] / times - y) <= 2 and abs(peak[1] / times - x) <= 2
        # Negative control: the map resized to the image, aligned at the corners.
        naive = (i + 0.5) * 128 / found.rows, (j + 0.5) * 96 / found.columns
        naive_misses += abs(naive[0] - y) > 2 or abs(naive[1] - x) > 2
    assert naive_misses >= 2


def test_map_is_linear_between_patch_centres_and_constant_outside() -> None:
    one = scores_of([[0.0, 1.0], [0.0, 1.0]], "lsgan")  # centres at 1.5 and 5.5
    values = upsample(one.values, one.grid, 8, 8)
    assert values[0].tolist() == [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]
    assert (values == values[0]).all()
    turned = upsample(one.values.T, one.grid, 8, 8)
    assert (turned == values.T).all()
    small = upsample(one.values, one.grid, 4, 4)  # pixel centres at 0.5, 2.5, 4.5, 6.5
    assert small[0].tolist() == [0, 0.25, 0.75, 1]


def test_colours_go_from_orange_over_white_to_blue() -> None:
    assert [tuple(c) for c in to_colours(np.array(STOPS)).tolist()] == list(COLOURS)
    fake, undecided, real = to_colours(np.array([0.0, 0.5, 1.0])).astype(int)
    assert fake[0] > fake[2] + 100 and real[2] > real[0] + 100 and np.ptp(undecided) == 0
    # Lightness increases up to white, so the map can be read without colour vision.
    between = to_colours(np.linspace(0, 0.5, 20)).astype(int) @ (0.299, 0.587, 0.114)
    assert (np.diff(between) > 0).all()


def test_a_single_score_is_one_colour() -> None:
    image = np.full((8, 8, 3), 200, dtype=np.uint8)
    assert len(np.unique(draw_patch_map(image, scores_of([[1.0]])).reshape(-1, 3), axis=0)) == 1
    assert (
        len(np.unique(draw_patch_map(image, scores_of([[1.0, -1.0]])).reshape(-1, 3), axis=0)) > 1
    )


def test_image_is_visible_through_the_map() -> None:
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    image[:, 4:] = 255
    drawn = draw_patch_map(image, scores_of([[0.0]])).astype(int)
    assert drawn[0, 7].sum() > drawn[0, 0].sum() + 150


# -- the figure


@pytest.mark.slow
@pytest.mark.parametrize("size", [(8, 8), (300, 40), (40, 300), (600, 700), (256, 256)])
@pytest.mark.parametrize("whole", [False, True])
def test_figure_of_any_image_size(size: tuple[int, int], whole: bool) -> None:
    config = PatchGAN.Config(width=1, layers=1, norm="none", whole_image=whole)
    scorer = PatchScorer(PatchGAN(config, 3), Domain(), None, "lsgan")
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    row = Row("generated", image, scorer(image))
    alone = draw_figure([row]).pixels
    both = draw_figure([row, Row("real", -image, scorer(-image))]).pixels
    assert alone.dtype == np.uint8 and alone.shape[2] == 3 and both.shape[0] > alone.shape[0]
    more = draw_figure([row], image).pixels
    assert more.shape[1] > alone.shape[1] and more.max() == 255 and more.min() < 64


def test_figure_contains_the_image_and_the_map_pixel_by_pixel() -> None:
    config = PatchGAN.Config(width=1, layers=2, norm="none")
    scorer = PatchScorer(PatchGAN(config, 3), Domain(), None, "lsgan")
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    image = torch.from_numpy(pixels).movedim(-1, 0) / 127.5 - 1
    one = scorer(image)
    sheet, panels = draw_figure([Row("generated", image, one)])
    assert (sheet[31:287, 14:270] == pixels).all()  # below a margin and a line of text
    drawn = draw_patch_map(pixels, one)
    differs = (sheet[31:287, 284:540] != drawn).any(axis=2)
    assert 0 < differs.mean() < 0.1  # only the outlines of two patches
    assert [panel.box for panel in panels[:2]] == [(14, 31, 270, 287), (284, 31, 540, 287)]
    assert panels[0].title == "generated" and panels[1].title == "patch map: generated"
    assert "of patches classified as real" in panels[1].note and len(panels) == 4


def test_overlap_of_patches_is_explained_where_it_is_drawn() -> None:
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for whole in (False, True):  # a single score has no patches
        config = PatchGAN.Config(width=1, layers=1, norm="none", whole_image=whole)
        scorer = PatchScorer(PatchGAN(config, 3), Domain(), None, "lsgan")
        rows = [Row(name, image, scorer(image)) for name in ("generated", "real")]
        with_source, without = draw_figure(rows, image), draw_figure(rows)
        notes = [one.note for one in with_source.panels if one.title == "overlap of patches"]
        assert ["a separate score" in note for note in notes] == ([] if whole else [True])
        titles = [one.title for one in (*without.panels, *draw_figure(rows[:1], image).panels)]
        assert "overlap of patches" not in titles


# -- invalid images


def test_invalid_images_of_the_domain_are_refused() -> None:
    alone = PatchScorer(averaging_network(1), GREY, None, "bce")
    grey = torch.zeros(1, 16, 16)
    for image in (torch.zeros(3, 16, 16), grey[None], grey.to(torch.uint8)):
        with pytest.raises(UserError, match=r"the image is \(1, h, w\) floats"):
            alone(image)
    with pytest.raises(UserError, match=r"16x4 pixels cannot be scored.*at least 6x6"):
        alone(torch.zeros(1, 4, 16))
    config = PatchGAN.Config(width=2, layers=1)
    pair = PatchScorer(PatchGAN(config, 2), GREY, GREY, "bce")
    with pytest.raises(UserError, match="takes pairs"):
        pair(grey)
    with pytest.raises(UserError, match=r"the source is \(1, h, w\)"):
        pair(grey, torch.zeros(3, 16, 16))
    with pytest.raises(UserError, match="source has 16x18 pixels and the image 16x16"):
        pair(grey, torch.zeros(1, 18, 16))
    assert pair(grey, grey).scores.shape == (6, 6)


def test_normalization_over_one_pixel_is_refused() -> None:
    config = PatchGAN.Config(width=2, layers=1, padding="same")
    scorer = PatchScorer(PatchGAN(config, 1), GREY, None, "bce")
    with pytest.raises(UserError, match=r"1x1 pixels cannot be scored: instance norm needs"):
        scorer(torch.zeros(1, 1, 1))


def test_scoring_is_deterministic_and_does_not_change_the_network() -> None:
    network = PatchGAN(PatchGAN.Config(width=2, layers=1, norm="batch"), 1).train()
    scorer = PatchScorer(network, GREY, None, "bce")
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    image = torch.rand(1, 32, 32) * 2 - 1
    one, two = scorer(image), scorer(image)
    assert torch.equal(one.scores, two.scores) and not one.scores.requires_grad
    assert all(torch.equal(kept[name], value) for name, value in network.state_dict().items())
    with torch.no_grad():  # batch norm statistics of this image, as in training with batch size 1
        naive = network.train()(image[None])[0][0, 0]
    torch.testing.assert_close(one.scores, naive)
