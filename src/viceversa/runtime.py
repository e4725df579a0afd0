"""Device, precision, seeds, signals: the only file that knows them."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from .errors import UserError


class Runtime:
    """Where and how a method runs: `precision` is `fp32` or `bf16` (autocast over fp32 weights)."""

    def __init__(self, device: str = "auto", precision: str = "fp32"):
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self.device = torch.device(device)
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"train.device {device!r} cannot be used here: {reason}") from None
        self.precision = precision
        torch.set_flush_denormal(True)  # denormals slow a CPU down, and carry nothing

    def autocast(self) -> AbstractContextManager[Any]:
        """Entered anew for each advance of a method's step, never held open across one."""
        enabled = self.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def place(self, method: nn.Module) -> None:
        """Move a method's weights to the device."""
        method.to(self.device)

    def optimizer(self, weights: list[nn.Parameter], lr: float, betas: tuple[float, float]) -> Any:
        """Adam, all weights in one kernel."""
        return torch.optim.Adam(weights, lr=lr, betas=betas, fused=True)


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's own generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """The generators' states as tensors and plain values, safe to load again."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [name, torch.from_numpy(np.array(keys)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put the generators back where `random_state` found them."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy(), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """A list that SIGINT and SIGTERM fill, so that a step is finished before the run ends.

    A second signal does what it did before. Outside the main thread nothing can be caught.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: object) -> None:
        asked.append(number)
        for kind, handler in before.items():
            signal.signal(kind, handler)

    for kind in before:
        signal.signal(kind, ask)
    try:
        yield asked
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
