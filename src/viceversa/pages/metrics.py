"""What the numbers of a validation are called, and which way is better."""

from __future__ import annotations

LABELS = {
    "l1": "L1", "psnr": "PSNR", "ssim": "SSIM", "ms_ssim": "MS-SSIM", "lpips": "LPIPS",
    "fid": "FID", "kid": "KID", "swd": "Sliced Wasserstein distance", "content": "Content",
    "pixel_accuracy": "Pixel accuracy", "mean_iou": "Mean IoU",
}  # fmt: skip
LOWER = frozenset({"l1", "lpips", "fid", "kid", "swd"})


def label(name: str) -> str:
    """A metric's name for people; one that is not known here keeps its own."""
    stem, _, way = name.partition("/")  # such as swd/ab
    return f"{LABELS.get(stem, stem)}{f' ({way})' if way else ''}"


def better(name: str) -> str:
    """Which way is better; nothing of a metric that is not known here."""
    stem = name.partition("/")[0]
    if stem not in LABELS:
        return ""
    return "lower is better" if stem in LOWER else "higher is better"
