"""What one client may ask for: sizes, and a rate by token buckets."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_CLIENTS = 10_000  # whose buckets are remembered; who was silent longest is forgotten first
_HOME = 64  # bits of an IPv6 address that name one customer's network


@dataclass(frozen=True)
class Limits:
    """Limits of a service; the defaults are those of the command.

    Attributes:
        body: bytes of a request's body.
        k: items of a list.
        users: people of a request.
        added: items and interactions of a model that came since its export was written.
        rate: requests a second of one client, twice as many at once; 0 for any number.
        patience: seconds that a client has to send a request.
        waiting: requests in work or waiting for it.
    """

    body: int = 2**20
    k: int = 1000
    users: int = 100
    added: int = 100_000
    rate: float = 100.0
    patience: float = 10.0
    waiting: int = 256


class RateLimit:
    """A bucket of tokens for each client: it holds two seconds' worth, and a request takes one.

    Args:
        rate: tokens a second that each bucket gets.
        clock: seconds, ascending.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._size = max(2 * rate, 1.0)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Take a token of ``client``; 0, or, if there is none, the seconds until there is one."""
        now = self._clock()
        tokens, filled = self._buckets.pop(client, (self._size, now))
        tokens = min(tokens + (now - filled) * self._rate, self._size)
        is_free = tokens >= 1
        self._buckets[client] = (tokens - is_free, now)
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if is_free else (1 - tokens) / self._rate


def client_of(address: str) -> str:
    """Who is behind an address: itself, or the network that one customer has in IPv6."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.version == 4:
        return address
    return str(ip.ipv4_mapped or ipaddress.ip_network((int(ip), _HOME), strict=False).network_address)
