"""Progress bars as wide as the terminal; where there is no terminal, a line now and then instead."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_DELAY, _EVERY = 5, 10  # seconds before the first line, and between two, where there is no terminal
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# What is told of work on the way, by those who do it in this process.
_listener: ContextVar[Any] = ContextVar("listener", default=None)


class _Lines:
    """A stream on which every refresh of a bar is a line of its own."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write what is to be seen of ``text``."""
        if line := text.strip("\r\n "):
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()


def on_terminal(stream: Any) -> bool:
    """Whether a line on ``stream`` can be written over."""
    return bool(stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb")


def bar(iterable: Iterable[Any] | None = None, **options: Any) -> Any:
    """A bar of tqdm (same options), by its place: a terminal, a notebook, or a file, which gets a line now and then."""
    from tqdm.auto import tqdm  # takes a while to import

    if iterable is not None:
        # It asks for an iterator when it is made, and once more to go through it: a loader would shuffle twice.
        options = {"total": len(iterable) if isinstance(iterable, Sized) else None, **options}
        iterable = _each_of(iterable)
    if sys.stderr is None:
        return tqdm(iterable, **{**options, "disable": True})
    if _in_notebook() or on_terminal(sys.stderr):
        return tqdm(iterable, dynamic_ncols=True, **options)
    return tqdm(iterable, file=_Lines(sys.stderr), delay=_DELAY, mininterval=_EVERY, ncols=80, **options)


def _each_of(iterable: Iterable[Any]) -> Iterator[Any]:
    yield from iterable


def bar_of_batches(iterable: Iterable[Any], total: int | None = None, desc: str = "", **_: Any) -> Any:
    """A bar that is gone with its last batch, and that short work and files do not show; RecBole's trainers take it."""
    shown = _in_notebook() or on_terminal(sys.stderr)
    name = " ".join(_COLOURS.sub("", desc).split())
    return bar(iterable, total=total, desc=name, leave=False, **({"delay": 0.5} if shown else {"disable": True}))


def advance(n: int) -> None:
    """Tell whoever watches the work of this process that ``n`` more are done."""
    if (listener := _listener.get()) is not None:
        listener(n)


@contextmanager
def watched_by(listener: Any) -> Iterator[None]:
    """Call ``listener`` with what :func:`advance` is called with meanwhile."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def _in_notebook() -> bool:
    """Whether a notebook shows what is written."""
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"
