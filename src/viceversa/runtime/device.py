"""Where and how a method runs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..networks import separately
from .config import SpeedConfig
from .formats import FORMATS, faster, laid_out
from .graphs import Graphed, Step
from .ranks import Ranks
from .recompute import recompute_blocks
from .small_maps import as_products

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Runtime:
    """Device, precision, speed and processes; a method never sees any of it.

    `precision`: `fp32`; `tf32` (matrices in 19 bits, on a GPU that can); `bf16` and `fp16`
    (autocast over fp32 weights, the latter with a scaled loss).
    """

    def __init__(
        self, device: str = "auto", precision: str = "fp32", deterministic: bool = False,
        speed: SpeedConfig | None = None, ranks: Ranks | None = None,
    ):  # fmt: skip
        self.speed, self.ranks = speed or SpeedConfig(), ranks or Ranks()
        self.device = _usable(self.ranks.device(device))
        self.precision = precision
        self.deterministic = deterministic
        self.memory_format = "contiguous"
        self.half = HALVES.get(precision)
        if precision == "tf32" and not _has_tf32(self.device):
            raise UserError(
                f"train.precision tf32 cannot be had on {self.device}: it needs a CUDA device of "
                "compute capability 8.0 or later"
            )
        if deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.backends.cudnn.deterministic = deterministic
        torch.backends.cudnn.benchmark = not deterministic  # sizes hardly change in training
        # torch's own default lets convolutions, but not products of matrices, round to tf32.
        tf32 = precision == "tf32" and not deterministic
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        if deterministic != torch.are_deterministic_algorithms_enabled():
            torch.use_deterministic_algorithms(deterministic)  # takes a second: it loads inductor
        torch.set_flush_denormal(self.speed.flush_denormals)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Entered anew for each advance of a method's step, never held open across one."""
        half = self.half or torch.bfloat16
        with (
            torch.autocast(self.device.type, dtype=half, enabled=self.half is not None),
            separately(not self.speed.together),
        ):
            yield

    def place(self, method: nn.Module, networks: list[nn.Module] | None = None) -> None:
        """Make a method ready to run: its `networks` (by default, the method as one) as the
        settings say.

        In this order: to the device; every process takes the weights of the first; batch norm over
        all of them; small maps as products; blocks recomputed. `settle_format` and `compile` come
        after.
        """
        method.to(self.device)
        self.ranks.share_weights(method)
        self.ranks.synchronise_norms(method, self.device)
        self.prepare(networks or [method])

    def prepare(self, networks: Iterable[nn.Module]) -> None:
        """The part of `place` that changes how networks compute: products, and recomputing."""
        for network in networks:
            if self.speed.small_maps:
                as_products(network)
            if self.speed.recompute == "blocks":
                recompute_blocks(network)

    def settle_format(
        self,
        method: nn.Module,
        network: nn.Module,
        images: Callable[[], Tensor],
        before: str | None = None,
    ) -> str:
        """Decide how images lie in memory, and lay out the weights so; returns the name.

        `before`: what a run that goes on had. Measured on one network and some images.
        """
        wanted: str = self.speed.memory_format
        if wanted == "auto":
            wanted = "measure" if self.device.type == "cuda" else "contiguous"
        if wanted == "measure":
            if self.deterministic:
                wanted = "contiguous"
            elif isinstance(before, str) and before in FORMATS:
                wanted = before
            else:
                found = faster(network, images().to(self.device), self.autocast)
                wanted = self.ranks.as_first(found)
        self.memory_format = wanted
        method.to(memory_format=FORMATS[wanted])  # type: ignore[call-overload]
        return wanted

    def compile(self, networks: list[nn.Module], differentiated_twice: list[nn.Module]) -> None:
        """Compile networks in place; those that a penalty differentiates twice stay as they are."""
        if self.speed.compile:
            apart = {id(network) for network in differentiated_twice}
            for network in networks:
                if id(network) not in apart:
                    network.compile()

    def laid_out(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """A batch in the memory format that was settled."""
        a, b = batch
        return laid_out(a, self.memory_format), laid_out(b, self.memory_format)

    def graphed(self, step: Step, explain: Callable[[str], None]) -> Step:
        """A step as one CUDA graph where that can be, else as it is."""
        if self.speed.graph == "off" or self.device.type != "cuda":
            return step
        reason = "several processes" if self.ranks.count > 1 else ""
        reason = reason or ("blocks recomputed" if self.speed.recompute != "nothing" else "")
        if reason:
            explain(f"steps run one kernel at a time: a CUDA graph does not go with {reason}")
            return step
        return Graphed(step, explain, self.forget_step)

    def optimizer(self, weights: list[nn.Parameter], lr: float, betas: tuple[float, float]) -> Any:
        """Adam, all weights in one kernel; on a GPU its rate lies there, and a graph reads it."""
        on_gpu = self.device.type == "cuda"
        rate = torch.full((), lr, device=self.device) if on_gpu else lr
        fused = self.speed.fused
        return torch.optim.Adam(weights, lr=rate, betas=betas, fused=fused, capturable=on_gpu,
                                foreach=None if fused else False)  # fmt: skip

    def scaled(self, loss: Tensor) -> Tensor:
        """A loss large enough for fp16's gradients; in other precisions as it is."""
        return self._scaler.scale(loss)

    def gather(self, optimizer: Any) -> None:
        """Gradients as the step needs them: added up over all processes, and not scaled."""
        gradients = [w.grad for group in optimizer.param_groups for w in group["params"]
                     if w.grad is not None]  # fmt: skip
        self.ranks.add(gradients)
        if self._scaler.is_enabled():
            self._scaler.unscale_(optimizer)

    def step(self, optimizer: Any, sound: Tensor) -> None:
        """Let an optimizer step, if its gradients are `sound` (a bool on the device).

        The flag goes into the fused kernel, as a gradient scaler's would: nothing waits for it.
        Without that kernel the flag is read.
        """
        if self.speed.fused:
            optimizer.grad_scale, optimizer.found_inf = None, (~sound).float()
            optimizer.step()
        elif bool(sound):
            optimizer.step()

    def end_step(self) -> None:
        """All players have stepped: fp16's scale grows, or shrinks after an overflow."""
        if self._scaler.is_enabled():
            self._scaler.update()

    def forget_step(self) -> None:
        """A step broke off in the middle, and begins anew: fp16's scale is as before it."""
        state = self._scaler.state_dict()
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self._scaler.is_enabled())
        self.restore_scaler(state)

    def overflowed(self) -> Tensor | bool:
        """Whether a gradient that is not finite may be fp16's, whose scale is still above 1."""
        if not self._scaler.is_enabled():
            return False
        return self._scaler.scale(torch.ones((), device=self.device)) > 1

    def scaler_state(self) -> dict[str, Any]:
        """fp16's scale and how long it has held; empty in other precisions."""
        return self._scaler.state_dict()

    def restore_scaler(self, state: dict[str, Any]) -> None:
        """Put the scale back where `scaler_state` found it."""
        if self._scaler.is_enabled() and state:
            self._scaler.load_state_dict(state)

    def explained(self, error: Exception) -> Exception:
        """A device's error as a sentence, where a setting caused it; else as it is."""
        text = str(error)
        if self.deterministic and "deterministic" in text:
            operation = text.split(" does not have")[0]
            return UserError(
                f"train.deterministic cannot be had on {self.device}: {operation} has no "
                "deterministic form there; leave it out, or choose another generator or norm"
            )
        if self.speed.compile and ("compiler" in text.lower() or "inductor" in text.lower()):
            reason = text.splitlines()[0]
            return UserError(f"speed.compile cannot be had here: {reason}")
        return self.ranks.explained(error)


def _usable(device: str) -> torch.device:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        with warnings.catch_warnings(action="ignore"):
            usable = torch.device(device)
            torch.zeros(1, device=usable).add_(1).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        # Of devices that torch names but does not contain, its errors list dispatch keys.
        short = len(str(error)) <= 80 and not isinstance(error, ImportError)
        reason = f" ({error})" if short else ""
        raise UserError(
            f"the device {device!r} is not available{reason}; available: {', '.join(_available())}",
            option="device",
        ) from None
    if usable.type == "cuda" and usable.index is not None:
        torch.cuda.set_device(usable)  # streams and graphs are made on the one at hand
    return usable


def _available() -> list[str]:
    found = ["cpu"]
    if torch.cuda.is_available():
        found += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def _has_tf32(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
