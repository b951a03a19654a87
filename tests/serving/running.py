"""A real service on this machine, run by a thread of the test, and what asks it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from recbole_cadmr.serving.limits import Limits
from recbole_cadmr.serving.metrics import Metrics
from recbole_cadmr.serving.models import Models
from recbole_cadmr.serving.pictures import PictureSource
from recbole_cadmr.serving.server import Service, address_of, listen

KEY = "a-key-of-the-tests-0123456789"


@dataclass(frozen=True)
class Running:
    """A service that runs, and its address."""

    address: str
    models: Models
    service: Service

    def get(self, path: str, **query: Any) -> requests.Response:
        return requests.get(self.address + path, query, timeout=30)

    def post(self, path: str, body: Any, **headers: str) -> requests.Response:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.post(self.address + path, json=body, headers=headers, timeout=30)

    def error(self, path: str, body: Any, status: int) -> str:
        """The one sentence with which a request is refused."""
        return sentence_of(self.post(path, body), status)

    def connection(self) -> socket.socket:
        host, _, port = self.address.removeprefix("http://").rpartition(":")
        return socket.create_connection((host, int(port)), timeout=30)


def sentence_of(response: requests.Response, status: int) -> str:
    """The error that an answer consists of."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    (error,) = response.json().values()
    assert list(response.json()) == ["error"] and "\n" not in error
    return error


@contextmanager
def serving(
    sources: Mapping[str, Path],
    key: str | None = None,
    limits: Limits | None = None,
    watch: float = 0.0,
    pictures: PictureSource | None = None,
    data_path: Path | None = None,
    proxies: str = "",
    only_here: bool = False,
) -> Iterator[Running]:
    """Serve until the end of the block."""
    is_ready = threading.Event()
    metrics = Metrics()
    with listen("127.0.0.1", 0) as bound:
        limits = limits or Limits()
        place = None if data_path is None else str(data_path)
        models = Models(sources, metrics, pictures, place, most_added=limits.added)
        models.load()
        service = Service(models, metrics, is_ready.set, limits, key, 2, watch, proxies, only_here)
        thread = threading.Thread(target=service.run, args=([bound],), daemon=True)
        address = address_of(bound)
        thread.start()
        try:
            assert is_ready.wait(60)
            yield Running(address, models, service)
        finally:
            service.stop()
            thread.join(60)
            assert not thread.is_alive()
