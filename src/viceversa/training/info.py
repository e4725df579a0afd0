"""Records that the functions `on_step` and `on_validation` of a user get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from ..metrics.registry import METRICS, split_name


@dataclass(frozen=True)
class StepInfo:
    """An optimizer step that was taken."""

    epoch: int
    """Epoch of the step, from 1."""
    step: int
    """Number of optimizer steps of the run, this one included."""
    images: int
    """Images (or pairs) processed in the run, with those of this step."""
    lr: float
    """Learning rate `train.lr` in this epoch."""
    tensors: Mapping[str, Tensor] = field(repr=False)
    """Losses as scalars on the device; they are valid until the next step only."""

    @cached_property
    def losses(self) -> dict[str, float]:
        """Losses by name.

        On a GPU the first access waits for the step to end: reading them at each step is slow.
        """
        return {name: float(value) for name, value in self.tensors.items()}


@dataclass(frozen=True)
class ValidationInfo:
    """A validation on held-out images."""

    epoch: int
    """Epoch of the latest step, from 1."""
    images: int
    """Images (or pairs) processed in training."""
    split: str
    """Name of the split that was evaluated."""
    count: int
    """Number of images that were evaluated."""
    values: Mapping[str, float]
    """Metrics of the generators by name, such as `l1`; of unpaired methods also by direction, such
    as `swd_ab`."""
    ema: Mapping[str, float]
    """The same of the EMA weights; empty without `train.ema`."""
    better: Mapping[str, str]
    """`lower` or `higher` by name of the metric: which values are better."""
    best_metric: str
    """Metric that selects the best model."""
    is_best: bool
    """Whether this validation is the best so far."""


def validation_info(
    epoch: int, images: int, entry: Mapping[str, Any], is_best: bool
) -> ValidationInfo:
    """Return the record of a validation from the result of `validation_entry`."""
    values = entry["raw"]
    better = {name: METRICS[split_name(name)[0]].better for name in values}
    return ValidationInfo(
        epoch,
        images,
        entry["split"],
        entry["n"],
        values,
        entry.get("ema", {}),
        better,
        entry["chosen_by"],
        is_best,
    )
