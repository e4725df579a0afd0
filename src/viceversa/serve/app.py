"""The ASGI application: routes and their handlers, and the files of the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from .failures import Failure, loading, stopping
from .guard import Guard
from .openapi import description
from .service import Service

PAGE = Path(__file__).parents[1] / "page" / "web"
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".json": "application/json",
}
CODES = {404: "not_found", 405: "method_not_allowed"}
MESSAGES = {404: "there is no such page", 405: "this method is not allowed here"}


class Handlers:
    """Application that answers requests with a service.

    Args:
        service: The service.
        openapi: The OpenAPI description.
    """

    def __init__(self, service: Service, openapi: dict[str, Any]) -> None:
        self._service, self._openapi, self._page = service, openapi, read_page(PAGE)

    def routes(self) -> list[Route]:
        """Return the routes of all requests."""
        return [
            Route("/", self.file, methods=["GET"]),
            Route("/page/{name:path}", self.file, methods=["GET"]),
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/v1/models/{name}/translate", self.translate, methods=["POST"]),
            Route("/v1/models/{name}/patch_map", self.patch_map, methods=["POST"]),
            Route("/v1/models/{name}/examples/{example}", self.example, methods=["GET"]),
            Route("/livez", self.livez, methods=["GET"]),
            Route("/readyz", self.readyz, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
        ]

    async def file(self, request: Request) -> Response:
        """Answer with a file of the page."""
        name = request.path_params.get("name", "index.html")
        if name not in self._page:
            raise HTTPException(404)
        content, kind = self._page[name]
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

    def models(self, request: Request) -> Response:
        """Answer with the descriptions of the models."""
        if not self._service.loaded.is_set():
            raise loading()
        return JSONResponse([model.about for model in self._service.models.values()])

    async def example(self, request: Request) -> Response:
        """Answer with an example input of a model."""
        model = self._service.model(request.path_params["name"])
        example = model.examples.get(request.path_params["example"])
        if example is None:
            raise Failure(404, "unknown_example", "the model has no example with this name")
        headers = {"cache-control": "no-cache"}
        return Response(example.content, media_type=example.media_type, headers=headers)

    async def translate(self, request: Request) -> Response:
        """Answer with the translation of the image in the body."""
        return await unless_ended(self._service.translate(request))

    async def patch_map(self, request: Request) -> Response:
        """Answer with the patch scores of the translation of the image in the body."""
        return await unless_ended(self._service.patch_map(request))

    async def livez(self, request: Request) -> Response:
        """Answer 200 unless a batch takes too long (liveness)."""
        self._service.check_alive()
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        """Answer 200 while the service accepts images (readiness)."""
        self._service.check_ready()
        return PlainTextResponse("ok\n")

    async def metrics(self, request: Request) -> Response:
        """Answer with the metrics."""
        text = self._service.metrics.text()
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def openapi(self, request: Request) -> Response:
        """Answer with the OpenAPI description."""
        return JSONResponse(self._openapi)


async def unless_ended(work: Awaitable[Response]) -> Response:
    """Return the answer to a request, even if the client or the server cancels the request."""
    try:
        return await work
    except ClientDisconnect:
        return Response(status_code=499)  # the client has disconnected
    except asyncio.CancelledError:  # the server is stopping
        raise stopping() from None


async def http_error(request: Request, error: Exception) -> Response:
    """Answer a request that matches no route."""
    assert isinstance(error, HTTPException)
    status = error.status_code
    text = MESSAGES.get(status, "the request is invalid")
    return Failure(status, CODES.get(status, "invalid"), text, error.headers).response()


def create_app(service: Service, token: str = "", early: bool = True) -> Starlette:
    """Return the application of a service.

    Args:
        service: The service, which the application starts and closes.
        token: Token that clients must send; empty: no token is needed.
        early: Whether to answer requests, with 503, while the models are being loaded.
    """
    settings = service.settings

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        starting = asyncio.create_task(service.start())
        try:
            if not early:
                await starting
            yield
        finally:
            starting.cancel()
            with suppress(asyncio.CancelledError):
                await starting
            await service.close()

    guard = Middleware(
        Guard,
        host=settings.host,
        allowed_hosts=settings.allowed_hosts.split(","),
        token=token,
        metrics=service.metrics,
    )
    return Starlette(
        routes=Handlers(service, description(settings, bool(token))).routes(),
        middleware=[guard],
        exception_handlers={HTTPException: http_error},
        lifespan=lifespan,
    )


def read_page(folder: Path) -> dict[str, tuple[bytes, str]]:
    """Return the files of the page with their media types; no request reads a file."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), TYPES[path.suffix])
        for path in sorted(folder.rglob("*"))
        if path.suffix in TYPES
    }
