"""Table of metrics: labels, requirements, and whether lower or higher values are better.

`METRICS` is a plain dict, to which a module given to `--import` may add:

    METRICS["mse"] = Metric("MSE", "lower", "pair", lambda: mse)

Validation, evaluation, the options that name metrics, and the pages all read it. It imports no
torch: the functions are loaded on first use.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from .limits import KID_IMAGES, LPIPS_SIDE, MS_SSIM_SIDE, SSIM_SIDE, SWD_SIDE

Better = Literal["lower", "higher", ""]
Compares = Literal["pair", "source", "cycle", "sets", "labels", ""]
UNIT_METRIC = "l1_in_unit"
"""L1 in the unit of the values in the files, reported with `l1` if the domain has a unit."""
SCALED = "of values in [-1, 1]"
DIRECTIONS = {"ab": "A to B", "ba": "B to A"}


@dataclass(frozen=True)
class Metric:
    """A metric.

    Args:
        label: Name in pages and charts.
        better: Which values are better; "" if neither is.
        compares: The inputs of the function. Images are (n, c, h, w) in [-1, 1]; `weight`,
            (n, 1 or c, h, w) or None, is 0 where an image has no data.

            - `pair`: `f(output, target, weight)` returns a value per image (n,).
            - `source`: `f(source, output, weight)` returns a value per image (n,).
            - `cycle`: `f(source, reconstruction, weight)` returns a value per image (n,).
            - `sets`: `f(outputs, targets)` returns one value, or a value and its deviation.
            - `labels`: `f(confusion)`, the (classes, classes) matrix of pixel counts, returns one
              value.
            - "": none; it is reported with another metric.
        load: Returns the function.
        network: Feature network of the metric. A function of pairs is called as `f(network, output,
            target)` on RGB images, a function of sets on features (n, d).
        default: Whether validation includes it without `validate.extra_metrics`: validation with
            pairs if it compares pairs, else validation of unpaired methods.
        smallest_side: Smallest height and width of images in pixels.
        smallest_count: Smallest number of images in each set.
        reliable: Number of images in each set from which on values are reliable, and what is wrong
            with values of fewer.
        unit: Unit of its values; "" if they have none.
    """

    label: str
    better: Better
    compares: Compares
    load: Callable[[], Callable[..., Any]]
    network: str = ""
    default: bool = False
    smallest_side: int = 1
    smallest_count: int = 1
    reliable: tuple[int, str] = (0, "")
    unit: str = ""


def _module(name: str) -> ModuleType:
    return importlib.import_module(f".{name}", __package__)


METRICS: dict[str, Metric] = {
    "l1": Metric("L1", "lower", "pair", lambda: _module("paired").l1, default=True, unit=SCALED),
    UNIT_METRIC: Metric("L1 in the unit of the files", "lower", "", lambda: _module("paired").l1),
    "psnr": Metric(
        "PSNR", "higher", "pair", lambda: _module("paired").psnr, default=True, unit="dB"
    ),
    "ssim": Metric(
        "SSIM",
        "higher",
        "pair",
        lambda: _module("paired").ssim,
        default=True,
        smallest_side=SSIM_SIDE,
    ),
    "ms_ssim": Metric(
        "MS-SSIM", "higher", "pair", lambda: _module("paired").ms_ssim, smallest_side=MS_SSIM_SIDE
    ),
    "lpips": Metric(
        "LPIPS",
        "lower",
        "pair",
        lambda: _module("perceptual").lpips,
        "alexnet",
        smallest_side=LPIPS_SIDE,
    ),
    "cycle": Metric(
        "Cycle error", "lower", "cycle", lambda: _module("paired").l1, default=True, unit=SCALED
    ),
    "edge_correlation": Metric(
        "Edge correlation",
        "higher",
        "source",
        lambda: _module("edges").edge_correlation,
        default=True,
    ),
    "swd": Metric(
        "Sliced Wasserstein distance",
        "lower",
        "sets",
        lambda: _module("sliced").swd,
        default=True,
        smallest_side=SWD_SIDE,
    ),
    "fid": Metric(
        "FID",
        "lower",
        "sets",
        lambda: _module("distribution").fid,
        "inception",
        smallest_count=2,
        reliable=(2048, "higher than that of more images; compare it only at equal numbers"),
    ),
    "kid": Metric(
        "KID",
        "lower",
        "sets",
        lambda: _module("distribution").kid,
        "inception",
        smallest_count=KID_IMAGES,
        reliable=(500, "its subsets overlap, so that their deviation is too small"),
    ),
    "kid_deviation": Metric(
        "KID, deviation between subsets", "", "", lambda: _module("distribution").kid
    ),
    "pixel_accuracy": Metric(
        "Pixel accuracy", "higher", "labels", lambda: _module("labels").pixel_accuracy
    ),
    "mean_iou": Metric("Mean IoU", "higher", "labels", lambda: _module("labels").mean_iou),
}
"""Name -> metric: the table of all metrics."""


def selectable() -> tuple[str, ...]:
    """Return the metrics that can be requested by name."""
    return tuple(name for name, one in METRICS.items() if one.compares not in ("labels", ""))


def default_metrics(pairs: bool) -> tuple[str, ...]:
    """Return the metrics that validation includes by default, with or without pairs."""
    return tuple(
        name for name, one in METRICS.items() if one.default and (one.compares == "pair") == pairs
    )


def extra_metrics() -> tuple[str, ...]:
    """Return the metrics that validation includes on request."""
    return tuple(name for name in selectable() if not METRICS[name].default)


def best_metrics() -> tuple[str, ...]:
    """Return the metrics that can select the best model: measures of quality.

    A metric that compares an output with its own source is none: an unchanged source is the best.
    """
    return tuple(name for name in selectable() if METRICS[name].compares != "source")


def needs_pairs(name: str) -> bool:
    """Return whether a metric compares outputs with their targets."""
    return METRICS[name].compares == "pair"


def depends_on_range(name: str) -> bool:
    """Return whether a metric compares values that are scaled by the range of their domain."""
    scaled = ("pair", "cycle", "sets")
    return name in METRICS and METRICS[name].compares in scaled and not METRICS[name].network


def split_name(name: str) -> tuple[str, str]:
    """Return metric and direction of a name in the log: `swd_ab` is ("swd", "ab").

    The direction is "" if the name has none, or if the metric is unknown.
    """
    metric, _, direction = name.rpartition("_")
    known = metric in METRICS and direction in DIRECTIONS
    return (metric, direction) if known else (name, "")


def label(name: str) -> str:
    """Return the label of a name in the log, with its direction; unknown names stay as they are."""
    metric, direction = split_name(name)
    text = METRICS[metric].label if metric in METRICS else metric
    return f"{text} ({DIRECTIONS[direction]})" if direction else text


def unit_of(name: str) -> str:
    """Return the unit of the values of a name in the log, or ""."""
    metric, _ = split_name(name)
    return METRICS[metric].unit if metric in METRICS else ""


def higher_is_better(name: str) -> bool:
    """Return whether higher values of a name in the log are better; of unknown ones lower are."""
    metric, _ = split_name(name)
    return metric in METRICS and METRICS[metric].better == "higher"


def better(name: str) -> str:
    """Return "higher is better", "lower is better", or "" if neither is or the name is unknown."""
    metric, _ = split_name(name)
    which = METRICS[metric].better if metric in METRICS else ""
    return which and f"{which} is better"


def is_unreliable(name: str, images: int) -> bool:
    """Return whether a value of a metric is of too few images; 0 images: the number is unknown."""
    metric, _ = split_name(name)
    return metric in METRICS and 0 < images < METRICS[metric].reliable[0]


def few_images(name: str, images: int) -> str:
    """Return the mark of a value that is of too few images, or ""."""
    return f"few images: {images:,}" if is_unreliable(name, images) else ""
