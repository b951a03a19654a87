"""Long work in a folder: alone there, and stopped in good order."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from recbole_cadmr.errors import UserError

_LOCK = ".lock"


@contextmanager
def alone_in(root: Path, what: str) -> Iterator[None]:
    """Refuse a folder that another process is at work in: each would spoil what the other does.

    Raises:
        UserError: if one is; it is called a ``what``.
    """
    file, me = root / _LOCK, psutil.Process()
    with suppress(OSError, ValueError, psutil.Error):
        pid, created = file.read_text().split()
        if str(psutil.Process(int(pid)).create_time()) == created:
            raise UserError(f"a {what} is at work in {root} (process {pid}); wait for it, or stop it")
    try:
        file.unlink(missing_ok=True)
        with open(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666), "w") as lock:  # one alone makes it
            lock.write(f"{me.pid} {me.create_time()}")
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror or error}") from error
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let a terminated process stop what it has begun as an interrupted one does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
