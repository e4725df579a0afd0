"""Helpers of the tests of the HTTP service: a server in a thread, and a client."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from viceversa.serve.app import create_app
from viceversa.serve.models import load_models
from viceversa.serve.server import ServiceServer, bind
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


class Client(NamedTuple):
    """Client of a server; each request has its own connection."""

    server: ServiceServer
    service: Service
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


@contextmanager
def running(models: dict[str, Path], settings: Any, **options: Any) -> Iterator[Client]:
    """Serve models in a thread until the end of the context.

    Args:
        models: Model files by name.
        settings: Options of the service, with port 0.
        options: Of `Service`, and `token`.
    """
    token = options.pop("token", "")
    loaded = load_models([f"{name}={path}" for name, path in models.items()], settings)
    service = Service(loaded, settings, **options)
    addresses: list[str] = []
    began = threading.Event()

    def started(address: str) -> None:
        addresses.append(address)
        began.set()

    server = ServiceServer(create_app(service, token), service, started)
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
