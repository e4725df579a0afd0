"""Several processes that train one method, on one machine or more (torch.distributed).

`train.batch_size` counts the images of all of them: each takes its share of every batch, gradients
are added up before a player steps, and the first process alone writes files. So 1, 2 or 4
processes see the same images in the same order and, but for what is random in the networks, make
the same steps.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn import functional as F
from torch.nn.modules._functions import SyncBatchNorm

from ..checkpoint import put_together, taken_apart
from ..environment import several
from ..errors import UserError
from ..networks.norms import BatchNorm
from .meeting import meet
from .parcels import as_bytes, described, from_bytes, room
from .siblings import Sibling, end_stopped, this

T = TypeVar("T")
# Processes may start minutes apart, and to look through a large data set takes its time.
JOINING = timedelta(hours=6)
GONE = (
    "connection closed", "connection reset", "broken pipe", "timed out", "timeout", "not connected",
    "connection refused", "no route to host", "remote process", "nccl", "gloo",
)  # fmt: skip


class Ranks:
    """This process among those that train together; `index` 0 writes files and speaks."""

    def __init__(self, index: int = 0, count: int = 1, local: int = 0, group: Any = None):
        """`group`: whose members are taken for dead when they are late; torch's own waits long."""
        self.index, self.count, self._local, self._group = index, count, local, group
        self._parent = os.getppid()
        self.siblings: list[Sibling] = []

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.index == 0

    def device(self, name: str) -> str:
        """The device of this process: each has a GPU of its own."""
        if self.count > 1 and name in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{self._local}"
        return name

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """The part of a batch that this process takes: one after another, as even as can be."""
        length = len(items)
        return items[length * self.index // self.count : length * (self.index + 1) // self.count]

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Put into each tensor the sum of its values in all processes; all hold the same then."""
        if self.count == 1 or not tensors:
            return
        for dtype in {tensor.dtype for tensor in tensors}:
            some = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.reshape(-1) for tensor in some])
            dist.all_reduce(flat, group=self._group)
            parts = torch.split(flat, [tensor.numel() for tensor in some])
            torch._foreach_copy_(
                some, [part.view_as(one) for part, one in zip(parts, some, strict=True)]
            )

    def sums(self, numbers: list[int]) -> list[int]:
        """Each number summed over all processes, on the host."""
        if self.count == 1:
            return numbers
        values = torch.tensor(numbers)
        dist.all_reduce(values, group=self._group)
        return [int(value) for value in values]

    def as_first(self, value: T) -> T:
        """What the first process has: nested tables and lists of tensors and plain values."""
        if self.count == 1:
            return value
        plain, tensors = taken_apart(value)
        box = [plain, described(tensors)]
        dist.broadcast_object_list(box, group=self._group)
        kept = as_bytes(tensors) if self.first else room(box[1])
        for name in box[1]:
            dist.broadcast(kept[name], 0, self._group)
        return value if self.first else put_together(box[0], from_bytes(kept, box[1]))

    def every(self, value: T) -> list[T]:
        """What each process has, in order; plain values, known to all."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value, self._group)
        return values

    def at_first(self, value: T) -> list[T]:
        """What each process has, in order, in the first one; elsewhere this process's alone."""
        if self.count == 1:
            return [value]
        plain, tensors = taken_apart(value)
        values = [value]
        for index, (other, known) in enumerate(self.every((plain, described(tensors)))):
            if self.first and index:
                kept = room(known)
                for name in known:
                    dist.recv(kept[name], index, self._group)
                values.append(put_together(other, from_bytes(kept, known)))
            elif index and index == self.index:
                for one in as_bytes(tensors).values():
                    dist.send(one, 0, self._group)
        return values

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first process goes through the block, then all others at once.

        They wait for hours if need be: to look through a large data set is no hang.
        """
        if self.count > 1 and not self.first:
            dist.barrier()
        yield
        if self.count > 1 and self.first:
            dist.barrier()

    def share_weights(self, method: nn.Module) -> None:
        """Every process takes the weights and statistics of the first."""
        if self.count == 1:
            return
        with torch.no_grad():
            for tensor in [*method.parameters(), *method.buffers()]:
                if tensor.numel():
                    dist.broadcast(tensor, 0, self._group)

    def synchronise_norms(self, method: nn.Module, device: torch.device) -> None:
        """Batch norm takes its statistics over all processes. Raises UserError where it can't."""
        layers = [layer for layer in method.modules() if isinstance(layer, BatchNorm)]
        if self.count == 1 or not layers:
            return
        if device.type != "cuda":
            raise UserError(
                f"batch norm cannot be spread over {self.count} processes on {device}: torch takes "
                "its statistics over all of them on CUDA alone; choose generator.norm and "
                "discriminator.norm instance, group or layer"
            )
        for layer in layers:
            layer.normalise = partial(_over_all, self._group)

    def vary_randomness(self) -> None:
        """Let dropout and pools of each process draw numbers of their own."""
        if self.index:
            torch.manual_seed(torch.initial_seed() + 1_000_003 * self.index)

    def orphaned(self) -> bool:
        """Whether the torchrun that started this process has gone; a shell may go, and mean it."""
        return dist.is_torchelastic_launched() and os.getppid() != self._parent

    def explained(self, error: Exception) -> Exception:
        """An error of another process as a sentence; else as it is."""
        text = " ".join(str(error).split())
        if self.count == 1 or isinstance(error, UserError):
            return error
        if not any(word in text.lower() for word in GONE):
            return error
        end_stopped(self.siblings)
        return UserError(
            f"process {self.index} of {self.count} lost another one, which ended or hangs "
            f"({text[:120]}); the same command goes on from the last checkpoint"
        )

    def leave(self) -> None:
        """Part from the others, when all of them are done: none leaves another in the middle."""
        if self.count > 1:
            dist.barrier(self._group)


def join(seconds: float) -> Ranks:
    """The processes that torchrun, or whoever sets RANK and WORLD_SIZE, has started with this one.

    A process that is `seconds` late is taken for dead. Raises UserError where they don't meet.
    """
    if not several():
        return Ranks()
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        if not dist.is_initialized():
            store, index, count = next(rendezvous("env://", timeout=JOINING))
            word = meet(store, index, count, JOINING.total_seconds())
            dist.init_process_group(
                backend, store=PrefixStore(word, store), rank=index, world_size=count,
                timeout=JOINING,
            )  # fmt: skip
        group = dist.new_group(backend=backend, timeout=timedelta(seconds=seconds))
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"the processes that train together don't find each other: {reason}"
        ) from None
    local = int(os.environ.get("LOCAL_RANK", "0"))
    ranks = Ranks(dist.get_rank(), dist.get_world_size(), local, group)
    ranks.siblings = ranks.every(this())
    return ranks


def _over_all(
    group: Any, x: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, training: bool,
    momentum: float, eps: float,
) -> Tensor:  # fmt: skip
    """F.batch_norm whose statistics in training are those of all processes' batches."""
    if not training or x.device.type != "cuda":
        return F.batch_norm(x, mean, var, weight, bias, training, momentum, eps)
    out: Tensor = SyncBatchNorm.apply(  # type: ignore[no-untyped-call]
        x.contiguous(), weight, bias, mean, var, eps, momentum, group, dist.get_world_size(group),
    )  # fmt: skip
    return out
