"""The ASGI application: routes, the page, and the OpenAPI description."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from .failures import Failure, stopping
from .guard import Guard
from .openapi import description
from .service import Service

PAGE = Path(__file__).parent / "page"
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


def create_app(service: Service, token: str = "") -> Starlette:
    """Return the application of a service.

    Args:
        service: The service, which the application starts and closes.
        token: Token that clients must send; empty: none.
    """
    page = read_page(PAGE)
    openapi = description(service.settings, bool(token))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.close()

    def models(request: Request) -> Response:
        return JSONResponse([model.about for model in service.models.values()])

    async def translate(request: Request) -> Response:
        try:
            return await service.translate(request)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        except asyncio.CancelledError:  # the server does not wait for it any longer
            raise stopping() from None

    async def livez(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        if service.stopping:
            raise stopping()
        return PlainTextResponse("ok\n")

    async def metrics(request: Request) -> Response:
        return PlainTextResponse(service.metrics.text(), media_type="text/plain; version=0.0.4")

    async def schema(request: Request) -> Response:
        return JSONResponse(openapi)

    async def file(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in page:
            raise HTTPException(404)
        content, kind = page[name]
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        status = error.status_code
        text = MESSAGES.get(status, "the request is invalid")
        return Failure(status, CODES.get(status, "invalid"), text, error.headers).response()

    settings = service.settings
    return Starlette(
        routes=[
            Route("/", file, methods=["GET"]),
            Route("/page/{name:path}", file, methods=["GET"]),
            Route("/v1/models", models, methods=["GET"]),
            Route("/v1/models/{name}/translate", translate, methods=["POST"]),
            Route("/livez", livez, methods=["GET"]),
            Route("/readyz", readyz, methods=["GET"]),
            Route("/metrics", metrics, methods=["GET"]),
            Route("/openapi.json", schema, methods=["GET"]),
        ],
        middleware=[
            Middleware(
                Guard,
                host=settings.host,
                allowed_hosts=settings.allowed_hosts.split(","),
                token=token,
                metrics=service.metrics,
            )
        ],
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
