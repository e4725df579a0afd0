"""The socket that the server listens on."""

from __future__ import annotations

import socket

from ..errors import UserError
from .settings import ServeSettings


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


def address(bound: socket.socket) -> str:
    """Return the address of a bound socket, such as http://127.0.0.1:8000."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
