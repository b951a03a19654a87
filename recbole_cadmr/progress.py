"""Progress bars: as wide as the terminal; widgets in a notebook that has them; in a file, a line now and then."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any

from recbole_cadmr.screen import in_notebook

_DELAY, _EVERY = 5, 10  # seconds before the first line, and between two, where there is no terminal
_OFTEN = 0.5  # seconds between two refreshes in a notebook, each a message
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_WIDTH = 80  # of a bar, where there is no terminal
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


class _Shown:
    """A stream on which every refresh of a bar takes the place of the one before, below a cell of a notebook without
    widgets: a carriage return is a line for most of what shows one.
    """

    encoding = "utf-8"  # so that bars are smooth

    def __init__(self) -> None:
        self._display: Any = None

    def write(self, text: str) -> None:
        """Show ``text``."""
        from IPython.display import display

        content = {"text/plain": text.strip("\r\n ")}
        if self._display is None and content["text/plain"]:
            self._display = display(content, raw=True, display_id=True)
        elif self._display is not None and text.startswith("\r"):  # not the line break after the last one
            self._display.update(content, raw=True)

    def flush(self) -> None:
        """Nothing is held back."""


_of_cell: tuple[Any, _Shown] | None = None  # which cell bars that go again were last shown below, and where


def _below_cell() -> _Shown:
    """Where all bars of a cell that go again are shown, one at a time."""
    global _of_cell
    cell = sys.modules["IPython"].get_ipython().execution_count
    if _of_cell is None or _of_cell[0] != cell:
        _of_cell = cell, _Shown()
    return _of_cell[1]


def on_terminal(stream: Any) -> bool:
    """Whether a line on ``stream`` can be written over."""
    return bool(stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb")


def bar(iterable: Iterable[Any] | None = None, **options: Any) -> Any:
    """A bar of tqdm (same options), by its place: a terminal, a notebook, or a file, which gets a line now and then."""
    from tqdm import tqdm  # takes a while to import

    if iterable is not None:
        # It asks for an iterator when it is made, and once more to go through it: a loader would shuffle twice.
        options = {"total": len(iterable) if isinstance(iterable, Sized) else None, **options}
        iterable = _each_of(iterable)
    if in_notebook() and find_spec("ipywidgets"):
        from tqdm.auto import tqdm as widget

        return widget(iterable, mininterval=_OFTEN, **{"delay": _OFTEN, **options})
    if in_notebook():
        shown = _Shown() if options.get("leave", True) else _below_cell()
        return tqdm(iterable, file=shown, mininterval=_OFTEN, ncols=_WIDTH, **{"delay": _OFTEN, **options})
    if sys.stderr is None:
        return tqdm(iterable, **{**options, "disable": True})
    if on_terminal(sys.stderr):
        return tqdm(iterable, dynamic_ncols=True, **options)
    return tqdm(iterable, file=_Lines(sys.stderr), delay=_DELAY, mininterval=_EVERY, ncols=_WIDTH, **options)


def _each_of(iterable: Iterable[Any]) -> Iterator[Any]:
    yield from iterable


def bar_of_batches(iterable: Iterable[Any] | None, total: int | None = None, desc: str = "", **_: Any) -> Any:
    """A bar that is gone with its last batch, and that short work and files do not show; RecBole's trainers take it."""
    shown = in_notebook() or on_terminal(sys.stderr)
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
