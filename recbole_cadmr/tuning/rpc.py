"""Calls from the processes of trials to the one object that keeps the records, in the process of the search.

An actor of Ray's would be a process that Ray may kill for want of memory, and the records with it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge
from typing import Any


class Served:
    """Lets processes that know its key call the methods of an object, one call at a time.

    Attributes:
        caller: stands for the object in other processes, and may be sent there.
    """

    def __init__(self, target: Any, host: str) -> None:
        self._target, self._lock = target, threading.Lock()
        self._key = os.urandom(32)
        self._listener = Listener((host, 0), backlog=64)
        self._open = True
        self.caller = Caller(self._listener.address, self._key)
        threading.Thread(target=self._accept, daemon=True).start()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments, **options: self._call(name, arguments, options)

    def close(self) -> None:
        """Answer no more calls."""
        self._open = False
        self._listener.close()

    def _accept(self) -> None:
        while self._open:
            with suppress(OSError, EOFError):
                connection = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: Connection) -> None:
        with connection, suppress(OSError, EOFError, AuthenticationError):
            # Here, not in accept(), where whoever connects and is silent would keep all others waiting.
            deliver_challenge(connection, self._key)
            answer_challenge(connection, self._key)
            name, arguments, options = connection.recv()
            try:
                connection.send((self._call(name, arguments, options), None))
            except Exception as error:
                connection.send((None, error))

    def _call(self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        with self._lock:
            return getattr(self._target, name)(*arguments, **options)


class Caller:
    """Calls the methods of the object that a :class:`Served` serves; what they raise is raised here."""

    def __init__(self, address: Any, key: bytes) -> None:
        self._address, self._key = address, key

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments, **options: self._call(name, arguments, options)

    def _call(self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        with Client(self._address, authkey=self._key) as connection:
            connection.send((name, arguments, options))
            answer, error = connection.recv()
        if error is not None:
            raise error
        return answer
