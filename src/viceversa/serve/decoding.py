"""Pool of the processes that decode images."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ..fields import plain
from ..images.header import Pixels
from . import decoder
from .decoder import LENGTHS, Preparation, frame, from_frame
from .failures import Failure, invalid_image
from .metrics import Metrics
from .settings import DECODE_SECONDS

START_SECONDS = 60.0
MEMORY = 2 * 2**30  # of libraries and small images, in bytes
PIXEL_MEMORY = 128  # for each pixel of the largest image
GONE = (OSError, EOFError, asyncio.IncompleteReadError, TimeoutError, ValueError)


class Decoders:
    """A fixed number of decoder processes. A process that ends or is too slow is replaced.

    Args:
        count: Number of processes.
        max_pixels: Maximum number of pixels of an image.
        metrics: Counters of the server.
        seconds: Time limit for an image.
    """

    def __init__(
        self,
        count: int,
        max_pixels: int,
        metrics: Metrics,
        seconds: float = DECODE_SECONDS,
    ) -> None:
        self._count, self._max_pixels = count, max_pixels
        self._seconds, self._metrics = seconds, metrics
        self._first = b""
        self._free: asyncio.Queue[Process | None] = asyncio.Queue()
        self._all: set[Process] = set()

    async def start(self, models: Sequence[Preparation]) -> None:
        """Start the processes.

        Args:
            models: The preprocessing of each model, by number.
        """
        described = [
            {"source": plain(one.source), "preprocessing": plain(one.preprocessing)}
            for one in models
        ]
        memory = MEMORY + PIXEL_MEMORY * self._max_pixels
        first = {"models": described, "max_pixels": self._max_pixels, "memory": memory}
        self._first = frame(first)
        for process in await asyncio.gather(*(self._started() for _ in range(self._count))):
            self._free.put_nowait(process)

    async def close(self) -> None:
        """End the processes."""
        for process in list(self._all):
            await self._end(process)

    @property
    def processes(self) -> list[int]:
        """Process IDs."""
        return [one.pid for one in self._all]

    async def decode(self, model: int, size: str, data: bytes) -> Pixels:
        """Decode an image for a model. Raises Failure.

        If the call is cancelled, the process finishes the image under the same limits.
        """
        process = await self._free.get()
        return await asyncio.shield(asyncio.ensure_future(self._decode(process, model, size, data)))

    async def _decode(self, process: Process | None, model: int, size: str, data: bytes) -> Pixels:
        try:
            if process is None or process.returncode is not None:  # it ended while it was idle
                process = await self._started()
            try:
                async with asyncio.timeout(self._seconds):
                    header, answer = await _exchange(
                        process, frame({"model": model, "size": size}, data)
                    )
                pixels = None if "error" in header else from_frame(header, answer)
            except GONE as error:
                self._metrics.add("decoder_failures_total")
                await self._end(process)
                process = None
                raise _lost(error) from None
        finally:
            self._free.put_nowait(process)
        if pixels is None:
            raise invalid_image(str(header["error"]))
        return pixels

    async def _started(self) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", decoder.__name__, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
        )
        self._all.add(process)
        try:
            async with asyncio.timeout(START_SECONDS):
                await _exchange(process, self._first)
        except BaseException:
            await self._end(process)
            raise
        return process

    async def _end(self, process: Process) -> None:
        self._all.discard(process)
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _exchange(process: Process, sent: bytes) -> tuple[dict[str, Any], bytes]:
    """Write a frame and read its answer."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(sent)
    await process.stdin.drain()
    text, data = LENGTHS.unpack(await process.stdout.readexactly(LENGTHS.size))
    header = json.loads(await process.stdout.readexactly(text))
    return header, await process.stdout.readexactly(data)


def _lost(error: BaseException) -> Failure:
    if isinstance(error, TimeoutError):
        return invalid_image("decoding the image takes too long")
    return invalid_image("the image cannot be decoded: its decoder failed")
