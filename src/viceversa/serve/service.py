"""State of the service, and the handling of translation requests."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive

from ..errors import UserError
from ..images.header import Pixels
from .batching import Batcher
from .bodies import busy, read_body
from .decoder import Preparation
from .decoding import Decoders
from .failures import Failure, loading, stalled, stopping
from .formats import answer_type, check_magic, check_type, encode
from .metrics import Metrics
from .models import ServedModel
from .patch_maps import patch_map_answer, score_each
from .settings import BODY_SECONDS, ServeSettings

LOGGER = logging.getLogger("viceversa.serve")
NOT_STORED = {"cache-control": "no-store"}
T = TypeVar("T")


class Service:
    """Models, decoder processes, the thread of the networks, and counters.

    Args:
        load: Function that returns the models by name, and may raise UserError.
        settings: Options of the service.
        body_seconds: Time limit for the body of a request.

    Attributes:
        models: The models by name; empty until they are loaded.
        error: The error that ended `start`.
        stopping: Whether the server is ending.
    """

    def __init__(
        self,
        load: Callable[[], dict[str, ServedModel]],
        settings: ServeSettings,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self.settings, self.metrics = settings, Metrics()
        self.models: dict[str, ServedModel] = {}
        self.error: UserError | None = None
        self.loaded, self.stopping = asyncio.Event(), False
        self.decoders = Decoders(settings.decoders, settings.max_pixels, self.metrics)
        self.batcher = Batcher(
            settings.batch_size, settings.threads, settings.timeout, self.metrics
        )
        self._load, self._body_seconds = load, body_seconds
        self._average = 0.1  # seconds of a request

    async def start(self) -> None:
        """Load the models, and start the decoder processes and the thread of the networks."""
        try:
            models = await asyncio.to_thread(self._load)
            translators = [one.translator for one in models.values()]
            await self.decoders.start(
                [Preparation(one.source, one.preprocessing) for one in translators]
            )
            await self.batcher.start(models.values())
        except UserError as error:
            self.error = error
        except Exception:
            LOGGER.exception("the server could not start")
            self.error = UserError("the server could not start; the reason is on standard error")
        else:
            self.models = models
            self.loaded.set()
            self.metrics.add("workers")

    async def close(self) -> None:
        """Stop."""
        await self.batcher.close()
        await self.decoders.close()

    def model(self, name: str) -> ServedModel:
        """Return a model. Raises Failure."""
        if not self.loaded.is_set():
            raise loading()
        if name not in self.models:
            raise Failure(404, "unknown_model", "there is no model with this name")
        return self.models[name]

    async def translate(self, request: Request) -> Response:
        """Answer a translation request. Raises Failure."""
        self.check_ready()
        model = self.model(request.path_params["name"])
        kind = answer_type(request.headers.get("accept", ""), model.translator)

        async def translated(image: Pixels) -> bytes:
            output = await self.batcher.translate(model, image)
            return await asyncio.to_thread(encode, model.translator, image, output, kind)

        answer = await self._computed(request, model, translated)
        return Response(answer, media_type=kind, headers=NOT_STORED)

    async def patch_map(self, request: Request) -> Response:
        """Answer a request for the patch map of a translation. Raises Failure."""
        self.check_ready()
        model = self.model(request.path_params["name"])
        if model.scorer is None:
            text = "this model has no discriminator, so there is no patch map"
            raise Failure(404, "no_patch_map", text)

        async def scored(image: Pixels) -> dict[str, Any]:
            scores = await self.batcher.run(score_each, model, image)
            return await asyncio.to_thread(patch_map_answer, scores)

        return JSONResponse(await self._computed(request, model, scored), headers=NOT_STORED)

    async def _computed(
        self, request: Request, model: ServedModel, compute: Callable[[Pixels], Awaitable[T]]
    ) -> T:
        """Return the result of `compute` for the image in the body, under all limits."""
        size = request.query_params.get("size", "own")
        try:
            model.translator.preprocessing.check(size, model.name, self.settings.max_pixels)
        except UserError:
            text = "size must be own, trained, 256 or 256,512 (height,width), and within the limit"
            raise Failure(422, "invalid_size", text) from None
        check_type(request.headers.get("content-type", ""))
        self._check_queue()
        headers, receive = request.headers, request.receive
        limit = self.settings.body_bytes
        data = await read_body(headers, receive, limit, self._body_seconds, self.metrics)
        check_magic(data)
        self._check_queue()  # it may have filled up while the body was read

        async def answer() -> T:
            return await compute(await self.decoders.decode(model.number, size, data))

        began = time.monotonic()
        self.metrics.add("requests_in_progress")
        try:
            async with asyncio.timeout(self.settings.timeout):
                result = await unless_gone(receive, answer())
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
        return result

    def check_alive(self) -> None:
        """Raise the error of the service, or Failure, if the service has to be restarted."""
        if self.error is not None:
            raise self.error
        if self.batcher.stalled:
            raise stalled()

    def check_ready(self) -> None:
        """Raise Failure if the service accepts no images."""
        if self.stopping:
            raise stopping()
        if not self.loaded.is_set():
            raise loading()
        self.check_alive()

    def stop(self) -> None:
        """Accept no more images."""
        self.stopping = True
        if self.batcher.stalled:
            self.batcher.refuse_waiting()

    def _check_queue(self) -> None:
        self.check_ready()
        if self.metrics.value("requests_in_progress") >= self.settings.queue:
            raise busy(min(math.ceil(self._average), 60))


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine; cancel it if the client disconnects.

    Raises ClientDisconnect if the client disconnects.
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
