"""Settings of what is looked at while a run trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import UserError

Extra = Literal["ms_ssim", "lpips", "fid", "kid"]
Chosen = Literal["auto", "l1", "psnr", "ssim", "ms_ssim", "lpips", "swd", "fid", "kid", "cycle"]
PAIRS_ONLY = ("l1", "psnr", "ssim", "ms_ssim", "lpips")


@dataclass(frozen=True)
class ValidateConfig:
    every: int = 2000
    """Images between two validations on the held-out split; 0 never validates."""
    images: int = 100
    """Held-out images to validate on, at most: the first ones."""
    extra_metrics: tuple[Extra, ...] = ()
    """More metrics, which cost time or need a feature network: ms_ssim, lpips, fid, kid."""
    best_metric: Chosen = "auto"
    """The metric by which the best is chosen; auto is l1 for pairs, else swd."""
    pairs: bool = False
    """Validate a method without pairs on images of the same name: adds l1, psnr and ssim."""
    patience: int = 0
    """Validations without a better one after which training ends; 0 goes to the last epoch."""
    features: str = ""
    """A folder with the feature networks; empty is the one of viceversa features."""
    health: int = 100
    """Images between two looks at the health of the run; 0 never looks."""

    def __post_init__(self) -> None:
        for name in ("every", "patience", "health"):
            if getattr(self, name) < 0:
                raise UserError(f"validate.{name} must be at least 0, not {getattr(self, name)}")
        if self.images < 1:
            raise UserError(f"validate.images must be at least 1, not {self.images}")
        if (
            self.best_metric in ("ms_ssim", "lpips", "fid", "kid")
            and self.best_metric not in self.extra_metrics
        ):
            raise UserError(
                f"validate.best_metric {self.best_metric} is not among the metrics; name it in "
                "validate.extra_metrics"
            )
        if self.pairs and not self.every:
            raise UserError(
                "validate.pairs has no effect with validate.every 0", option="validate.pairs"
            )
        if self.patience and not self.every:
            raise UserError("validate.patience counts validations; validate.every is 0")

    def chosen(self, paired: bool) -> str:
        """The metric that the best is chosen by. Raises UserError where one can't be had."""
        of_pairs = [name for name in self.extra_metrics if name in PAIRS_ONLY]
        if of_pairs and not (paired or self.pairs):
            raise UserError(
                f"validate.extra_metrics {of_pairs[0]} needs pairs, and this method trains "
                "without; set validate.pairs if the images of val have partners, or name fid or "
                "kid",
                option="validate.extra_metrics",
            )
        if self.best_metric == "auto":
            return "l1" if paired else "swd"
        if paired and self.best_metric == "cycle":
            raise UserError(
                "validate.best_metric cycle needs a method of both directions; name l1 or kid"
            )
        if not (paired or self.pairs) and self.best_metric in PAIRS_ONLY:
            raise UserError(
                f"validate.best_metric {self.best_metric} needs pairs, and this method trains "
                "without; set validate.pairs if the images of val have partners, or name swd, "
                "cycle, fid or kid",
                option="validate.best_metric",
            )
        return self.best_metric
