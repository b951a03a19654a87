"""Calls from the processes of trials to the one store of records, in the process of the search.

An actor of Ray's would be a process that Ray may kill when memory is short, and the records with it.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.managers import BaseManager
from typing import Any, cast


class Served:
    """Lets processes that know its key call some methods of an object, one call at a time; as if it were the object.

    The standard library's manager answers each connection in a thread of its own, so that a silent one delays nobody.

    Attributes:
        caller: connects other processes to the object, and may be sent there.
    """

    def __init__(self, target: Any, exposed: Sequence[str], host: str) -> None:
        """Serve the methods named in ``exposed`` to whoever reaches ``host``."""

        class Manager(BaseManager):
            """Has the one object."""

        key = os.urandom(32)
        self._target, self._lock, self._is_closed = target, threading.RLock(), False
        Manager.register("target", callable=lambda: self, exposed=exposed)
        self._server = cast(Any, Manager((host, 0), key).get_server())
        self._server.stop_event = threading.Event()
        self._server.create(None, "target")  # held for good, whatever callers let go of
        threading.Thread(target=self._accept, daemon=True).start()
        self.caller = Caller(self._server.address, key)

    def _accept(self) -> None:
        """As the server's own ``serve_forever``, which never stops to listen, and replaces standard output."""
        while not self._is_closed:
            with suppress(OSError):
                connection = self._server.listener.accept()
                threading.Thread(target=self._server.handle_request, args=(connection,), daemon=True).start()
        self._server.listener.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                if self._is_closed:
                    raise ConnectionRefusedError("the search has ended")
                return getattr(self._target, name)(*arguments, **options)

        return call

    def close(self) -> None:
        """Answer no more calls."""
        with self._lock:
            self._is_closed = True
        with suppress(OSError):
            socket.create_connection(self._server.address).close()  # wakes who waits for the next connection


@dataclass(frozen=True)
class Caller:
    """Where an object is served, and the key to it."""

    address: tuple[str, int]
    key: bytes = field(repr=False)

    def connect(self) -> Any:
        """Stands for the object; what its methods raise is raised here.

        Raises:
            AuthenticationError: if the key is another one.
        """

        class Manager(BaseManager):
            """Knows the one object."""

        Manager.register("target")
        manager = Manager(self.address, self.key)
        manager.connect()
        return manager.target()  # type: ignore[attr-defined]
