"""Numeric precision of training: autocast, TF32 and the loss scaling of fp16."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ..config.speed import PrecisionName
from ..errors import UserError
from .device import gpus, usable_device

if TYPE_CHECKING:
    from .distributed import Ranks

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
# Names of instructions by their key in `torch.cpu.get_capabilities`; the last one is of ARM.
BF16_INSTRUCTIONS = {"amx_bf16": "AMX-BF16", "avx512_bf16": "AVX512-BF16", "bf16": "bf16"}


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


class NativeBF16(NamedTuple):
    """Return whether a device computes in bf16 natively, and the reason as a clause."""

    native: bool
    reason: str


def choose_precision(
    devices: Iterable[torch.device], ranks: Ranks | None = None
) -> tuple[PrecisionName, str]:
    """Return the precision that `auto` selects, and the reason as a clause.

    Args:
        devices: Devices of this process that train in one precision.
        ranks: Processes that train together.

    Returns:
        `bf16` if all devices of all processes support it natively, else `fp32`.
    """
    own = [native_bf16(device) for device in devices]
    found = list(chain.from_iterable(ranks.all_gather(own))) if ranks else own
    for one in found:
        if not one.native:
            return "fp32", one.reason
    return "bf16", found[0].reason


def devices_named(name: str) -> list[torch.device]:
    """Return the devices of runs with this `train.device`: `auto` and `cuda` are all GPUs.

    Raises:
        UserError: The device is not available.
    """
    names = gpus() if name in ("auto", "cuda") else []
    return [torch.device(one) for one in names] or [usable_device(name)]


def native_bf16(device: torch.device) -> NativeBF16:
    """Return whether a device computes in bf16 natively, as far as torch reports it."""
    if device.type == "cuda":
        return gpu_bf16(str(device), torch.cuda.get_device_capability(device))
    if device.type == "cpu":
        one_dnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        return processor_bf16(torch.cpu.get_capabilities(), one_dnn)
    return NativeBF16(False, f"it is not known whether {device} has bf16 natively")


def gpu_bf16(name: str, capability: tuple[int, int]) -> NativeBF16:
    """Return whether a GPU of a compute capability has bf16 natively."""
    major, minor = capability
    reason = f"{name} has compute capability {major}.{minor}"
    return NativeBF16(major >= 8, reason if major >= 8 else f"{reason}, and bf16 needs 8.0")


def processor_bf16(capabilities: Mapping[str, Any], one_dnn: bool) -> NativeBF16:
    """Return whether torch uses bf16 instructions of a processor.

    Args:
        capabilities: Capabilities of the processor, from `torch.cpu.get_capabilities`.
        one_dnn: Whether torch has oneDNN, the library that uses such instructions.
    """
    found = [text for name, text in BF16_INSTRUCTIONS.items() if capabilities.get(name)]
    if not found:
        return NativeBF16(False, "the processor has no bf16 instructions")
    if not one_dnn:
        return NativeBF16(False, "this build of torch uses no bf16 instructions (no oneDNN)")
    return NativeBF16(True, f"the processor has {found[0]} instructions")


def _supports_tf32(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
