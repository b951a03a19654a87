"""Exclusive work in a folder, and an orderly stop on SIGTERM."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from recbole_cadmr.errors import Stopped, UserError

LOCK = ".lock"


@contextmanager
def alone_in(root: Path, what: str, patience: float = 0.0) -> Iterator[None]:
    """Refuse a folder that another process is using: each would damage the work of the other.

    The lock is the operating system's, on the file ``.lock`` in the folder, so that it ends with the process. The file
    is removed while it is still locked: a process waiting for it notices, and locks the next one. A missing folder is
    created, and removed again if nothing was put into it.

    Args:
        what: name of the work, as in "another search is using the folder".
        patience: seconds to wait for the other process to end.

    Raises:
        UserError: if another process is working there, or the folder cannot be locked.
    """
    file = root / LOCK
    lock = FileLock(file)
    is_new = not root.exists()
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=patience)
    except Timeout as error:
        raise UserError(f"another {what} is using {root}{_by_whom(file)}; wait for it, or stop it") from error
    except (OSError, NotImplementedError) as error:  # the latter: the file system has no locks
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot lock {file}: {reason}; work in a folder that can be written and locked") from error
    own = file.stat()
    try:
        if own.st_nlink == 1:  # else it is another file, too
            with suppress(OSError):
                file.write_text(str(os.getpid()), encoding="ascii")  # for the message of others
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file
            if os.path.samestat(file.stat(), own):  # else the folder was removed, and another process created it again
                file.unlink()
        lock.release()
        if is_new:
            with suppress(OSError):
                root.rmdir()


@contextmanager
def resumable_in(root: Path, what: str, way: str, mark: str, *others: str) -> Iterator[None]:
    """:func:`alone_in`, for work that ctrl-C and SIGTERM end with a sentence, in an empty folder or one of its own.

    Args:
        way: how to resume, as in "with: COMMAND".
        mark: name of the file that says that the folder is one of such work.
        others: names that may be there before that.

    Raises:
        UserError: if the folder is used otherwise.
    """
    try:
        with alone_in(root, what), terminated_as_interrupted():
            if not (root / mark).exists() and any(path.name not in (LOCK, *others) for path in root.iterdir()):
                raise UserError(f"{root} is already used, and not by a {what}; choose another --output")
            yield
    except KeyboardInterrupt as error:
        raise Stopped(f"stopped; what is finished is kept, resume {way}") from error


def _by_whom(file: Path) -> str:
    with suppress(OSError, ValueError):
        return f" (process {int(file.read_text(encoding='ascii')[:20])})"
    return ""


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM stop the process as ctrl-C does."""
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
