"""The service as a process: its socket, its signals, and the watch on its exports."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
import uvicorn

from recbole_cadmr.errors import UserError
from recbole_cadmr.serving.app import make_app
from recbole_cadmr.serving.limits import Limits
from recbole_cadmr.serving.metrics import Metrics
from recbole_cadmr.serving.models import Models
from recbole_cadmr.serving.protocol import impatient

_log = logging.getLogger("recbole_cadmr.serving")
_SILENT = 60  # seconds that a connection may be silent between two requests
_GRACE = 30  # seconds that requests in work have when the service is stopped
_SETTLED = 1.0  # seconds for which an export must not change before it is loaded


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address, that takes no connections yet.

    Raises:
        UserError: if the address is none of this machine's, or in use.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise UserError(
            f"cannot listen at {host} port {port}: {error.strerror or error}; choose another --port or --host"
        ) from error
    except UnicodeError as error:
        raise UserError(f"--host must be a name or an address of this machine, not {host!r:.60}") from error
    return bound


def address_of(bound: socket.socket) -> str:
    """Where a browser finds the service."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def is_loopback(bound: socket.socket) -> bool:
    """Whether only this machine reaches a socket."""
    return ipaddress.ip_address(bound.getsockname()[0].partition("%")[0]).is_loopback


class Service(uvicorn.Server):
    """uvicorn's server of some models; ``run([bound])`` returns when it was told to stop, and has answered all.

    It looks after exports, and after signals if it runs in the main thread: SIGHUP loads them anew.

    Args:
        report: is called as soon as the service may be asked.
        limits, key, only_here: as of :func:`~recbole_cadmr.serving.app.make_app`.
        threads: requests that are worked at at once, each by one thread; None for as many as there are cores.
        watch: seconds between two looks for new exports; 0 for none.
        proxies: addresses, between commas, whose word on who a client is counts; "" for none.
    """

    def __init__(
        self,
        models: Models,
        metrics: Metrics,
        report: Callable[[], None],
        limits: Limits,
        key: str | None = None,
        threads: int | None = None,
        watch: float = 0.0,
        proxies: str = "",
        only_here: bool = False,
    ) -> None:
        self._models, self._report, self._watch = models, report, watch
        self._pool = ThreadPoolExecutor(threads or torch.get_num_threads(), "model")
        super().__init__(
            uvicorn.Config(
                make_app(models, metrics, self._pool, limits, key, only_here),
                http=impatient(limits.patience),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=proxies or None,
                timeout_keep_alive=_SILENT,
                timeout_graceful_shutdown=_GRACE,
            )
        )

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the service is told to stop."""
        with self._pool:
            super().run(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        await super().startup(sockets)
        self._report()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike uvicorn, raise no signal again after an orderly stop."""
        loop = asyncio.get_running_loop()
        caught = {signal.SIGINT: self.stop, signal.SIGTERM: self.stop, signal.SIGHUP: self._reload_all}
        if threading.current_thread() is not threading.main_thread():
            caught = {}
        for number, act in caught.items():
            loop.add_signal_handler(number, act)
        watching = loop.create_task(self._look_after())
        try:
            yield
        finally:
            watching.cancel()
            for number in caught:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """Take no more connections and answer what is in work; at once, if told a second time."""
        _log.info("stopping" if self.should_exit else "stopping; requests in work are answered first")
        self.force_exit, self.should_exit = self.should_exit, True

    def _reload_all(self) -> None:
        asyncio.get_running_loop().run_in_executor(None, self._models.reload, self._models.names)

    async def _look_after(self) -> None:
        """Load what is new at the places of the models."""
        loop = asyncio.get_running_loop()
        while self._watch:
            await asyncio.sleep(self._watch)
            changed = await loop.run_in_executor(None, self._models.changed)
            if changed:
                await loop.run_in_executor(None, self._models.reload, changed, _SETTLED)
