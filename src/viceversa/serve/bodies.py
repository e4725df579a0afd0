"""Read the body of a request under limits of size and time."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from .failures import Failure
from .metrics import Metrics

BODIES = 16  # largest bodies that fit into memory at the same time


async def read_body(
    headers: Headers, receive: Receive, limit: int, seconds: float, metrics: Metrics
) -> bytes:
    """Return the body of a request.

    Args:
        headers: Headers of the request.
        receive: ASGI channel of the request.
        limit: Maximum size in bytes.
        seconds: Time limit.
        metrics: Counters of the server; `body_bytes` is the size of all bodies that are read.

    Raises:
        Failure: The body is missing, too large, encoded or too slow, or there is too little memory.
    """
    check_headers(headers, limit)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                metrics.add("body_bytes", len(parts[-1]))
                if size > limit:
                    raise too_large(limit)
                if metrics.value("body_bytes") > BODIES * limit:
                    raise busy(1)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise Failure(
            408, "body_timeout", f"the body was not complete after {seconds:g} seconds"
        ) from None
    finally:
        metrics.add("body_bytes", -size)


def check_headers(headers: Headers, limit: int) -> None:
    """Raise Failure for a body that is refused before it is read."""
    length = headers.get("content-length")
    if length is None and "transfer-encoding" not in headers:
        raise Failure(411, "length_required", "send the image as the body of the request")
    if length is not None and (not length.isdecimal() or int(length[:20]) > limit):
        raise too_large(limit)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Failure(415, "unsupported_encoding", "send the image without Content-Encoding", None)


def too_large(limit: int) -> Failure:
    """Return the error for a body that is too large."""
    return Failure(413, "too_large", f"the body is larger than {limit / 1e6:g} MB")


def busy(seconds: int) -> Failure:
    """Return the error for a request if the queue is full."""
    return Failure(
        429,
        "busy",
        f"the queue is full; try again in {seconds} s",
        {"retry-after": str(seconds)},
    )
