"""Run the service with uvicorn, until a signal ends it."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from starlette.applications import Starlette
from uvicorn import Config, Server

from .address import address
from .protocol import DeadlineProtocol
from .service import Service
from .settings import GRACE_SECONDS, SIGNALS


class ServiceServer(Server):
    """Server that ends normally on SIGINT and SIGTERM, after the requests in progress.

    Args:
        app: The application.
        service: The service of the application.
        ready: Called with the address, such as http://127.0.0.1:8000, when images are accepted.
        signals: Signals to handle.
    """

    def __init__(
        self,
        app: Starlette,
        service: Service,
        ready: Callable[[str], None],
        signals: Sequence[signal.Signals] = SIGNALS,
    ) -> None:
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
        self._service, self._ready, self._signals = service, ready, signals
        self._reporting: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        self._reporting = asyncio.create_task(self._report())

    async def _report(self) -> None:
        await self._service.loaded.wait()
        self._ready(address(self.servers[0].sockets[0]))

    async def on_tick(self, counter: int) -> bool:
        """Return whether the server should stop."""
        return await super().on_tick(counter) or self._service.error is not None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals; unlike uvicorn, do not raise them again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {kind: signal.signal(kind, self.handle_exit) for kind in self._signals}
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
        self.stop()

    def stop(self) -> None:
        """Stop after the requests in progress are answered."""
        self._service.stop()
        self.should_exit = True
