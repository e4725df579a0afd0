"""What metrics are called, and which way each is better: one truth, for the pages too. No torch."""

from __future__ import annotations

from typing import NamedTuple

LABELS = {
    "l1": "L1", "psnr": "PSNR", "ssim": "SSIM", "ms_ssim": "MS-SSIM", "lpips": "LPIPS",
    "cycle": "Cycle error", "content": "Content", "swd": "Sliced Wasserstein distance",
    "fid": "FID", "kid": "KID", "kid_deviation": "KID, deviation between subsets",
    "pixel_accuracy": "Pixel accuracy", "mean_iou": "Mean IoU",
}  # fmt: skip
HIGHER = frozenset({"psnr", "ssim", "ms_ssim", "content", "pixel_accuracy", "mean_iou"})
NEITHER = frozenset({"kid_deviation"})  # tells how far to trust another number


class Few(NamedTuple):
    """How many images a metric of two sets needs on each side, and what fewer mean."""

    images: int
    why: str


FEW_IMAGES = {
    "fid": Few(2048, "higher than that of more images; compare it only at equal numbers"),
    "kid": Few(500, "its subsets overlap, so that their deviation is too small"),
}
WAYS = {"ab": "A to B", "ba": "B to A"}


def of_few_images(name: str, images: int) -> bool:
    """Whether a metric, such as `fid_ab`, is of too few images to be relied on; 0: not known."""
    few = FEW_IMAGES.get(parted(name)[0])
    return few is not None and 0 < images < few.images


def few_images(name: str, images: int) -> str:
    """Return the mark of a value that is of too few images, or an empty text."""
    return f"few images: {images:,}" if of_few_images(name, images) else ""


def parted(name: str) -> tuple[str, str]:
    """(metric, way) of a name in the log: `swd_ab` is ("swd", "ab"), `swd` is ("swd", "")."""
    metric, _, way = name.rpartition("_")
    return (metric, way) if metric in LABELS and way in WAYS else (name, "")


def label(name: str) -> str:
    """A metric's name for people, with its way; one that is not known here keeps its own."""
    metric, way = parted(name)
    return f"{LABELS.get(metric, metric)}{f' ({WAYS[way]})' if way else ''}"


def better(name: str) -> str:
    """Which way is better; nothing of a metric that is not known here, or of which neither is."""
    metric, _ = parted(name)
    if metric not in LABELS or metric in NEITHER:
        return ""
    return "higher is better" if metric in HIGHER else "lower is better"
