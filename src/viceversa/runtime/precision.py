"""Numeric precision of training: autocast, TF32 and the loss scaling of fp16."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from ..config.speed import PrecisionName
from ..errors import UserError

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Precision of the forward and backward pass; weights and optimizers stay in float32.

    Args:
        name: `fp32`; `tf32` (matrix products with 19 bits, on recent GPUs); `bf16` or `fp16`
            (autocast; fp16 with a scaled loss).
        device: The device that computes.

    Raises:
        UserError: The device does not support TF32.
    """

    def __init__(self, name: PrecisionName, device: torch.device):
        if name == "tf32" and not _supports_tf32(device):
            raise UserError(
                f"train.precision tf32 is not available on {device}: it needs a CUDA device of "
                "compute capability 8.0 or later",
                option="train.precision",
            )
        self.name, self._device = name, device
        self._scaler = self._new_scaler()

    def autocast(self) -> AbstractContextManager[Any]:
        """Return torch's autocast; enter it again at each advance of a method's step."""
        dtype = HALF.get(self.name)
        return torch.autocast(
            self._device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None
        )

    def scale(self, loss: Tensor) -> Tensor:
        """Return a loss scaled for the gradients of fp16; unchanged in other precisions."""
        return self._scaler.scale(loss)

    def unscale_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide an optimizer's gradients by the scale of the loss."""
        if self._scaler.is_enabled():
            self._scaler.unscale_(optimizer)

    def update_scale(self) -> None:
        """Let the scale grow, or shrink after an overflow; call it when all optimizers stepped."""
        if self._scaler.is_enabled():
            self._scaler.update()

    def may_overflow(self) -> Tensor | bool:
        """Return whether non-finite gradients can be an overflow of fp16: its scale is above 1."""
        if not self._scaler.is_enabled():
            return False
        return self._scaler.scale(torch.ones((), device=self._device)) > 1

    def state_dict(self) -> dict[str, Any]:
        """Return the scale of fp16 and its growth counter; empty in other precisions."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`; an empty one, and other precisions than fp16, change nothing."""
        if self._scaler.is_enabled() and state:
            self._scaler.load_state_dict(state)

    def abandon_step(self) -> None:
        """Forget a step that failed halfway; the scale stays as it was before that step."""
        state = self._scaler.state_dict()
        self._scaler = self._new_scaler()
        self.load_state_dict(state)

    def _new_scaler(self) -> torch.amp.GradScaler:
        return torch.amp.GradScaler(self._device.type, enabled=self.name == "fp16")


def _supports_tf32(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
