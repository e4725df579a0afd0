"""What makes training faster or smaller, each by name: each can be left out and compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FormatName = Literal["auto", "measure", "contiguous", "channels_last"]
PrecisionName = Literal["fp32", "tf32", "bf16", "fp16"]


@dataclass(frozen=True)
class SpeedConfig:
    fused: bool = True
    """Adam for all weights in one kernel."""
    flush_denormals: bool = True
    """Numbers too small to matter count as 0: they slow a processor down."""
    together: bool = True
    """Two calls of a network in one, where no image feels another (norms per image, no dropout)."""
    small_maps: bool = True
    """On a CPU in bf16: layers of many weights on small maps as products of matrices."""
    memory_format: FormatName = "auto"
    """How images lie in memory; auto measures on a GPU and is contiguous on a CPU."""
    compile: bool = False
    """Networks compiled by torch; the first steps take minutes. A CPU needs a C++ compiler."""
    graph: Literal["auto", "off"] = "auto"
    """A whole step as one CUDA graph, where there is CUDA."""
    recompute: Literal["nothing", "blocks"] = "nothing"
    """Blocks of the networks computed anew in the backward pass: less memory, more time."""

    def __post_init__(self) -> None:
        if self.compile and self.recompute != "nothing":
            raise ValueError(
                f"speed.recompute {self.recompute} does not go with speed.compile, which decides "
                "by itself what is computed anew; choose one of them"
            )
