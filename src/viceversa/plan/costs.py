"""Costs of training steps: estimated on fake tensors, which have no data, or measured."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from ..batch import Batch
from ..config.run import RunConfig, make_method
from ..data.sizes import check_images
from ..directions import SWAPPED, Direction, in_data
from ..errors import UserError
from ..evaluation.features import NETWORKS, PerceptualFeatures
from ..methods.base import Method
from ..methods.image_pool import ImagePool
from ..networks.norms import use_policy
from ..networks.sizes import parameters
from ..runtime.cuda_graph import WARM_UP
from ..runtime.device import (
    forget_search_memory,
    out_of_memory,
    peak_memory,
    synchronized_time,
)
from ..runtime.random_state import seed_everything
from ..runtime.training import Runtime
from ..training.gradients import GradientStats
from ..training.preflight import Disk, disk_needed
from ..training.setup import choose_formats, make_optimizers
from ..training.step import MicroBatch, Optimizers, update, updater

# Measured on CPUs from 64 to 256 px, in fp32 and bf16: oneDNN's copies of activations in its own
# layout and gaps in the heap, as a fraction of the activations; and code that is loaded late.
MARGIN, LIBRARIES = 0.4, 35_000_000


@dataclass(frozen=True)
class Costs:
    """Costs of a run: arithmetic in multiply-accumulates, memory and disk in bytes."""

    parameters: dict[str, int]
    step_macs: int
    """Forward and backward pass of a step, with all batches of an accumulated one."""
    translation_macs: dict[str, int]
    """One image through a generator, by direction."""
    parts: dict[str, int]
    """Memory at the peak of a step, by use: weights, gradients, optimizer_state, and so on."""
    ema: int
    """EMA weights (train.ema)."""
    copies: int
    """Copies of the networks for samples, validation and diagnostics."""
    disk: Disk

    @property
    def margin(self) -> int:
        """Memory that libraries use in addition to tensors."""
        return round(MARGIN * self.parts["activations"]) + LIBRARIES

    @property
    def steps(self) -> int:
        """Memory of training steps."""
        return sum(self.parts.values()) + self.margin

    @property
    def run(self) -> int:
        """Memory of a run. The heap can rarely reuse the memory of copies for activations."""
        return self.steps + self.ema + round((1 + MARGIN) * self.copies)


class StepMeter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the multiply-accumulates of all operations and the peak memory of their results.

    torch's FlopCounterMode uses the same formulas, but cannot count a gradient penalty: its module
    hooks fail in torch.autograd.grad.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = self.used = self.peak = 0
        self._storages: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func.overloadpacket):
            # torch counts a multiplication and an addition as two operations.
            self.macs += count(*args, **(kwargs or {}), out_val=output) // 2
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return output

    def restart(self) -> None:
        """Count from here on; what is in use stays so."""
        self.macs, self.peak = 0, self.used

    def _add(self, storage: torch.UntypedStorage) -> None:
        address, size = storage._cdata, storage.nbytes()
        if address not in self._storages:
            self._storages.add(address)
            self.used += size
            self.peak = max(self.peak, self.used)
            weakref.finalize(storage, self._remove, address, size)

    def _remove(self, address: int, size: int) -> None:
        self._storages.discard(address)
        self.used -= size


def estimate(
    config: RunConfig, size: tuple[int, int], device: torch.device, images: int = 0
) -> Costs:
    """Estimate the costs of a run.

    Args:
        config: The settings of the run.
        size: Height and width of the networks' input.
        device: The device of the run; nothing is allocated there.
        images: Images per epoch, if known.

    Raises:
        UserError: The networks cannot train on that size.
    """
    train, speed = config.train, config.speed
    precision = "fp32" if train.precision == "tf32" else train.precision  # needs the same memory
    speed = replace(speed, conv_as_matmul=speed.conv_as_matmul and device.type == "cpu")
    runtime = Runtime("cpu", precision, speed=speed)
    with FakeTensorMode(), StepMeter() as meter:
        method = make_method(config).train()
        random_feature_networks(method, torch.device("cpu"))
        batch = empty_batch(config, size)
        alone = images % train.batch_size == 1  # the last batch of an epoch
        check_images(method, (batch.a[0], batch.b[0]), 1 if alone else train.batch_size)
        runtime.apply_speed_options(chain.from_iterable(method.players().values()))
        optimizers = make_optimizers(method, train, runtime)
        every = train.accumulation_steps
        # Two micro-batches show the memory of any larger number.
        micro_batches = [MicroBatch(batch, 1 / every)] * min(every, 2)
        _make_state(method, batch, optimizers, runtime)
        meter.restart()
        update(method, micro_batches, optimizers, runtime, train.grad_clip)
        step_macs = meter.macs * every // len(micro_batches)
        parts = _parts(method, batch, optimizers, meter.peak)
        parts["batch"] *= every  # all batches of a step are loaded before it
        translators, direction = method.translators(), config.data.direction
        discriminators = [one.network for one in method.discriminators().values()]
        copies = 2 if train.ema and config.validate.every else 1  # raw and EMA weights
        return Costs(
            parameters={
                _in_data(name, direction): parameters(network)
                for name, network in method.named_children()
                if parameters(network)
            },
            step_macs=step_macs,
            translation_macs={
                in_data(name, direction): _translation_macs(network, batch.of(name)[0], meter)
                for name, network in translators.items()
            },
            parts=parts,
            ema=_weights(translators.values()) if train.ema else 0,
            copies=copies * _weights(translators.values()) + _weights(discriminators),
            disk=disk_needed(method, config),
        )


def _in_data(name: str, direction: Direction) -> str:
    """The name of a network, such as g_ab, with the domains of the data."""
    prefix, separator, domains = name.rpartition("_")
    known = domains in SWAPPED
    return prefix + separator + in_data(domains, direction) if known else name


def empty_batch(config: RunConfig, size: tuple[int, int]) -> Batch:
    """Return an uninitialised batch of the networks' input, on the CPU."""
    domains = (config.data.a, config.data.b)[:: 1 if config.data.direction == "ab" else -1]
    source, target = (
        torch.empty(config.train.batch_size, domain.width, *size) for domain in domains
    )
    return Batch(source, target)


def random_feature_networks(method: Method, device: torch.device) -> None:
    """Give a method the feature networks that it needs, without their trained weights."""
    method.feature_networks = {
        name: PerceptualFeatures(NETWORKS[name].make()).to(device).requires_grad_(False)
        for name in method.needed_features()
    }


def _make_state(method: Method, batch: Batch, optimizers: Optimizers, runtime: Runtime) -> None:
    """Make what the first step would: the state of the optimizers, gradients, and image pools."""
    for optimizer in optimizers.values():
        for weight in chain.from_iterable(group["params"] for group in optimizer.param_groups):
            weight.grad = torch.zeros_like(weight)
        runtime.step(optimizer, torch.ones((), dtype=torch.bool))
    pools: list[tuple[str, Any]] = [
        entry for entry in method.named_modules() if isinstance(entry[1], ImagePool)
    ]
    for name, pool in pools:
        own = batch.b if name.endswith("_b") else batch.a
        pool.images = own.new_zeros(pool.size, *own.shape[1:])
        pool.exchange = torch.clone  # needs a few images for a moment; hundreds take long


def _parts(method: Method, batch: Batch, optimizers: Optimizers, peak: int) -> dict[str, int]:
    pools = [module for module in method.modules() if isinstance(module, ImagePool)]
    states = chain.from_iterable(optimizer.state.values() for optimizer in optimizers.values())
    pool = _bytes(chain.from_iterable(module.buffers() for module in pools))
    parts = {
        "weights": _bytes([*method.parameters(), *method.buffers()]) - pool,
        "gradients": _bytes(weight.grad for weight in method.parameters()),
        "optimizer_state": _bytes(chain.from_iterable(state.values() for state in states)),
        "pool": pool,
        "batch": _bytes(batch.tensors),
    }
    return parts | {"activations": peak - sum(parts.values())}


def _translation_macs(network: nn.Module, images: Tensor, meter: StepMeter) -> int:
    use_policy(network)
    meter.restart()
    with torch.no_grad():
        network(images[:1])
    return meter.macs


def _weights(networks: Iterable[nn.Module]) -> int:
    return _bytes(chain.from_iterable(network.parameters() for network in networks))


def _bytes(values: Iterable[Any]) -> int:
    return sum(value.nbytes for value in values if isinstance(value, Tensor))


def time_steps(
    config: RunConfig, size: tuple[int, int], count: int, note: Callable[[str], None]
) -> tuple[list[float], int]:
    """Time training steps on noise, after one step of warm-up or as many as a CUDA graph needs.

    Returns:
        Seconds of each step, and the bytes by which the peak memory of the process grew.

    Raises:
        UserError: The memory is not enough, or an option does not work on this machine.
    """
    train = config.train
    seed_everything(train.seed)
    runtime = Runtime(train.device, train.precision, train.deterministic, config.speed)
    before = peak_memory(runtime.device)
    seconds = []
    try:
        method = make_method(config).train()
        runtime.prepare(method, list(chain.from_iterable(method.players().values())))
        random_feature_networks(method, runtime.device)
        optimizers = make_optimizers(method, train, runtime)
        batch = empty_batch(config, size).map(lambda one: one.uniform_(-1, 1).to(runtime.device))
        choose_formats(method, runtime, lambda: batch.a, note)
        stats = GradientStats(runtime.device)
        step = updater(method, optimizers, runtime, train.grad_clip, stats, note)
        every = train.accumulation_steps
        micro_batches = [MicroBatch(batch, 1 / every)] * every
        graph = runtime.no_graph_reason() is None and every == 1
        warm_up = WARM_UP + 1 if graph else 0
        for _ in range(warm_up + count):
            start = synchronized_time(runtime.device)
            step(micro_batches)
            seconds.append(synchronized_time(runtime.device) - start)
            if len(seconds) == 1:
                forget_search_memory(runtime.device)
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            raise UserError(
                "the timed steps ran out of memory, although they were predicted to fit; free some "
                "memory, or skip the timing (--steps 0)",
                option="--steps",
            ) from None
        raise runtime.explain(error) from None
    memory = max(0, peak_memory(runtime.device) - before)
    return seconds[warm_up + 1 :] or seconds[-1:], memory
