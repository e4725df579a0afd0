"""Everything about devices, precision, speed and processes that training needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from ..batch import Batch
from ..config.speed import PrecisionName, SpeedConfig
from ..errors import UserError
from .activation_checkpointing import checkpoint_blocks
from .conv_matmul import convolve_by_matmul
from .cuda_graph import GraphedStep, Step
from .device import prepare_device
from .distributed import Ranks
from .memory_format import FORMATS, faster_format, to_format
from .precision import Precision, choose_precision


class Runtime:
    """Device, precision, speed options and processes of training; methods do not depend on them.

    Args:
        device: `auto` or the name of a torch device.
        precision: `fp32`, `tf32`, `bf16`, `fp16`, or `auto`: bf16 if the devices of all processes
            support it natively, else fp32.
        deterministic: Whether only deterministic algorithms are used.
        speed: Options of speed and memory.
        ranks: The processes of the run; by default only this one.

    Raises:
        UserError: The device is not available, or does not support the precision.
    """

    def __init__(
        self,
        device: str = "auto",
        precision: PrecisionName = "fp32",
        deterministic: bool = False,
        speed: SpeedConfig | None = None,
        ranks: Ranks | None = None,
    ):
        self.speed, self.ranks = speed or SpeedConfig(), ranks or Ranks()
        self.device = prepare_device(
            self.ranks.device(device),
            tf32=precision == "tf32",
            deterministic=deterministic,
            flush_denormals=self.speed.flush_denormals,
        )
        self.precision_reason = ""
        if precision == "auto":
            precision, self.precision_reason = choose_precision([self.device], self.ranks)
        self.precision = Precision(precision, self.device)
        self.deterministic = deterministic
        self.memory_format = "contiguous"

    def autocast(self) -> AbstractContextManager[Any]:
        """Autocast for one advance of a method's step; never held open across several."""
        return self.precision.autocast()

    def prepare(self, method: nn.Module, networks: Iterable[nn.Module]) -> None:
        """Prepare a method for training: device, weights of rank 0, batch norm, speed options.

        `choose_memory_format` and `compile` come after it.
        """
        method.to(self.device)
        self.ranks.broadcast_weights(method)
        self.ranks.synchronize_batch_norm(method, self.device)
        self.apply_speed_options(networks)

    def apply_speed_options(self, networks: Iterable[nn.Module]) -> None:
        """Change how networks compute: convolutions by matmul, activation checkpointing."""
        for network in networks:
            if self.speed.conv_as_matmul:
                convolve_by_matmul(network)
            if self.speed.activation_checkpointing == "blocks":
                checkpoint_blocks(network)

    def choose_memory_format(
        self,
        method: nn.Module,
        network: nn.Module,
        images: Callable[[], Tensor],
        previous: str | None = None,
    ) -> str:
        """Choose the memory format of images and weights, apply it to the weights, return it.

        Args:
            method: The method whose weights get the format.
            network: The network that is timed if the format is to be measured.
            images: Returns images for that.
            previous: The format of the run that is resumed.
        """
        chosen: str = self.speed.memory_format
        if chosen == "auto":
            chosen = "measure" if self.device.type == "cuda" else "contiguous"
        if chosen == "measure":
            if self.deterministic:
                chosen = "contiguous"
            elif isinstance(previous, str) and previous in FORMATS:
                chosen = previous
            else:
                fastest = faster_format(network, images().to(self.device), self.autocast)
                chosen = self.ranks.broadcast(fastest)
        self.memory_format = chosen
        method.to(memory_format=FORMATS[chosen])  # type: ignore[call-overload]
        return chosen

    def compile(self, networks: list[nn.Module], differentiated_twice: list[nn.Module]) -> None:
        """Compile networks in place, except those that a gradient penalty differentiates twice."""
        if self.speed.compile:
            eager = {id(network) for network in differentiated_twice}
            for network in networks:
                if id(network) not in eager:
                    network.compile()

    def format_batch(self, batch: Batch) -> Batch:
        """Return a batch with its images in the chosen memory format."""
        return batch.map(lambda x: to_format(x, self.memory_format) if x.ndim == 4 else x)

    def no_graph_reason(self) -> str | None:
        """Return why a step cannot run as a CUDA graph; "" if that is off or not supported."""
        if self.speed.cuda_graph == "off" or self.device.type != "cuda":
            return ""
        if self.ranks.count > 1:
            return "several processes"
        if self.speed.activation_checkpointing != "off":
            return f"speed.activation_checkpointing {self.speed.activation_checkpointing}"
        return None

    def graphed(self, step: Step, note: Callable[[str], None]) -> Step:
        """Return a step that runs as one CUDA graph if that is possible, else the step itself."""
        reason = self.no_graph_reason()
        if reason is None:
            return GraphedStep(step, note, self.precision.abandon_step)
        if reason:
            note(f"no CUDA graph is used: it cannot be combined with {reason}")
        return step

    def optimizer(self, weights: list[nn.Parameter], lr: float, betas: tuple[float, float]) -> Any:
        """Return Adam; on a GPU its learning rate is a tensor there, which a CUDA graph reads."""
        on_gpu, fused = self.device.type == "cuda", self.speed.fused
        return torch.optim.Adam(
            weights,
            lr=torch.full((), lr, device=self.device) if on_gpu else lr,
            betas=betas,
            fused=fused,
            capturable=on_gpu,
            foreach=None if fused else False,
        )

    def reduce_gradients(self, optimizer: Any) -> None:
        """Sum gradients over all processes and undo the scale of the loss."""
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        self.ranks.all_reduce([weight.grad for weight in weights if weight.grad is not None])
        self.precision.unscale_gradients(optimizer)

    def step(self, optimizer: Any, finite: Tensor) -> None:
        """Let an optimizer step if its gradients are `finite` (a bool tensor on the device).

        The fused kernel reads the flag, as that of a gradient scaler, so that the CPU does not wait
        for it; without the fused kernel, it does.
        """
        if self.speed.fused:
            optimizer.grad_scale, optimizer.found_inf = None, (~finite).float()
            optimizer.step()
        elif bool(finite):
            optimizer.step()

    def explain(self, error: Exception) -> Exception:
        """Return a UserError if an option caused a device's error, else the error itself."""
        text = str(error)
        if self.deterministic and "deterministic" in text:
            operation = text.split(" does not have")[0]
            return UserError(
                f"train.deterministic is not available on {self.device}: {operation} has no "
                "deterministic implementation there; leave it out, or choose another generator or "
                "norm",
                option="train.deterministic",
            )
        if self.speed.compile and ("compiler" in text.lower() or "inductor" in text.lower()):
            why = text.splitlines()[0]
            return UserError(f"speed.compile is not available here: {why}", option="speed.compile")
        return self.ranks.explain(error)
