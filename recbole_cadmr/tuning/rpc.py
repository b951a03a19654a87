"""Calls from the processes of trials to the one store of records, in the process of the search.

An actor of Ray's would be a process that Ray may kill when memory is short, and the records with it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
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
        server = cast(Any, Manager((host, 0), key).get_server())
        # As serve_forever() does, which replaces standard output in the end.
        server.stop_event = threading.Event()
        threading.Thread(target=server.accepter, daemon=True).start()
        self.caller = Caller(server.address, key)

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
