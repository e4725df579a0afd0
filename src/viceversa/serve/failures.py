"""Errors of requests, with a status, a stable code, and a message of one sentence."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse

from ..errors import UserError


class Failure(Exception):
    """A request that is answered with an error.

    Args:
        status: HTTP status.
        code: Stable code, for programs.
        message: One sentence, for people.
        headers: Further headers of the answer.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers

    def response(self) -> JSONResponse:
        """Return the answer."""
        content = {"error": {"code": self.code, "message": str(self)}}
        return JSONResponse(content, self.status, headers=self.headers)


def invalid_image(error: UserError | str) -> Failure:
    """Return the error for an image that cannot be translated.

    The message is cut at the first semicolon, since advice on command-line options does not help
    clients.
    """
    return Failure(422, "invalid_image", str(error).split("; ")[0])


def loading() -> Failure:
    """Return the error of a server that is not ready yet."""
    return Failure(503, "loading", "the models are being loaded", {"retry-after": "1"})


def stalled() -> Failure:
    """Return the error of a server in which a batch takes too long."""
    text = "a translation exceeds the time limit; try again later"
    return Failure(503, "stalled", text, {"retry-after": "5"})


def stopping() -> Failure:
    """Return the error of a server that is stopping."""
    headers = {"retry-after": "5", "connection": "close"}
    return Failure(503, "stopping", "the server is stopping", headers)
