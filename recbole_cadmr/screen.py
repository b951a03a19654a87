"""Standard output and error that never stop the work: closed, full, without a reader, or of a limited terminal."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_ERRORS = "recbole_cadmr.plain"
_PLAIN = {"±": "+/-", "–": "-", "…": "...", "²": "^2", "×": "x"}


def _plain(error: UnicodeError) -> tuple[str, int]:
    """A replacement for characters that a terminal cannot show."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign) or ascii(sign)[1:-1] for sign in signs), error.end


codecs.register_error(_ERRORS, _plain)


class Screen:
    """A stream of text that never fails: after the first failure, which is kept, what is written is dropped.

    Attributes:
        failure: why nothing can be written any longer; None as long as all is well.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.failure: Exception | None = None
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)

    def write(self, text: str) -> int:
        """Write ``text``, or drop it."""
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._attempt(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _attempt(self, act: Callable[[], Any]) -> None:
        if self.failure is not None:
            return
        try:
            act()
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            self.failure = error
            # What is left in its buffer would fail again when Python exits.
            with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())


@contextmanager
def guarded() -> Iterator[Screen]:
    """Guard standard output and error; yields the former."""
    _open_descriptors()
    previous = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        out, error = (Screen(stream or nowhere) for stream in previous)
        sys.stdout, sys.stderr = out, error
        try:
            yield out
        finally:
            out.flush()
            error.flush()
            sys.stdout, sys.stderr = previous


def in_notebook() -> bool:
    """Whether a notebook shows what is written."""
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")  # of Jupyter, of Colab


def note(text: str) -> None:
    """Write what is worth knowing beside a result; on standard error, which a notebook would show in red."""
    print(f"note: {text}", file=sys.stdout if in_notebook() else sys.stderr)


def _open_descriptors() -> None:
    """Open closed descriptors 0, 1 and 2: the next file to be opened would get what is meant for the screen."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
