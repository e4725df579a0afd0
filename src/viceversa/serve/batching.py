"""Translate images that wait at the same time in batches, in one thread."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import UserError
from ..images.header import Pixels
from ..inference.batches import alike
from .failures import Failure, invalid_image, stalled
from .metrics import Metrics
from .models import ServedModel, warm_up
from .settings import BATCH_PIXELS

LOGGER = logging.getLogger("viceversa.serve")


Compute = Callable[[ServedModel, Sequence[Pixels]], Sequence[Any]]
"""Function that returns the results of a model for images of one size."""


@dataclass
class _Job:
    compute: Compute
    model: ServedModel
    pixels: Pixels
    result: asyncio.Future[Any] = field(default_factory=asyncio.Future)


class Batcher:
    """Queue of images, computed in order; images of the same model and size share a batch.

    Images of cancelled requests are not computed. A batch never waits for further images.

    Args:
        batch_size: Maximum number of images in a batch.
        threads: CPU threads of the networks.
        seconds: Time limit of a batch. A batch that exceeds it continues, since a thread cannot be
            stopped, but `stalled` is true.
        metrics: Counters of the server.
    """

    def __init__(self, batch_size: int, threads: int, seconds: float, metrics: Metrics) -> None:
        self._batch_size, self._seconds, self._metrics = batch_size, seconds, metrics
        self._began = math.inf
        self._jobs: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "translate", _prepare_thread, (threads,))
        self._task: asyncio.Task[None] | None = None

    async def start(self, models: Iterable[ServedModel]) -> None:
        """Start the thread, and translate a small image with each model. Raises UserError."""
        loop = asyncio.get_running_loop()
        for model in models:
            await loop.run_in_executor(self._thread, warm_up, model)
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop without waiting for the current batch, whose results are not needed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._thread.shutdown(wait=False)

    @property
    def computing(self) -> bool:
        """Whether a batch is being translated."""
        return self._began < math.inf

    @property
    def stalled(self) -> bool:
        """Whether a batch takes longer than its time limit."""
        return time.monotonic() - self._began > self._seconds

    def refuse_waiting(self) -> None:
        """Refuse the images that wait for a batch."""
        for job in self._jobs:
            if not job.result.done():
                job.result.set_exception(stalled())

    async def translate(self, model: ServedModel, pixels: Pixels) -> Pixels:
        """Translate an image. Raises Failure."""
        output: Pixels = await self.run(translations, model, pixels)
        self._metrics.add("images_total", model=model.name)
        return output

    async def run(self, compute: Compute, model: ServedModel, pixels: Pixels) -> Any:
        """Compute the result for an image. Raises Failure."""
        job = _Job(compute, model, pixels)
        self._jobs.append(job)
        self._arrived.set()
        return await job.result

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            batch = self._next_batch()
            if not batch:
                self._arrived.clear()
                continue
            first, images = batch[0], [job.pixels for job in batch]
            self._began = time.monotonic()
            try:
                results = await loop.run_in_executor(
                    self._thread, compute_each, first.compute, first.model, images
                )
            except asyncio.CancelledError:
                for job in [*batch, *self._jobs]:
                    job.result.cancel()
                raise
            self._began = math.inf
            self._metrics.add("batches_total")
            for job, result in zip(batch, results, strict=True):
                if job.result.done():  # cancelled in the meantime
                    continue
                if isinstance(result, Failure):
                    job.result.set_exception(result)
                else:
                    job.result.set_result(result)

    def _next_batch(self) -> list[_Job]:
        """Remove the jobs of the next batch from the queue, and all cancelled ones."""
        waiting = [job for job in self._jobs if not job.result.done()]
        batch: list[_Job] = []
        if waiting:
            first = waiting[0]
            height, width = first.pixels.shape[:2]
            most = max(1, min(self._batch_size, BATCH_PIXELS // (height * width)))
            same = (
                job
                for job in waiting
                if job.model is first.model
                and job.compute is first.compute
                and alike(first.pixels, job.pixels)
            )
            batch = [job for job, _ in zip(same, range(most), strict=False)]
        self._jobs = deque(job for job in waiting if not any(job is one for one in batch))
        return batch


def _prepare_thread(threads: int) -> None:
    """Set the thread-local state of torch."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


def translations(model: ServedModel, images: Sequence[Pixels]) -> Sequence[Pixels]:
    """Translate images."""
    return model.translator.pixels(images)


def compute_each(
    compute: Compute, model: ServedModel, images: Sequence[Pixels]
) -> Sequence[Any | Failure]:
    """Compute images of one size in one batch, or one by one if an image is refused."""
    try:
        return compute(model, images)
    except UserError as error:
        if len(images) > 1:
            return [compute_each(compute, model, [image])[0] for image in images]
        if error.option == "--batch_size":
            text = "the memory of the server is not enough for an image of this size"
            return [Failure(503, "out_of_memory", text)]
        return [invalid_image(error)]
    except Exception:
        LOGGER.exception("the computation failed")
        text = "the computation failed; the log of the server contains the details"
        return [Failure(500, "internal", text)] * len(images)
