"""How near made images are to real ones: functions of tensors, and nothing else of ours.

Images are (n, c, h, w) in [-1, 1]; a result for each image is (n,).
"""

from .content import content
from .distribution import KID_LEAST, fid, kid
from .intervals import bootstrap
from .labels import confusion, iou, mean_iou, pixel_accuracy
from .paired import MS_SSIM_LEAST, SSIM_LEAST, l1, ms_ssim, psnr, ssim
from .perceptual import lpips
from .sliced import SWD_LEAST, swd

__all__ = [
    "KID_LEAST", "MS_SSIM_LEAST", "SSIM_LEAST", "SWD_LEAST", "bootstrap", "confusion", "content",
    "fid", "iou", "kid", "l1", "lpips", "mean_iou", "ms_ssim", "pixel_accuracy", "psnr", "ssim",
    "swd",
]  # fmt: skip
