"""Helpers of the tests of the HTTP service: a server in a thread or a process, and a client."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from viceversa.serve.address import bind
from viceversa.serve.app import create_app
from viceversa.serve.models import load_models
from viceversa.serve.server import ServiceServer
from viceversa.serve.service import Service


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def image(self) -> Image.Image:
        assert self.status == 200, self.text
        return Image.open(io.BytesIO(self.content))

    @property
    def failure(self) -> tuple[int, str]:
        """Status and code of an error, which must be one sentence without a path."""
        error = self.json()["error"]
        assert set(error) == {"code", "message"}
        assert not re.search(r"(^| )/|\.py|Traceback|\n", error["message"])
        return self.status, error["code"]


class Requests:
    """Requests to a server; each has its own connection."""

    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        names = {key.replace("_", "-"): value for key, value in headers.items()}
        connection.request(method, path, body, names)
        answer = connection.getresponse()
        found = Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, b"")
        found = found._replace(content=answer.read())
        connection.close()
        return found

    def translate(self, data: Any, name: str = "photos", query: str = "", **headers: str) -> Answer:
        return self.ask(f"/v1/models/{name}/translate{query}", "POST", data, **headers)

    def metric(self, name: str) -> float:
        """Return a value of the metrics; 0 if it is missing."""
        found = re.search(rf"^viceversa_{re.escape(name)} (\S+)$", self.ask("/metrics").text, re.M)
        return float(found[1]) if found else 0.0


@dataclass
class Client(Requests):
    """Client of a server that runs in a thread."""

    server: ServiceServer
    service: Service
    port: int


class Command(Requests):
    """The command `viceversa serve` in a process, on a free port."""

    def __init__(self, models: dict[str, Path], *options: str) -> None:
        named = [f"{name}={path}" for name, path in models.items()]
        words = [sys.executable, "-m", "viceversa", "serve", *named, "--port", "0", *options]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        self.port = 0
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(r"serving on http://\S+:(\d+)", line):
                self.port = int(found[1])
                break

    def __enter__(self) -> Command:
        assert self.port, "the server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(60)
        self.process.stdout.close()


def children(process: int) -> list[int]:
    """Return the IDs of the child processes of a process (Linux)."""
    path = Path(f"/proc/{process}/task/{process}/children")
    return [int(one) for one in path.read_text().split()] if path.exists() else []


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def running(models: dict[str, Path], settings: Any, **options: Any) -> Iterator[Client]:
    """Serve models in a thread until the end of the context.

    Args:
        models: Model files by name.
        settings: Options of the service, with port 0.
        options: Of `Service`, and `token`.
    """
    token = options.pop("token", "")
    named = [f"{name}={path}" for name, path in models.items()]
    service = Service(lambda: load_models(named, settings), settings, **options)
    addresses: list[str] = []
    began = threading.Event()

    def ready(address: str) -> None:
        addresses.append(address)
        began.set()

    server = ServiceServer(create_app(service, token), service, ready)
    thread = threading.Thread(target=server.run, args=([bind(settings)],))
    thread.start()
    try:
        assert began.wait(60)
        yield Client(server, service, int(addresses[0].rpartition(":")[2]))
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def noise(kind: str = "PNG", size: tuple[int, int] = (24, 40), **options: Any) -> bytes:
    """Return an image file of noise; `size` is (height, width)."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def plain_png(width: int = 40, height: int = 24, color: str = "#ff0000") -> bytes:
    """Return a PNG of one color."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), color).save(file, "PNG")
    return file.getvalue()
