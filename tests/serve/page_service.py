"""A service for tests of the page: its answers are known, and can be delayed or refused."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import viceversa

PAGE = Path(viceversa.__file__).parent / "page" / "web"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)


def model(name: str, source: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return the description of a model as in `GET /v1/models`."""
    domain = {"kind": "image", "channels": 3, "dtype": "uint8", "classes": [], "ids": 0}
    about = {"name": name, "description": f"{name} of the tests", "direction": "ab", "other": None}
    about |= {"source": domain | (source or {}), "target": domain, "examples": []}
    about |= {"patch_map": False}
    return about | {"multiple": 4, "trained_size": [64, 64]} | more


def inverted(pixels: np.ndarray) -> np.ndarray:
    return 255 - pixels


@dataclass
class PageService:
    """The state of the service."""

    models: list[dict[str, Any]]
    translate: Callable[[np.ndarray], np.ndarray] = inverted
    address: str = ""
    received: list[tuple[str, np.ndarray]] = field(default_factory=list)
    """Name of the model and pixels of each request, in order of arrival."""
    holds: list[threading.Event] = field(default_factory=list)
    """The next requests wait for these events, one each."""
    failures: list[tuple[int, str, str]] = field(default_factory=list)
    """The next requests are answered with these: status, code, message."""
    examples: dict[str, bytes] = field(default_factory=dict)
    """PNG files by the last part of their path."""
    patch_map: dict[str, Any] = field(default_factory=dict)
    """Answer to all requests for a patch map."""
    files: set[str] = field(default_factory=set)
    """Names of the files that were delivered."""
    tokens: list[str] = field(default_factory=list)
    """Authorization headers of the requests."""


class Handler(BaseHTTPRequestHandler):
    service: PageService
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            return self.answer(200, "application/json", json.dumps(self.service.models).encode())
        if "/examples/" in self.path:
            return self.answer(200, "image/png", self.service.examples[Path(self.path).name])
        name = self.path.removeprefix("/page/") if self.path != "/" else "index.html"
        self.service.files.add(name)
        self.answer(200, TYPES[Path(name).suffix], (PAGE / name).read_bytes())

    def do_POST(self) -> None:
        service, name = self.service, self.path.split("/")[3]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        pixels = np.asarray(Image.open(io.BytesIO(body)))
        service.tokens.append(self.headers.get("Authorization", ""))
        hold = service.holds.pop(0) if service.holds else None
        failure = service.failures.pop(0) if service.failures else None
        service.received.append((name, pixels))
        if hold:
            hold.wait(20)
        if failure:
            status, code, message = failure
            content = {"error": {"code": code, "message": message}}
            return self.answer(status, "application/json", json.dumps(content).encode())
        if self.path.endswith("/patch_map"):
            return self.answer(200, "application/json", json.dumps(service.patch_map).encode())
        file = io.BytesIO()
        Image.fromarray(service.translate(pixels)).save(file, "PNG")
        self.answer(200, "image/png", file.getvalue())

    def answer(self, status: int, kind: str, content: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Security-Policy", POLICY)
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            self.close_connection = True  # the page abandoned the request

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@contextmanager
def serving(service: PageService) -> Iterator[PageService]:
    """Run the service on a free port."""
    handler = type("ServiceHandler", (Handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    service.address = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
