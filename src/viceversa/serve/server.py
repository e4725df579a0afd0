"""Run the service with uvicorn, until a signal ends it."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from starlette.applications import Starlette
from uvicorn import Config, Server

from ..errors import UserError
from .protocol import DeadlineProtocol
from .service import Service
from .settings import GRACE_SECONDS, ServeSettings

SIGNALS = signal.SIGINT, signal.SIGTERM


def bind(settings: ServeSettings) -> socket.socket:
    """Return a socket that is bound to the address of the settings. Raises UserError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio disables Nagle's algorithm only if the protocol is set; otherwise the body of an
    # answer waits for the delayed acknowledgement of its header, 40 ms on Linux.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((settings.host, settings.port))
    except OSError as error:
        bound.close()
        raise UserError(
            f"cannot listen on {settings.host}, port {settings.port}: {error.strerror or error}; "
            "choose another --host or --port",
            option="--port",
        ) from None
    return bound


class ServiceServer(Server):
    """Server that ends normally on SIGINT and SIGTERM, after the requests in progress.

    Args:
        app: The application.
        service: Its service.
        started: Called with the address, such as http://127.0.0.1:8000, once it answers.
    """

    def __init__(self, app: Starlette, service: Service, started: Callable[[str], None]) -> None:
        super().__init__(
            Config(
                app,
                http=DeadlineProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._service, self._ready = service, started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, and report the address."""
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals; unlike uvicorn, do not raise them again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {kind: signal.signal(kind, self.handle_exit) for kind in SIGNALS}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; at the second signal, at once."""
        if self.should_exit:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self._service.stopping = self.should_exit = True
