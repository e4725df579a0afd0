"""A whole training step as one CUDA graph: thousands of kernels, launched at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]
Step = Callable[[Batch], dict[str, Tensor]]
WARM_UP = 3  # steps before the capture: they choose algorithms and make what is made only once


class Graphed:
    """A step that is captured after a few runs, and replayed from then on.

    The steps before it are real steps on real batches. A batch of another size, such as the last
    one of an epoch, is run as it is. Where the capture fails, `explain` is told once, `forget` puts
    back what the broken step began, and every step is run as it is. What stands outside the graph:
    loading, the log, samples, checkpoints.
    """

    def __init__(
        self, step: Step, explain: Callable[[str], None], forget: Callable[[], None]
    ):  # fmt: skip
        self._step, self._explain, self._forget = step, explain, forget
        self._warm = 0
        self._given_up = False
        self._graph: torch.cuda.CUDAGraph | None = None
        self._failed: torch.cuda.CUDAGraph | None = None
        self._batch: Batch | None = None  # the memory that the graph reads
        self._losses: dict[str, Tensor] = {}  # the memory that it writes

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of a step on a batch; Adam, norms and pools are changed by it as ever."""
        if self._batch is None:
            self._batch = batch[0].clone(), batch[1].clone()
        fits = all(new.shape == own.shape for new, own in zip(batch, self._batch, strict=True))
        if self._given_up or not fits:
            return self._step(batch)
        if self._warm < WARM_UP:
            self._warm += 1
            return self._beside(batch)
        for own, new in zip(self._batch, batch, strict=True):
            own.copy_(new)
        if self._graph is None and not self._captured():
            return self._step(batch)
        assert self._graph is not None
        self._graph.replay()
        return {name: loss.clone() for name, loss in self._losses.items()}

    def _beside(self, batch: Batch) -> dict[str, Tensor]:
        """A step on another stream, as a capture is: it leaves nothing behind on the main one."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            losses = self._step(batch)
        torch.cuda.current_stream().wait_stream(stream)
        return losses

    def _captured(self) -> bool:
        """Write the graph down; nothing is computed by that."""
        assert self._batch is not None
        graph = None
        try:
            graph = torch.cuda.CUDAGraph()
            # The outer one goes back to the stream at hand, which a capture that fails does not.
            with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph):
                self._losses = self._step(self._batch)
        except RuntimeError as error:
            self._given_up, self._losses = True, {}
            self._forget()
            if graph is not None:
                self._clean_up(graph)
            reason = str(error).splitlines()[0]
            self._explain(f"steps run one kernel at a time: no CUDA graph could be made ({reason})")
            return False
        self._graph = graph
        return True

    def _clean_up(self, failed: torch.cuda.CUDAGraph) -> None:
        """Undo what torch leaves behind after a capture that failed.

        Its default generator stays in capture mode, in which dropout raises outside of a capture; a
        clone of the generator's state is not in that mode. The memory allocator keeps a pointer to
        the graph, which therefore has to stay alive.
        """
        self._failed = failed
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        generator.graphsafe_set_state(generator.clone_state())
