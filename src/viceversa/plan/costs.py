"""What a step of training takes, counted and not computed: on tensors that hold no numbers.

The step is `update` itself, as in training, with its autocast, its optimizers and recomputed
blocks. What is alive at each moment of it is added up; that is what would be alive in a real step,
to the byte. What the libraries beneath hold besides is no tensor, and comes as a margin.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from ..build import RunConfig, make_method, on_disk
from ..image_sizes import check_images
from ..losses import ImagePool
from ..methods import Method
from ..networks import parameters, use_policy
from ..preflight import Disk, disk_needed
from ..runtime.training import Runtime
from ..update import Optimizers, make_optimizers, update

# Measured on CPUs, from 64 to 256 px, in fp32 and bf16: copies that oneDNN makes of maps in a
# layout of its own, and gaps in the heap, as a share of the maps; and code that is loaded late.
MARGIN, LIBRARIES = 0.4, 35_000_000


class Parts(NamedTuple):
    """Bytes of memory, by what they are for; together they are what is alive at the peak."""

    weights: int
    gradients: int
    averages: int
    """Adam's two of each weight."""
    pool: int
    """Past fakes."""
    batch: int
    maps: int
    """What a step has at its peak besides: above all the maps kept for the backward pass."""


@dataclass(frozen=True)
class Costs:
    """What a run takes; arithmetic in multiply-accumulates, memory and disk in bytes."""

    parameters: dict[str, int]
    step_macs: int
    """One step, forward and backward, all batches of an accumulated one."""
    translation_macs: dict[str, int]
    """One image through a generator, by direction."""
    parts: Parts
    averaged: int
    """The average of the generators' weights (train.ema)."""
    copies: int
    """Of the networks, which samples, validation and health look at; with averaged weights too."""
    disk: Disk

    @property
    def margin(self) -> int:
        """For what is no tensor of ours."""
        return round(MARGIN * self.parts.maps) + LIBRARIES

    @property
    def steps(self) -> int:
        """Memory that steps need."""
        return sum(self.parts) + self.margin

    @property
    def run(self) -> int:
        """Memory that a run needs: where copies were, the heap seldom has room for maps again."""
        return self.steps + self.averaged + round((1 + MARGIN) * self.copies)


class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up, within, the arithmetic of every operation and the bytes of all that is alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = self.alive = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # fmt: skip
        made = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        if count is not None:  # torch counts a multiplication and an addition as two
            self.macs += count(*args, **(kwargs or {}), out_val=made) // 2
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._hold(tensor.untyped_storage())
        return made

    def begin(self) -> None:
        """Count anew; what is alive stays so."""
        self.macs, self.peak = 0, self.alive

    def _hold(self, storage: torch.UntypedStorage) -> None:
        address, size = storage._cdata, storage.nbytes()
        if address in self._known:
            return
        self._known.add(address)
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._let_go, address, size)

    def _let_go(self, address: int, size: int) -> None:
        self._known.discard(address)
        self.alive -= size


def count(config: RunConfig, size: tuple[int, int], device: torch.device, images: int = 0) -> Costs:
    """The costs of a run with images of (height, width) on a device; `images` are in an epoch.

    Raises UserError where the networks can't train on that size.
    """
    train, speed = config.train, config.speed
    precision = "fp32" if train.precision == "tf32" else train.precision  # of the same size
    speed = replace(speed, small_maps=speed.small_maps and device.type == "cpu")
    runtime = Runtime("cpu", precision, speed=speed)
    ledger = Ledger()
    with FakeTensorMode(), ledger:
        method = make_method(config).train()
        batch = blank(config, size)
        alone = images % train.batch_size == 1  # the last batch of an epoch
        check_images(method, (batch[0][0], batch[1][0]), 1 if alone else train.batch_size)
        runtime.apply_speed_options(chain.from_iterable(method.players().values()))
        optimizers = make_optimizers(method, train, runtime)
        for _ in range(2):  # the second is like all later ones: Adam's averages are there
            ledger.begin()
            macs = _step(method, batch, optimizers, runtime, config, ledger)
        parts = _parts(method, batch, optimizers, ledger.peak)
        return Costs(
            parameters={
                on_disk(name, config.data.direction): parameters(network)
                for name, network in method.named_children() if parameters(network)
            },
            step_macs=macs,
            translation_macs=_translations(method, batch, config.data.direction, ledger),
            parts=parts,
            averaged=bool(train.ema) * _weights(method.translators().values()),
            copies=_copies(method, config),
            disk=disk_needed(method, config),
        )  # fmt: skip


def blank(config: RunConfig, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A batch of no particular content, as the networks get it; on the CPU."""
    sides = (config.data.a, config.data.b)[:: 1 if config.data.direction == "ab" else -1]
    source, target = (
        torch.empty(config.train.batch_size, side.width, *size) for side in sides
    )  # fmt: skip
    return source, target


def _step(
    method: Method, batch: tuple[Tensor, Tensor], optimizers: Optimizers, runtime: Runtime,
    config: RunConfig, ledger: Ledger,
) -> int:  # fmt: skip
    """Take a step; its arithmetic. Of many batches two tell what all need."""
    every = config.train.accumulate
    parts = min(every, 2)
    for part in range(parts):
        last = part == parts - 1
        update(
            method, batch, optimizers, runtime, config.train.clip, part == 0, last, 1 / every
        )  # fmt: skip
    return ledger.macs * every // parts


def _parts(
    method: Method, batch: tuple[Tensor, Tensor], optimizers: Optimizers, peak: int
) -> Parts:
    pools = (module for module in method.modules() if isinstance(module, ImagePool))
    pool = _bytes(chain.from_iterable(module.buffers() for module in pools))
    weights = _bytes([*method.parameters(), *method.buffers()]) - pool
    gradients = _bytes(w.grad for w in method.parameters() if w.grad is not None)
    averages = _bytes(
        value for optimizer in optimizers.values() for state in optimizer.state.values()
        for value in state.values() if isinstance(value, Tensor)
    )  # fmt: skip
    kept = weights + gradients + averages + pool + _bytes(batch)
    return Parts(weights, gradients, averages, pool, _bytes(batch), peak - kept)


def _translations(
    method: Method, batch: tuple[Tensor, Tensor], direction: str, ledger: Ledger
) -> dict[str, int]:  # fmt: skip
    counted = {}
    for name, network in method.translators().items():
        use_policy(network)
        ledger.begin()
        with torch.no_grad():
            network(batch[0 if name == "ab" else 1][:1])
        counted[on_disk(name, direction)] = ledger.macs
    return counted


def _copies(method: Method, config: RunConfig) -> int:
    """Bytes of the copies of networks that are there at once when a run is looked at."""
    generators = _weights(method.translators().values())
    judges = _weights(one.network for one in method.discriminators().values())
    twice = config.train.ema and config.validate.every  # raw and averaged weights are measured
    return generators * (2 if twice else 1) + judges


def _weights(networks: Iterable[nn.Module]) -> int:
    return _bytes(chain.from_iterable(network.parameters() for network in networks))


def _bytes(tensors: Iterable[Tensor | nn.Parameter]) -> int:
    return sum(tensor.nbytes for tensor in tensors)
