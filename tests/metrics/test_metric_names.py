"""What metrics are called, and that what is said to be better is."""

from __future__ import annotations

import pytest
import torch

from viceversa.evaluation.accumulator import EACH_PAIR
from viceversa.evaluation.options import METRICS
from viceversa.metrics.distribution import fid, kid
from viceversa.metrics.edges import content
from viceversa.metrics.labels import confusion, mean_iou, pixel_accuracy
from viceversa.metrics.registry import (
    HIGHER,
    LABELS,
    NEITHER,
    better,
    few_images,
    label,
    of_few_images,
    parted,
)
from viceversa.metrics.sliced import swd
from viceversa.training.validation import CHEAP


def test_every_metric_has_a_name_of_its_own() -> None:
    wanted = {*METRICS, *CHEAP[True], *CHEAP[False], *EACH_PAIR}
    assert wanted <= LABELS.keys() and len(set(LABELS.values())) == len(LABELS)
    assert LABELS.keys() >= HIGHER | NEITHER and not HIGHER & NEITHER


@pytest.mark.parametrize(("name", "called", "which"), [
    ("l1", "L1", "lower is better"),
    ("psnr", "PSNR", "higher is better"),
    ("cycle", "Cycle error", "lower is better"),
    ("cycle_ba", "Cycle error (B to A)", "lower is better"),
    ("swd_ab", "Sliced Wasserstein distance (A to B)", "lower is better"),
    ("content_ab", "Content (A to B)", "higher is better"),
    ("ms_ssim", "MS-SSIM", "higher is better"),
    ("kid_deviation", "KID, deviation between subsets", ""),
    ("kid_deviation_ab", "KID, deviation between subsets (A to B)", ""),
    ("new", "new", ""), ("new_ab", "new_ab", ""), ("_ab", "_ab", ""), ("", "", ""),
])  # fmt: skip
def test_names_for_people(name: str, called: str, which: str) -> None:
    assert (label(name), better(name)) == (called, which)


def test_a_name_is_parted_only_where_both_parts_are_known() -> None:
    assert parted("swd_ab") == ("swd", "ab") and parted("ms_ssim_ba") == ("ms_ssim", "ba")
    assert parted("swd") == ("swd", "") and parted("swd_aa") == ("swd_aa", "")
    assert parted("new_ab") == ("new_ab", "")


def test_what_is_nearer_the_truth_is_better() -> None:
    draw = torch.Generator().manual_seed(0)
    truth = torch.rand(1, 3, 176, 176, generator=draw) * 2 - 1
    noise = torch.randn(truth.shape, generator=draw)
    near, far = (truth + 0.05 * noise).clamp(-1, 1), (truth + noise).clamp(-1, 1)
    for name, measure in EACH_PAIR.items():
        said = better(name) == "higher is better"
        assert bool(measure(near, truth) > measure(far, truth)) is said, name
    assert bool(content(truth, near) > content(truth, far)) is ("content" in HIGHER)


def test_sets_that_are_nearer_are_better() -> None:
    draw = torch.Generator().manual_seed(0)
    truth, other = torch.randn(2, 60, 8, generator=draw)
    for name, measure in {"fid": fid, "kid": lambda *sets: kid(*sets, 50)[0]}.items():
        near, far = (float(measure(other + shift, truth)) for shift in (0.1, 3.0))
        assert (near > far) is (better(name) == "higher is better"), name
    images = torch.rand(2, 4, 3, 32, 32, generator=draw)
    near, far = swd(images[0], images[1]), swd(0.1 * images[0], images[1])
    assert (near > far) is ("swd" in HIGHER)
    classes = torch.tensor([[[0, 0], [1, 1]]])
    right, wrong = (confusion(made, classes, 2) for made in (classes, 1 - classes))
    for name, of in {"pixel_accuracy": pixel_accuracy, "mean_iou": mean_iou}.items():
        assert (float(of(right)) > float(of(wrong))) is (name in HIGHER)


@pytest.mark.parametrize(("name", "images", "mark"), [
    ("fid", 2, "few images: 2"), ("fid", 2047, "few images: 2,047"), ("fid", 2048, ""),
    ("fid_ba", 10, "few images: 10"),
    ("kid", 50, "few images: 50"), ("kid_ab", 499, "few images: 499"),
    ("kid", 500, ""), ("kid_deviation", 50, ""), ("l1", 1, ""), ("swd_ab", 1, ""), ("new", 1, ""),
    ("fid", 0, ""),
])  # fmt: skip
def test_metrics_of_few_images_are_marked(name: str, images: int, mark: str) -> None:
    assert few_images(name, images) == mark and of_few_images(name, images) is bool(mark)
