"""Data-parallel training in several processes, on one machine or more (torch.distributed).

`train.batch_size` counts the images of all processes: each takes its part of every batch, gradients
are summed before an optimizer steps, and only rank 0 writes files. So 1, 2 or 4 processes use the
same images in the same order and take the same steps, except for random numbers in the networks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous
from torch.nn import functional as F
from torch.nn.modules._functions import SyncBatchNorm

from ..checkpoint import state_from_bytes, state_to_bytes
from ..environment import is_distributed
from ..errors import UserError
from ..networks.norms import BatchNorm
from .peers import Peer, current_process, kill_stopped

T = TypeVar("T")
# Processes may start minutes apart, and the scan of a large dataset takes time.
JOINING = timedelta(hours=6)
CONNECTING = timedelta(seconds=2)  # to a port that may be stale
PEER_ERRORS = (
    "connection closed",
    "connection reset",
    "broken pipe",
    "timed out",
    "timeout",
    "not connected",
    "connection refused",
    "no route to host",
    "remote process",
    "nccl",
    "gloo",
)


class Ranks:
    """The processes of a run, and this one among them.

    Args:
        index: Rank of this process; rank 0 writes files and prints.
        count: Number of processes.
        local: Rank on this machine: the number of its GPU.
        group: Process group with the timeout of the run (the default group waits longer).
    """

    def __init__(self, index: int = 0, count: int = 1, local: int = 0, group: Any = None):
        self.index, self.count, self._local, self._group = index, count, local, group
        self._parent = os.getppid()
        self.peers: list[Peer] = []

    @property
    def first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.index == 0

    def device(self, name: str) -> str:
        """Return the device of this process: each has its own GPU."""
        if self.count > 1 and name in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{self._local}"
        return name

    def own_part(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's contiguous part of a batch; parts differ by at most one item."""
        length = len(items)
        return items[length * self.index // self.count : length * (self.index + 1) // self.count]

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Sum each tensor over all processes, in place; one call per dtype."""
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

    def sum(self, numbers: list[int]) -> list[int]:
        """Return each number summed over all processes."""
        if self.count == 1:
            return numbers
        values = torch.tensor(numbers)
        dist.all_reduce(values, group=self._group)
        return [int(value) for value in values]

    def broadcast(self, value: T) -> T:
        """Return the value of rank 0: JSON values and tensors, which arrive on the CPU."""
        if self.count == 1:
            return value
        packed = [state_to_bytes(value) if self.first else b""]
        dist.broadcast_object_list(packed, group=self._group)
        return value if self.first else state_from_bytes(packed[0])

    def all_gather(self, value: T) -> list[T]:
        """Return the values of all processes, by rank; they are pickled, without tensors."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value, self._group)
        return values

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes at rank 0, tensors on the CPU; elsewhere nothing."""
        if self.count == 1:
            return [value]
        packed: list[Any] | None = [None] * self.count if self.first else None
        dist.gather_object(state_to_bytes(value), packed, group=self._group)
        return [state_from_bytes(one) for one in packed or []]

    @contextmanager
    def first_rank_first(self) -> Iterator[None]:
        """Let rank 0 run the block, then all others at once.

        They wait for hours if need be: the scan of a large dataset must not look like a hang.
        """
        if self.count > 1 and not self.first:
            dist.barrier()
        yield
        if self.count > 1 and self.first:
            dist.barrier()

    def broadcast_weights(self, method: nn.Module) -> None:
        """Give every process the weights and buffers of rank 0."""
        if self.count == 1:
            return
        with torch.no_grad():
            for tensor in [*method.parameters(), *method.buffers()]:
                if tensor.numel():
                    dist.broadcast(tensor, 0, self._group)

    def synchronize_batch_norm(self, method: nn.Module, device: torch.device) -> None:
        """Let batch norm use the statistics of all processes.

        Raises:
            UserError: The device does not support it.
        """
        layers = [layer for layer in method.modules() if isinstance(layer, BatchNorm)]
        if self.count == 1 or not layers:
            return
        if device.type != "cuda":
            raise UserError(
                f"batch norm does not work with {self.count} processes on {device}: torch "
                "synchronizes its statistics on CUDA only; set generator.norm and "
                "discriminator.norm to instance, group or layer"
            )
        for layer in layers:
            layer.normalise = partial(_synchronized_batch_norm, self._group)

    def offset_seed(self) -> None:
        """Let dropout and image pools of each process draw different random numbers."""
        if self.index:
            torch.manual_seed(torch.initial_seed() + 1_000_003 * self.index)

    def launcher_exited(self) -> bool:
        """Return whether the torchrun that started this process has ended.

        Other parents, such as a shell, may end on purpose.
        """
        return dist.is_torchelastic_launched() and os.getppid() != self._parent

    def explain(self, error: Exception) -> Exception:
        """Return a UserError if an error was caused by another process, else the error itself."""
        text = " ".join(str(error).split())
        if self.count == 1 or isinstance(error, UserError):
            return error
        if not any(word in text.lower() for word in PEER_ERRORS):
            return error
        kill_stopped(self.peers)
        return UserError(
            f"process {self.index} of {self.count} lost another process, which ended or hangs "
            f"({text[:120]}); run the same command again to resume from the last checkpoint"
        )

    def barrier(self) -> None:
        """Wait until all processes get here."""
        if self.count > 1:
            dist.barrier(self._group)


def join(timeout: float) -> Ranks:
    """Join the processes that torchrun, or another launcher that sets RANK, has started.

    Args:
        timeout: Seconds after which a process that does not answer is considered dead.

    Raises:
        UserError: The processes cannot connect to each other.
    """
    if not is_distributed():
        return Ranks()
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        if not dist.is_initialized():
            store, rank, count = next(rendezvous("env://", timeout=JOINING))
            if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
                store = attempt_store(store, rank, os.environ["MASTER_ADDR"], JOINING)
            dist.init_process_group(
                backend, store=store, rank=rank, world_size=count, timeout=JOINING
            )
        group = dist.new_group(backend=backend, timeout=timedelta(seconds=timeout))
    except (RuntimeError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise UserError(f"the processes of this run cannot connect to each other: {why}") from None
    local = int(os.environ.get("LOCAL_RANK", "0"))
    ranks = Ranks(dist.get_rank(), dist.get_world_size(), local, group)
    ranks.peers = ranks.all_gather(current_process())
    return ranks


def wait_for_all() -> None:
    """Wait until the work of all processes of torchrun is done, before one exits with an error.

    torchrun ends all processes when one fails. If the processes cannot be reached, do not wait.
    """
    with suppress(UserError, RuntimeError):
        join(JOINING.total_seconds())


def attempt_store(launcher: Store, rank: int, host: str, timeout: timedelta) -> Store:
    """Return a new store for this attempt of a run, served by rank 0.

    torchrun keeps one store for all attempts: after a restart it holds the addresses of processes
    that are dead, and torch would wait for them. Of this store, only the port is published there;
    a port at which no server answers is that of an earlier attempt.

    Args:
        launcher: The store of torchrun.
        rank: Rank of this process.
        host: Address of rank 0.
        timeout: How long to try.

    Raises:
        RuntimeError: Rank 0 did not answer in time.
    """
    if rank == 0:
        store = TCPStore(host, 0, is_master=True, timeout=timeout, wait_for_workers=False)
        launcher.set("viceversa/port", str(store.port))
        return store
    end = time.monotonic() + timeout.total_seconds()
    while time.monotonic() < end:
        try:
            port = int(launcher.get("viceversa/port"))  # waits for the first one
            store = TCPStore(host, port, timeout=CONNECTING)
            store.set_timeout(timeout)
            return store
        except dist.DistError:
            time.sleep(0.1)
    raise RuntimeError(f"rank 0 did not answer within {timeout.total_seconds():g} s")


def _synchronized_batch_norm(
    group: Any,
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor,
    bias: Tensor,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """F.batch_norm with the statistics of all processes in training."""
    if not training or x.device.type != "cuda":
        return F.batch_norm(x, mean, var, weight, bias, training, momentum, eps)
    count = dist.get_world_size(group)
    out: Tensor = SyncBatchNorm.apply(  # type: ignore[no-untyped-call]
        x.contiguous(), weight, bias, mean, var, eps, momentum, group, count
    )
    return out
