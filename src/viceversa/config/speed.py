"""Settings of speed and memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import UserError

MemoryFormatName = Literal["auto", "measure", "contiguous", "channels_last"]
PrecisionName = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
InferencePrecision = Literal["auto", "fp32", "bf16", "fp16"]
InferenceStatistics = Literal["exact", "sampled", "window", "tile"]
"""Statistics that norms use for an image: of the whole image, of crops, of windows, or of tiles."""


@dataclass(frozen=True)
class SpeedConfig:
    fused: bool = True
    """Fused Adam: one kernel for all weights."""
    flush_denormals: bool = True
    """Round denormal numbers to 0; they slow a CPU down."""
    conv_as_matmul: bool = True
    """On a CPU in bf16: compute convolutions with many weights on small maps as matrix products."""
    memory_format: MemoryFormatName = "auto"
    """Memory format of images and weights; auto: measured on a GPU, contiguous on a CPU."""
    compile: bool = False
    """Compile the networks (torch.compile); the first steps take minutes. CPU: needs a compiler."""
    cuda_graph: Literal["auto", "off"] = "auto"
    """Run a whole step as one CUDA graph if the device supports it."""
    activation_checkpointing: Literal["off", "blocks"] = "off"
    """Activation checkpointing: recompute blocks in the backward pass; less memory, more time."""

    def __post_init__(self) -> None:
        if self.compile and self.activation_checkpointing != "off":
            raise UserError(
                f"speed.activation_checkpointing {self.activation_checkpointing} cannot be "
                "combined with speed.compile, which chooses what to recompute; use one of them",
                option="speed.activation_checkpointing",
            )
