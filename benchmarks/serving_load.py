"""A process of `viceversa serve`, requests, and clients that are fast, slow, or abort requests."""

from __future__ import annotations

import asyncio
import io
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path

from PIL import Image

HOST = "127.0.0.1"
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /v1/models/model/translate HTTP/1.1\r\nHost: localhost\r\n"
SLOW_BODIES = (
    (POST + b"Content-Length: 99\r\n\r\n", [b"x"] * 60),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n", [b"1\r\nx\r\n"] * 60),
)
CLOSED = ConnectionError, asyncio.IncompleteReadError
TRUNCATED = -1
Timed = list[tuple[float, float, int]]
"""Start, end and status of requests; 0: the server closed the connection before the answer."""


class Server:
    """Process of `viceversa serve` on a free port, stopped at the end of the context."""

    def __init__(self, model: Path, *options: str) -> None:
        command = [sys.executable, "-m", "viceversa", "serve", f"model={model}", "--port", "0"]
        self.process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(r"serving on http://\S+:(\d+)", line):
                self.port = int(found[1])
                return
        raise SystemExit("the server did not start")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)


def translation(image: bytes, size: str = "own") -> bytes:
    """Return the request to translate an image file, resized to `size`."""
    post = POST.replace(b"translate", f"translate?size={size}".encode())
    return post + f"Content-Length: {len(image)}\r\n\r\n".encode() + image


def drawing(side: int, size: str = "own") -> bytes:
    """Return the request to translate a line drawing of the demo, resized to `size`."""
    folder = Path(str(resources.files("viceversa") / "demos" / "openmoji" / "test"))
    pair, file = Image.open(min(folder.iterdir())), io.BytesIO()
    pair.crop((0, 0, 64, 64)).resize((side, side)).save(file, "PNG")
    return translation(file.getvalue(), size)


async def answer(reader: asyncio.StreamReader) -> tuple[int, str]:
    """Read an answer; return its status, or TRUNCATED, and its body."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            return TRUNCATED, ""
        raise
    length = re.search(rb"(?i)content-length: (\d+)", head)
    assert length is not None
    try:
        body = await reader.readexactly(int(length[1]))
    except CLOSED:
        return TRUNCATED, ""
    return int(head.split()[1]), body.decode("latin-1")


async def ask(port: int, request: bytes) -> tuple[float, int, str]:
    """Send a request on a new connection; return the seconds, the status and the body."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(request)
    status, body = await answer(reader)
    writer.close()
    return time.perf_counter() - began, status, body


async def counters(port: int) -> dict[str, float]:
    """Return the values of /metrics that have no labels."""
    _, _, text = await ask(port, LIVEZ.replace(b"livez", b"metrics"))
    return {name: float(n) for name, n in re.findall(r"^viceversa_(\w+) (\S+)$", text, re.M)}


async def use(port: int, request: bytes, clients: int, seconds: float) -> Timed:
    """Send requests with several clients, each with one connection and one request at a time."""
    done: Timed = []
    end = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        while (began := time.perf_counter()) < end:
            try:
                writer.write(request)
                status, _ = await answer(reader)
            except CLOSED:
                status = 0
            done.append((began, time.perf_counter(), status))
            if status <= 0:
                break
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return done


async def burst(port: int, request: bytes, count: int) -> list[tuple[float, int]]:
    """Send requests at once, on open connections; return the seconds and the status of each."""
    connections = [await asyncio.open_connection(HOST, port) for _ in range(count)]
    began = time.perf_counter()

    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[float, int]:
        writer.write(request)
        status, _ = await answer(reader)
        writer.close()
        return time.perf_counter() - began, status

    return list(await asyncio.gather(*(send(*connection) for connection in connections)))


async def trickle(port: int, first: bytes, parts: Sequence[bytes], kept: bool = False) -> float:
    """Send a part per second; return the seconds until the server closes the connection.

    Args:
        port: Port of the server.
        first: Beginning of the request, sent at once.
        parts: The rest of the request.
        kept: Whether the slow request is the second one of its connection.
    """
    reader, writer = await asyncio.open_connection(HOST, port)
    if kept:
        writer.write(LIVEZ)
        await answer(reader)
    writer.write(first)

    async def feed() -> None:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(1)

    began, feeding = time.perf_counter(), asyncio.create_task(feed())
    with suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), 60)  # until the connection is closed
    feeding.cancel()
    writer.close()
    return time.perf_counter() - began


async def abort(port: int, request: bytes, count: int, together: int) -> None:
    """Send requests, `together` at a time, and close each connection within 20 ms."""
    rng = random.Random(0)

    async def one() -> None:
        _, writer = await asyncio.open_connection(HOST, port)
        writer.write(request)
        await asyncio.sleep(rng.uniform(0, 0.02))
        writer.transport.abort()

    for _ in range(count // together):
        await asyncio.gather(*(one() for _ in range(together)))
