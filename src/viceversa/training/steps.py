"""From batches to steps: whole ones, parts of one, shares of those that several processes make."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

from torch import Tensor

from ..config.train import TrainConfig
from ..methods.base import Method
from ..runtime.training import Runtime
from .diagnostics import Watch
from .requests import RequestFlags, Requests
from .step import Optimizers, step_players, update


class Steps:
    """Takes batch after batch, and lets the players step when a group of them is complete."""

    def __init__(
        self, method: Method, optimizers: Optimizers, runtime: Runtime, train: TrainConfig,
        watch: Watch, first: Callable[[], tuple[Tensor, Tensor]], note: Callable[[str], None],
    ):  # fmt: skip
        """`first` gives the first good (source, target), as they are in a batch."""
        self.method, self.optimizers, self.runtime, self.train = method, optimizers, runtime, train
        self.watch, self.first, self.note = watch, first, note
        self.whole = runtime.graphed(self.part, note)
        self.good = 0  # batches of the group at hand that were not left out

    def settle(self, before: str | None) -> None:
        """Choose the memory format (in a resumed run the one `before`), and compile the networks,
        except discriminators that a gradient penalty differentiates twice."""
        each = -(-self.train.batch_size // self.runtime.ranks.count)
        network = next(iter(self.method.translators().values()))
        chosen = self.runtime.choose_memory_format(
            self.method, network, lambda: self.stand_in()[0].repeat(each, 1, 1, 1), before
        )
        if chosen != "contiguous":
            self.note(f"images lie in memory as {chosen}")
        objective = self.method.objective
        twice = self.method.discriminators().values() if objective and objective.penalized else ()
        networks = list(chain.from_iterable(self.method.players().values()))
        self.runtime.compile(networks, [discriminator.network for discriminator in twice])

    def take(
        self, batch: tuple[Tensor, Tensor] | None, part: int, parts: int, requests: Requests
    ) -> tuple[dict[str, Tensor] | None, RequestFlags]:
        """A step, or the share of one that a batch has; None stands for a batch left out.

        Returns its losses, None where no process has an image, and what they together ask for.
        """
        if part == 0:
            self.good = 0
        own, last = len(batch[0]) if batch else 0, part == parts - 1
        images, asked = requests.agree(own)
        if not images:
            if last and self.good:
                step_players(
                    self.method, self.optimizers, self.runtime, self.train.grad_clip, self.watch
                )
            return None, asked
        self.good += 1
        group = {"first": self.good == 1, "last": last, "share": 1 / parts}
        if batch is None:
            with self._no_trace():
                losses = self.part(self.stand_in(), weight=0.0, **group)
        elif parts == 1 and own == images:
            losses = self.whole(batch)
        else:
            losses = self.part(batch, weight=own / images, **group)
        self.watch.step()
        return losses, asked

    def part(self, batch: tuple[Tensor, Tensor], **group: Any) -> dict[str, Tensor]:
        """A step, or what the images of this process have of one."""
        method, clip = self.method, self.train.grad_clip
        return update(method, batch, self.optimizers, self.runtime, clip, watch=self.watch, **group)

    def stand_in(self) -> tuple[Tensor, Tensor]:
        """The first good image, for a process that has none of a batch: it goes through the same
        turns as the others, and counts for nothing."""
        source, target = (image[None].to(self.runtime.device) for image in self.first())
        return source, target

    @contextmanager
    def _no_trace(self) -> Iterator[None]:
        """What passes within leaves pools and statistics as they were."""
        before = {name: buffer.clone() for name, buffer in self.method.named_buffers()}
        yield
        for name, buffer in self.method.named_buffers():
            if buffer.shape == before[name].shape:
                buffer.copy_(before[name])
