"""State of the service, and the handling of translation requests."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive

from ..errors import UserError
from .batching import Batcher
from .bodies import busy, read_body
from .decoder import Preparation
from .decoding import Decoders
from .failures import Failure, stopping
from .formats import answer_type, check_magic, check_type, encode
from .metrics import Metrics
from .models import ServedModel
from .settings import BODY_SECONDS, ServeSettings

T = TypeVar("T")


class Service:
    """Models, decoder processes, the thread of the networks, and counters.

    Args:
        models: The models by name.
        settings: Options of the service.
        body_seconds: Time limit for the body of a request.
    """

    def __init__(
        self,
        models: dict[str, ServedModel],
        settings: ServeSettings,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self.models, self.settings, self.metrics = models, settings, Metrics()
        self.stopping = False
        self._body_seconds = body_seconds
        parts = [
            Preparation(one.translator.source, one.translator.preprocessing)
            for one in models.values()
        ]
        self.decoders = Decoders(parts, settings.decoders, settings.max_pixels, self.metrics)
        self.batcher = Batcher(settings.batch_size, settings.threads, self.metrics)
        self._average = 0.1  # seconds of a request

    async def start(self) -> None:
        """Start the decoder processes and the thread of the networks."""
        await self.decoders.start()
        self.batcher.start()

    async def close(self) -> None:
        """Stop."""
        await self.batcher.close()
        await self.decoders.close()

    async def translate(self, request: Request) -> Response:
        """Answer a translation request. Raises Failure."""
        model = self.models.get(request.path_params["name"])
        if model is None:
            raise Failure(404, "unknown_model", "there is no model with this name")
        translator = model.translator
        size = request.query_params.get("size", "own")
        try:
            translator.preprocessing.check(size, model.name, self.settings.max_pixels)
        except UserError:
            text = "size must be own, trained, 256 or 256,512 (height,width), and within the limit"
            raise Failure(422, "invalid_size", text) from None
        check_type(request.headers.get("content-type", ""))
        kind = answer_type(request.headers.get("accept", ""), translator)
        self._check_queue()
        headers, receive = request.headers, request.receive
        limit = self.settings.body_bytes
        data = await read_body(headers, receive, limit, self._body_seconds, self.metrics)
        check_magic(data)
        self._check_queue()  # it may have filled up while the body was read
        began = time.monotonic()
        self.metrics.add("requests_in_progress")
        try:
            async with asyncio.timeout(self.settings.timeout):
                answer = await unless_gone(receive, self._answer(model, size, data, kind))
        except TimeoutError:
            raise Failure(
                504, "timeout", f"no result after {self.settings.timeout:g} seconds"
            ) from None
        except ClientDisconnect:
            self.metrics.add("cancelled_total")
            raise
        finally:
            self.metrics.add("requests_in_progress", -1)
        seconds = time.monotonic() - began
        self._average += (seconds - self._average) / 10
        self.metrics.observe(seconds)
        return Response(answer, media_type=kind, headers={"cache-control": "no-store"})

    def _check_queue(self) -> None:
        if self.stopping:
            raise stopping()
        if self.metrics.value("requests_in_progress") >= self.settings.queue:
            raise busy(min(math.ceil(self._average), 60))

    async def _answer(self, model: ServedModel, size: str, data: bytes, kind: str) -> bytes:
        image = await self.decoders.decode(model.number, size, data)
        output = await self.batcher.translate(model, image)
        return await asyncio.to_thread(encode, model.translator, image, output, kind)


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine; cancel it if the client disconnects.

    Raises ClientDisconnect then.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
