"""Run a whole training step as one CUDA graph: thousands of kernels in one launch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..batch import Batch

Step = Callable[[Batch], dict[str, Tensor]]
WARM_UP = 3  # steps before the capture: they choose algorithms and allocate what is kept


class GraphedStep:
    """A training step that is captured after a few calls and replayed from then on.

    The calls before the capture are real steps on real batches. A batch of another size, such as
    the last one of an epoch, runs without the graph. If the capture fails, all steps do. Loading,
    the log, samples and checkpoints are not part of the graph.

    Args:
        step: Takes a step on a batch and returns its losses.
        note: Gets a message if the capture fails.
        abandon_step: Resets what the failed step began.
    """

    def __init__(
        self, step: Step, note: Callable[[str], None], abandon_step: Callable[[], None]
    ) -> None:
        self._step, self._note, self._abandon_step = step, note, abandon_step
        self._warm_up = WARM_UP
        self._failed = False
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batch: Batch | None = None  # input memory of the graph
        self._losses: dict[str, Tensor] = {}  # output memory of the graph

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Take a step on a batch and return its losses; optimizers and buffers are updated."""
        if self._batch is None:
            self._batch = batch.map(torch.clone)
        fits = _shapes(batch) == _shapes(self._batch)
        if self._failed or not fits:
            return self._step(batch)
        if self._warm_up:
            self._warm_up -= 1
            return self._on_side_stream(batch)
        for own, new in zip(self._batch.tensors, batch.tensors, strict=True):
            own.copy_(new)
        if self._graph is None:
            self._capture(self._batch)
            if self._failed:
                return self._step(batch)
        assert self._graph is not None
        self._graph.replay()
        return {name: loss.clone() for name, loss in self._losses.items()}

    def _on_side_stream(self, batch: Batch) -> dict[str, Tensor]:
        """Take a step on a side stream, as a capture does, so that it leaves no state behind."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            losses = self._step(batch)
        torch.cuda.current_stream().wait_stream(stream)
        return losses

    def _capture(self, batch: Batch) -> None:
        """Record the graph; that computes nothing."""
        try:
            self._graph = torch.cuda.CUDAGraph()
            # The outer context returns to the current stream; a failed capture does not.
            with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(self._graph):
                self._losses = self._step(batch)
        except RuntimeError as error:
            self._failed, self._losses = True, {}
            self._abandon_step()
            if self._graph is not None:
                # torch leaves its default generator in capture mode, in which dropout raises
                # outside of a capture; a clone of its state is not in that mode. The memory
                # allocator keeps a pointer to the graph, which therefore has to stay alive.
                generator = torch.cuda.default_generators[torch.cuda.current_device()]
                generator.graphsafe_set_state(generator.clone_state())
            why = str(error).splitlines()[0]
            self._note(f"no CUDA graph is used: the capture failed ({why})")


def _shapes(batch: Batch) -> list[torch.Size | None]:
    return [one.shape if isinstance(one, Tensor) else None for one in batch]
