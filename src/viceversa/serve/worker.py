"""Worker process of a service with several workers, started by the supervisor."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

from .app import create_app
from .models import load_models
from .reports import GONE, Report, configure_logging
from .server import ServiceServer
from .service import Service
from .settings import SIGNALS, ServeSettings


def work(
    models: Sequence[str],
    settings: ServeSettings,
    token: str,
    bound: socket.socket,
    channel: Connection,
    early: bool,
) -> None:
    """Serve until the supervisor stops this worker, or has ended.

    Args:
        models: Models of the command line.
        settings: Options of the service.
        token: Token that clients must send; empty: no token is needed.
        bound: Socket that all workers share.
        channel: Connection to the supervisor.
        early: Whether to listen before the models are loaded.
    """
    for kind in SIGNALS:  # the process group receives them; the supervisor ends workers
        signal.signal(kind, signal.SIG_IGN)
    configure_logging()
    service = Service(lambda: load_models(models, settings), settings)
    server = ServiceServer(create_app(service, token, early), service, lambda address: None, ())
    asyncio.run(_serve(service, server, bound, channel))


async def _serve(
    service: Service, server: ServiceServer, bound: socket.socket, channel: Connection
) -> None:
    loop = asyncio.get_running_loop()

    def answer() -> None:
        """Answer a message of the supervisor."""
        try:
            others = channel.recv()
            if others is not None:
                service.metrics.others = others
                channel.send(report(service))
                return
        except GONE:
            pass
        loop.remove_reader(channel.fileno())
        server.stop()

    loop.add_reader(channel.fileno(), answer)
    try:
        await server.serve([bound])
    finally:
        with suppress(*GONE):
            channel.send(report(service))


def report(service: Service) -> Report:
    """Return the state of a service."""
    return Report(
        ready=service.loaded.is_set(),
        stalled=service.batcher.stalled,
        error=str(service.error or ""),
        models={name: model.about["description"] for name, model in service.models.items()},
        counts=service.metrics.own,
    )
