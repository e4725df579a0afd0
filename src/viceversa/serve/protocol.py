"""HTTP connections with time limits for headers and for reading; uvicorn has no such limits."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .settings import ANSWER_SECONDS, HEADER_SECONDS, LINGER_SECONDS


class DeadlineProtocol(H11Protocol):
    """Close connections if a header, the rest of a refused body, or reading takes too long.

    The time limit of a header starts when the connection is opened; for later requests on the same
    connection, it starts with their first byte.
    """

    header_seconds, linger_seconds, answer_seconds = (
        HEADER_SECONDS,
        LINGER_SECONDS,
        ANSWER_SECONDS,
    )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._waits_for = ""
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first header."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # pause_writing: any byte is not sent yet
        self._update()

    def data_received(self, data: bytes) -> None:
        """Handle data, and start or stop the deadlines of reading."""
        super().data_received(data)
        self._update()

    def on_response_complete(self) -> None:
        """Handle the end of an answer."""
        super().on_response_complete()
        self._update()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the deadlines."""
        super().connection_lost(exc)
        for timer in (self._reading, self._writing):
            if timer is not None:
                timer.cancel()

    def pause_writing(self) -> None:
        """Start the deadline of the client to read the answer."""
        super().pause_writing()
        if self._writing is None:
            self._writing = self.loop.call_later(self.answer_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the deadline of reading the answer."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP with an error in JSON, and close the connection."""
        body = b'{"error":{"code":"invalid_request","message":"the request is not valid HTTP"}}'
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        answer = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _update(self) -> None:
        """Start the deadline of the current wait, if it is not running."""
        waits_for = self._expected()
        if waits_for == self._waits_for:
            return
        self._waits_for = waits_for
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if waits_for:
            seconds = self.header_seconds if waits_for == "header" else self.linger_seconds
            self._reading = self.loop.call_later(seconds, self.transport.abort)

    def _expected(self) -> str:
        state = self.conn.their_state
        if state is h11.IDLE and (self.cycle is None or self.conn.trailing_data[0]):
            return "header"
        if state is h11.SEND_BODY and self.conn.our_state is h11.DONE:
            return "rest of the body"
        return ""
