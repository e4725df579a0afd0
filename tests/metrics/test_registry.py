"""Test the table of metrics: names, labels, and which direction is better."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import torch

from viceversa.config.validate import ValidateConfig
from viceversa.metrics.distribution import fid, kid
from viceversa.metrics.edges import edge_correlation
from viceversa.metrics.labels import confusion
from viceversa.metrics.registry import (
    METRICS,
    best_metrics,
    better,
    default_metrics,
    extra_metrics,
    few_images,
    higher_is_better,
    is_unreliable,
    label,
    needs_pairs,
    selectable,
    split_name,
)
from viceversa.metrics.sliced import swd


def test_labels_are_unique() -> None:
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)


def test_default_and_optional_metrics() -> None:
    assert default_metrics(pairs=True) == ("l1", "psnr", "ssim")
    assert default_metrics(pairs=False) == ("cycle", "edge_correlation", "swd")
    assert extra_metrics() == ("ms_ssim", "lpips", "fid", "kid")
    assert set(best_metrics()) == set(selectable()) - {"edge_correlation"}
    paired = ["l1", "psnr", "ssim", "ms_ssim", "lpips"]
    assert [name for name in METRICS if needs_pairs(name)] == paired


def test_help_of_the_options_names_every_metric() -> None:
    text = inspect.getsource(ValidateConfig)
    for option, names in (("extra_metrics", extra_metrics()), ("pairs", default_metrics(True))):
        help_text = text.split(f"    {option}: ")[1].split('"""')[1]
        assert all(name in help_text for name in names), option


def test_table_loads_without_torch() -> None:
    code = "import sys, viceversa.metrics.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "text", "direction"),
    [
        ("l1", "L1", "lower is better"),
        ("psnr", "PSNR", "higher is better"),
        ("cycle", "Cycle error", "lower is better"),
        ("cycle_ba", "Cycle error (B to A)", "lower is better"),
        ("swd_ab", "Sliced Wasserstein distance (A to B)", "lower is better"),
        ("edge_correlation_ab", "Edge correlation (A to B)", "higher is better"),
        ("ms_ssim", "MS-SSIM", "higher is better"),
        ("kid_deviation", "KID, deviation between subsets", ""),
        ("kid_deviation_ab", "KID, deviation between subsets (A to B)", ""),
        ("new", "new", ""),
        ("new_ab", "new_ab", ""),
        ("_ab", "_ab", ""),
        ("", "", ""),
    ],
)
def test_labels_in_pages(name: str, text: str, direction: str) -> None:
    assert (label(name), better(name)) == (text, direction)
    assert higher_is_better(name) is (direction == "higher is better")


def test_name_is_split_only_if_metric_and_direction_are_known() -> None:
    assert split_name("swd_ab") == ("swd", "ab") and split_name("ms_ssim_ba") == ("ms_ssim", "ba")
    assert split_name("swd") == ("swd", "") and split_name("swd_aa") == ("swd_aa", "")
    assert split_name("new_ab") == ("new_ab", "")


def test_better_direction_of_metrics_of_pairs() -> None:
    draw = torch.Generator().manual_seed(0)
    truth = torch.rand(1, 3, 176, 176, generator=draw) * 2 - 1
    noise = torch.randn(truth.shape, generator=draw)
    near, far = (truth + 0.05 * noise).clamp(-1, 1), (truth + noise).clamp(-1, 1)
    for name, metric in METRICS.items():
        if metric.compares == "pair" and not metric.network:
            measure = metric.load()
            assert bool(measure(near, truth) > measure(far, truth)) is higher_is_better(name), name
    correlated = edge_correlation(truth, near) > edge_correlation(truth, far)
    assert bool(correlated) is higher_is_better("edge_correlation")


@pytest.mark.slow
def test_better_direction_of_metrics_of_sets() -> None:
    draw = torch.Generator().manual_seed(0)
    truth, other = torch.randn(2, 60, 8, generator=draw)
    for name, measure in {"fid": fid, "kid": lambda *sets: kid(*sets, 50)[0]}.items():
        near, far = (float(measure(other + shift, truth)) for shift in (0.1, 3.0))
        assert (near > far) is higher_is_better(name), name
    images = torch.rand(2, 4, 3, 32, 32, generator=draw)
    near, far = swd(images[0], images[1]), swd(0.1 * images[0], images[1])
    assert (near > far) is higher_is_better("swd")
    classes = torch.tensor([[[0, 0], [1, 1]]])
    correct, wrong = (confusion(predicted, classes, 2) for predicted in (classes, 1 - classes))
    for name in ("pixel_accuracy", "mean_iou"):
        measure = METRICS[name].load()
        assert (float(measure(correct)) > float(measure(wrong))) is higher_is_better(name)


@pytest.mark.parametrize(
    ("name", "images", "mark"),
    [
        ("fid", 2, "few images: 2"),
        ("fid", 2047, "few images: 2,047"),
        ("fid", 2048, ""),
        ("fid_ba", 10, "few images: 10"),
        ("kid", 50, "few images: 50"),
        ("kid_ab", 499, "few images: 499"),
        ("kid", 500, ""),
        ("kid_deviation", 50, ""),
        ("l1", 1, ""),
        ("swd_ab", 1, ""),
        ("new", 1, ""),
        ("fid", 0, ""),
    ],
)
def test_metrics_of_few_images_are_marked(name: str, images: int, mark: str) -> None:
    assert few_images(name, images) == mark and is_unreliable(name, images) is bool(mark)
