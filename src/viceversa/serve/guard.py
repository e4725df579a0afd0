"""Middleware of every request: Host, Origin and token; security headers; JSON for each error."""

from __future__ import annotations

import hmac
import ipaddress
import logging
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .failures import Failure
from .metrics import Metrics

LOGGER = logging.getLogger("viceversa.serve")
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
LOCAL = ("localhost", "127.0.0.1", "[::1]")
ALL_NETWORKS = ("0.0.0.0", "::", "")
PROTECTED = ("/v1/", "/metrics")  # paths that need the token
ROUTES = ("/v1/models", "/livez", "/readyz", "/metrics", "/openapi.json", "/")


class Guard:
    """ASGI middleware that refuses invalid requests before they reach the application.

    Args:
        app: The application.
        host: Address that the server listens on.
        allowed_hosts: Further names that the Host header may contain.
        token: Token that clients must send; empty: no token is needed.
        metrics: Counters of the server.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        allowed_hosts: Collection[str],
        token: str,
        metrics: Metrics,
    ) -> None:
        self._app, self._token, self._metrics = app, token.encode(), metrics
        self._any_address = host in ALL_NETWORKS
        names = {without_port(name.strip().lower()) for name in allowed_hosts}
        self._hosts = {host.lower(), f"[{host.lower()}]", *(names - {""})}
        if self._any_address or is_local(host):
            self._hosts.update(LOCAL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, receive, send_with_headers)
        except Failure as failure:
            if not status:
                await failure.response()(scope, receive, send_with_headers)
        except Exception:
            LOGGER.exception("a request failed")
            if status:
                raise
            answer = Failure(500, "internal", "the request failed; the log has the details")
            await answer.response()(scope, receive, send_with_headers)
        finally:
            self._metrics.add("requests_total", route=route(scope["path"]), status=str(status))

    def _check(self, scope: Scope) -> None:
        """Raise Failure for a request that is not allowed."""
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:
            text = "a request has either Content-Length or Transfer-Encoding"
            raise Failure(400, "invalid_request", text)  # a proxy may read it differently
        host = headers.get("host", "").lower()
        if len(headers.getlist("host")) != 1 or not self._is_allowed(without_port(host)):
            raise Failure(
                421,
                "unknown_host",
                "the Host header is not a name of this server (--allowed_hosts)",
            )
        origin = headers.get("origin")
        writes = scope["method"] not in ("GET", "HEAD")
        if writes and origin is not None and origin.lower().partition("://")[2] != host:
            raise Failure(403, "cross_origin", "requests from other web pages are refused")
        if self._token and scope["path"].startswith(PROTECTED):
            kind, _, given = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(given.encode(), self._token):
                raise Failure(
                    401,
                    "unauthorized",
                    "send the token of the server as Authorization: Bearer TOKEN",
                    {"www-authenticate": "Bearer"},
                )

    def _is_allowed(self, host: str) -> bool:
        return host in self._hosts or (self._any_address and is_address(host))


def without_port(host: str) -> str:
    """Return a Host header without its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def is_address(host: str) -> bool:
    """Return whether a host is an IP address, which DNS rebinding cannot use."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def is_local(host: str) -> bool:
    """Return whether an address can only be reached from this machine."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def route(path: str) -> str:
    """Return the route of a path, for metrics: the number of routes is fixed."""
    if path.startswith("/v1/models/"):
        part = "examples/{example}" if "/examples/" in path else "translate"
        return "/v1/models/{name}/" + ("patch_map" if path.endswith("/patch_map") else part)
    if path.startswith("/page/"):
        return "/page/"
    return path if path in ROUTES else "other"
