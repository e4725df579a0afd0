"""Settings of validation and diagnostics."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UserError
from ..fields import number
from ..metrics.registry import best_metrics, extra_metrics, needs_pairs


@dataclass(frozen=True)
class ValidateConfig:
    every: int = number(2000, min=0)
    """Images between two validations on the held-out split; 0: no validation."""
    images: int = number(100, min=1)
    """Maximum number of held-out images to validate on: the first ones."""
    extra_metrics: tuple[str, ...] = ()
    """Slower metrics, or metrics that need a feature network: ms_ssim, lpips, fid, kid."""
    best_metric: str = "auto"
    """Metric that selects the best model; auto: l1 for pairs, else swd."""
    pairs: bool = False
    """Validate an unpaired method on images of the same name: adds l1, psnr and ssim."""
    patience: int = number(0, min=0)
    """Early stopping: validations without improvement before training ends; 0: never."""
    features: str = ""
    """Folder of the feature networks (default: that of viceversa features)."""
    health: int = number(100, min=0)
    """Images between two diagnostics of the training; 0: no diagnostics."""

    def __post_init__(self) -> None:
        for option, names, known in (
            ("validate.extra_metrics", self.extra_metrics, extra_metrics()),
            ("validate.best_metric", (self.best_metric,), ("auto", *best_metrics())),
        ):
            if unknown := [name for name in names if name not in known]:
                raise UserError(
                    f"{option} takes {', '.join(known)}, not {unknown[0]!r}", option=option
                )
        if self.best_metric in extra_metrics() and self.best_metric not in self.extra_metrics:
            raise UserError(
                f"validate.best_metric {self.best_metric} is not among the metrics; name it in "
                "validate.extra_metrics",
                option="validate.best_metric",
            )
        if self.pairs and not self.every:
            raise UserError(
                "validate.pairs has no effect with validate.every 0", option="validate.pairs"
            )
        if self.patience and not self.every:
            raise UserError(
                "validate.patience counts validations; validate.every is 0",
                option="validate.patience",
            )

    def chosen(self, paired: bool) -> str:
        """Return the metric that selects the best model. Raises UserError if unavailable."""
        of_pairs = [name for name in self.extra_metrics if needs_pairs(name)]
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
                "validate.best_metric cycle needs a method of both directions; name l1 or kid",
                option="validate.best_metric",
            )
        if not (paired or self.pairs) and needs_pairs(self.best_metric):
            raise UserError(
                f"validate.best_metric {self.best_metric} needs pairs, and this method trains "
                "without; set validate.pairs if the images of val have partners, or name swd, "
                "cycle, fid or kid",
                option="validate.best_metric",
            )
        return self.best_metric
