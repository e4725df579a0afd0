"""Device, precision, seeds, signals: the only file that knows them."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .errors import UserError


class Runtime:
    """Where and how a method runs: `precision` is `fp32` or `bf16` (autocast over fp32 weights)."""

    def __init__(self, device: str = "auto", precision: str = "fp32", deterministic: bool = False):
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self.device = torch.device(device)
            torch.empty(0, device=self.device)
            if self.device.type == "meta":
                raise RuntimeError("it holds no numbers")
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"the device {device!r} cannot be used here: {reason}") from None
        self.precision = precision
        self.deterministic = deterministic
        if deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.use_deterministic_algorithms(deterministic)
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

    def step(self, optimizer: Any, sound: Tensor) -> None:
        """Let an optimizer step, if its gradients are `sound` (a bool on the device).

        The flag goes into the kernel, as a gradient scaler's would: nothing waits for it.
        """
        optimizer.grad_scale, optimizer.found_inf = None, (~sound).float()
        optimizer.step()

    def explained(self, error: Exception) -> Exception:
        """A device's error as a sentence, where a setting caused it; else as it is."""
        if self.deterministic and "deterministic" in str(error):
            operation = str(error).split(" does not have")[0]
            return UserError(
                f"train.deterministic cannot be had on {self.device}: {operation} has no "
                "deterministic form there; leave it out, or choose another generator or norm"
            )
        return error


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that the device's or the machine's memory is used up."""
    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(one in str(error).lower() for one in words)
    )


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
    """A list that SIGINT, SIGTERM and SIGUSR1 fill, so that a step is finished before the end.

    A second signal does what it did before. Outside the main thread nothing can be caught.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    names = ("SIGINT", "SIGTERM", "SIGUSR1")  # the last is what some schedulers send beforehand
    kinds = [kind for kind in signal.Signals if kind.name in names]
    before = {kind: signal.getsignal(kind) for kind in kinds}

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
