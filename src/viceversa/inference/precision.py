"""Precision of networks at inference."""

from __future__ import annotations

import torch

from ..config.speed import InferencePrecision
from ..runtime.precision import Precision, choose_precision


def inference_precision(
    name: InferencePrecision, device: torch.device, dtype: str
) -> tuple[Precision, str]:
    """Return the precision of a network, and the reason as a clause.

    Args:
        name: `fp32`, `bf16`, `fp16`, or `auto`: bf16 if results have 8 bits and the device supports
            it natively, else fp32. bf16 has 8 significant bits, too few for other dtypes.
        device: The device.
        dtype: dtype of the results.
    """
    if name != "auto":
        return Precision(name, device), ""
    if dtype != "uint8":
        return Precision("fp32", device), f"results are {dtype}"
    chosen, reason = choose_precision([device])
    return Precision(chosen, device), reason
