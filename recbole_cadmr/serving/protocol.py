"""HTTP as uvicorn speaks it, but a client that begins a request and sends no more of it is not waited for."""

from __future__ import annotations

import asyncio

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol


class ImpatientProtocol(HttpToolsProtocol):
    """Closes connections whose next request's head is not whole ``patience`` seconds after they, or it, began.

    Bodies are the gate's to wait for, and uvicorn itself closes connections that are silent between two requests.

    Attributes:
        patience: seconds.
    """

    patience = 10.0
    _has_begun = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a head."""
        super().on_message_begin()
        self._has_begun = True
        if self._deadline is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Say in JSON that this is no HTTP, and close the connection."""
        self._refuse(400, "this is no request of HTTP/1.1")

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.patience, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if not self._has_begun:  # browsers open connections for later, and expect no answer to what they did not ask
            self._stop_waiting()
            self.transport.close()
            return
        self._refuse(408, f"the head of the request was not complete after {self.patience:g} seconds")

    def _refuse(self, status: int, sentence: str) -> None:
        self._stop_waiting()
        body = msgspec.json.encode({"error": sentence})
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        if not self.transport.is_closing():
            self.transport.write(STATUS_LINE[status] + head + body)
            self.transport.close()


def impatient(patience: float) -> type[ImpatientProtocol]:
    """The protocol with this patience."""
    return type("ImpatientProtocol", (ImpatientProtocol,), {"patience": patience})
