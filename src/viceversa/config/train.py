"""Settings of training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..fields import number
from .speed import PrecisionName


@dataclass(frozen=True)
class TrainConfig:
    run: str = ""
    """Run folder (default: runs/RECIPE). A run in it is resumed."""
    epochs: int = number(200, min=1)
    """Number of epochs."""
    schedule: Literal["constant", "linear", "linear-paper", "cosine", "step"] = "linear"
    """Learning rate schedule."""
    decay: float = number(0.5, min=0, max=1)
    """Fraction of the epochs, at the end, over which the learning rate decays (linear, cosine);
    rounded to whole epochs."""
    lr: float = number(2e-4, min=0)
    """Learning rate of Adam."""
    lr_per_network: dict[str, float] = field(default_factory=dict, metadata={"min": 0})
    """Learning rate of one network group: --train.lr_per_network.discriminator 1e-4."""
    betas: tuple[float, float] = number((0.5, 0.999), min=0, below=1)
    """Betas of Adam."""
    batch_size: int = number(1, min=1)
    """Images (or pairs) per batch."""
    ema: float = number(0.0, min=0, below=1)
    """Decay of the exponential moving average (EMA) of the generators' weights, such as 0.999; the
    EMA weights are saved too; 0: no EMA."""
    accumulation_steps: int = number(1, min=1)
    """Gradient accumulation: batches per optimizer step."""
    grad_clip: float = number(0.0, min=0)
    """Maximum norm of the gradient of a network group; 0: no clipping."""
    init: str = ""
    """Model file (or a folder with ab and ba) whose weights to start from."""
    seed: int = number(0, min=0)
    """Seed of all random numbers."""
    device: str = "auto"
    """auto, or a torch device: cpu, cuda, cuda:1, mps, ..."""
    deterministic: bool = False
    """Deterministic algorithms only: two runs on one machine are bit-identical; may be slower."""
    precision: PrecisionName = "auto"
    """auto: bf16 if the processor or GPU supports it natively, else fp32; a resumed run keeps its
    precision. bf16 and fp16: mixed precision with fp32 weights; tf32: for GPUs."""
    rank_timeout: float = number(600.0, min=1)
    """Distributed timeout in seconds."""
    log_every: int = number(200, min=1)
    """Images between two lines of the log."""
    loggers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()
    """Also log losses, metrics and sample grids for TensorBoard (in RUN/tensorboard), Weights &
    Biases or MLflow."""
    sample_every: int = number(2000, min=1)
    """Images between two sample grids."""
    sample_minutes: float = number(10.0, min=0)
    """Also write a sample grid after this many minutes, the first within one minute (0: never)."""
    save_every: int = number(0, min=0)
    """Images between two checkpoints (0: use save_epochs and save_minutes only)."""
    save_epochs: int = number(0, min=0)
    """Epochs between two checkpoints (0: use save_every and save_minutes only)."""
    save_minutes: float = number(10.0, min=0)
    """Minutes between two checkpoints (0: use save_every and save_epochs only)."""
    keep_last: int = number(3, min=1)
    """Number of checkpoints to keep."""
    on_disk_full: Literal["stop", "continue"] = "stop"
    """If a checkpoint cannot be written: stop, or continue with the last one that was."""
    max_time: float = number(0.0, min=0)
    """Save a checkpoint and stop after this many minutes (0: no limit)."""
    samples: int = number(6, min=0)
    """Images in a sample grid, always the same."""
