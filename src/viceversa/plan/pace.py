"""How long steps take: a few real ones, at the real settings, on the real device."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

from ..build import RunConfig, make_method
from ..errors import UserError
from ..health import Watch
from ..requests import Requests
from ..runtime.cuda_graph import WARM_UP, GraphedStep
from ..runtime.device import out_of_memory, peak_memory, synchronized_time
from ..runtime.random_state import seed_everything
from ..runtime.training import Runtime
from ..steps import Steps
from ..update import make_optimizers
from .costs import blank


@dataclass(frozen=True)
class Pace:
    """What timed steps took."""

    images: int
    """In a step."""
    every: tuple[float, ...]
    """Each of the steps that counted."""
    memory: int
    """Bytes by which the most that was held at once grew."""

    @property
    def seconds(self) -> float:
        """A step, the median; an accumulated one with all its batches."""
        return statistics.median(self.every)

    @property
    def rate(self) -> float:
        """Images (or pairs) a second."""
        return self.images / self.seconds

    def lasts(self, images: int, epochs: int = 1) -> float:
        """Seconds to train on so many images, so many times."""
        return images * epochs / self.rate


def timed(
    config: RunConfig, size: tuple[int, int], count: int, note: Callable[[str], None]
) -> Pace:
    """Take `count` steps on images of noise; the first warms up, and so do, before it, those that
    a CUDA graph needs.

    Raises UserError where the memory is not enough, or the settings can't be had here.
    """
    train = config.train
    seed_everything(train.seed)
    runtime = Runtime(train.device, train.precision, train.deterministic, config.speed)
    before = peak_memory(runtime.device)
    seconds = []
    try:
        method = make_method(config).train()
        networks = list(chain.from_iterable(method.players().values()))
        runtime.prepare(method, networks)
        optimizers = make_optimizers(method, train, runtime)
        source, target = (side.uniform_(-1, 1).to(runtime.device) for side in blank(config, size))
        steps = Steps(
            method, optimizers, runtime, train, Watch(runtime.device),
            lambda: (source[0], target[0]), note,
        )  # fmt: skip
        steps.settle(None)
        requests = Requests(train, runtime.ranks, lambda: False)
        more = WARM_UP + 1 if isinstance(steps.whole, GraphedStep) and train.accumulate == 1 else 0
        for _ in range(more + count):
            began = synchronized_time(runtime.device)
            for part in range(train.accumulate):
                steps.take((source, target), part, train.accumulate, requests)
            seconds.append(synchronized_time(runtime.device) - began)
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            raise UserError(
                "the memory was not enough for the timed steps, though it was predicted to be; "
                "leave room, or only count: --steps 0"
            ) from None
        raise runtime.explain(error) from None
    used = seconds[more + 1 :] or seconds[-1:]
    memory = max(0, peak_memory(runtime.device) - before)
    images = train.batch_size * train.accumulate
    return Pace(images, tuple(used), memory)
