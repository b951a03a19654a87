"""What every request passes before the application sees it: rate, key, size and time of its body; and its metrics."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import math
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from recbole_cadmr.serving.limits import Limits, RateLimit, client_of
from recbole_cadmr.serving.metrics import Metrics
from recbole_cadmr.serving.refusal import Refused, failure

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

API = "/v1/"
_GUARDED = (API, "/metrics")
_DRAINED = 2**26  # bytes of a body that is too large which are read, so that its sender gets to read the answer
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Gate:
    """An ASGI application around another.

    Rate and key hold for the interface and the metrics, not for the page, its pictures and the health.

    Args:
        endpoints: paths that are counted by name; ``/name/`` stands for all that begin so.
        key: what clients have to send as ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``; None if nothing.
        only_here: whether who asks has to name this machine: else pages of strangers, whose name is made to lead here
            (DNS rebinding), could ask by the browser of somebody who sits at it.
    """

    def __init__(
        self,
        app: Application,
        limits: Limits,
        metrics: Metrics,
        endpoints: frozenset[str],
        key: str | None,
        only_here: bool = False,
    ) -> None:
        self._app, self._limits, self._metrics, self._endpoints = app, limits, metrics, endpoints
        self._key = None if key is None else key.encode()
        self._rate = RateLimit(limits.rate) if limits.rate else None
        self._only_here = only_here
        self._in_work = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a refusal."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        self._in_work += 1
        try:
            self._check(scope)
            body = await self._body(scope, receive)
            await self._app(scope, _replayed(body, receive), answer)
        except Refused as refusal:
            await _refuse(answer, refusal)
        except Exception as error:
            if not status:
                await _refuse(answer, failure(error))
            elif status != 500:  # an answer that has begun is cut short by uvicorn; with 500 it is of this error
                failure(error)
        finally:
            self._in_work -= 1
            self._metrics.answered(self._endpoint(scope["path"]), status, time.perf_counter() - start)

    def _check(self, scope: Message) -> None:
        """Raise :class:`Refused` for who means another machine, asks too much, or has no key."""
        if self._only_here and not _is_this_machine(dict(scope["headers"]).get(b"host", b"")):
            raise Refused(421, "this service answers to localhost alone; see --key_file and --proxies")
        if not scope["path"].startswith(_GUARDED):
            return
        if self._in_work > self._limits.waiting:
            raise Refused(503, f"{self._limits.waiting} requests are being answered; ask again", retry_after="1")
        headers = dict(scope["headers"])
        client = client_of((scope["client"] or ("",))[0])
        if self._rate is not None and (wait := self._rate.wait(client)):
            seconds = math.ceil(wait)
            raise Refused(
                429,
                f"more than {self._limits.rate:g} requests a second; ask again in {seconds} s",
                retry_after=str(seconds),
            )
        if self._key is None:
            return
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        given = given.strip() if kind.lower() == b"bearer" else headers.get(b"x-api-key", b"")
        if not hmac.compare_digest(given, self._key):
            reason = "this is not the key of this service" if given else "this service needs a key"
            raise Refused(401, f"{reason}; send it as the header 'X-API-Key: KEY'", www_authenticate="Bearer")

    async def _body(self, scope: Message, receive: Receive) -> bytes:
        """The whole body of a request.

        Raises:
            Refused: if it is too large, too slow or, where there is one, no JSON by its type.
        """
        headers = dict(scope["headers"])
        if b"content-length" not in headers and b"transfer-encoding" not in headers:
            return b""
        try:
            body = await asyncio.wait_for(self._whole(receive), self._limits.patience)
        except asyncio.TimeoutError:
            sentence = f"the request was not complete after {self._limits.patience:g} seconds"
            raise Refused(408, sentence, connection="close") from None
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if body and kind != b"application/json":
            raise Refused(415, "the body must be JSON; send it with the header 'Content-Type: application/json'")
        return body

    async def _whole(self, receive: Receive) -> bytes:
        parts, size, most, more = [], 0, self._limits.body, True
        while more and size <= _DRAINED:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "the client went away in the middle of its request")
            part, more = message.get("body", b""), message.get("more_body", False)
            size += len(part)
            if size <= most:
                parts.append(part)
        if size > most:
            raise Refused(413, f"the body of a request must have at most {most:,} bytes", connection="close")
        return b"".join(parts)

    def _endpoint(self, path: str) -> str:
        if path in self._endpoints:
            return path
        top = path[: path.find("/", 1) + 1]
        return top if top in self._endpoints else "other"


def _is_this_machine(host: bytes) -> bool:
    """Whether a header ``Host`` names the machine of the client; one without any comes from no browser."""
    try:
        name = urlsplit(f"//{host.decode('latin-1')}").hostname or "localhost"
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _replayed(body: bytes, receive: Receive) -> Receive:
    """``receive`` of a request whose body has been read."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


async def _refuse(send: Send, refusal: Refused) -> None:
    body = msgspec.json.encode({"error": str(refusal)})
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
