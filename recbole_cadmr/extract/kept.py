"""Encoders that stay loaded from one call to the next, where somebody keeps them, as a service does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

_Encoder = TypeVar("_Encoder")


class KeptEncoders:
    """One encoder of each kind, the one that was used last, as long as its files stay as they were."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._held: dict[str, tuple[Hashable, Any]] = {}

    def get(self, kind: str, identity: Hashable, load: Callable[[], Any]) -> Any:
        """The encoder of an identity, loaded unless it is the one of its kind that is held; that one is freed first."""
        with self._lock:
            if kind not in self._held or self._held[kind][0] != identity:
                self._held.pop(kind, None)
                self._held[kind] = identity, load()
            return self._held[kind][1]

    def clear(self) -> None:
        """Free all of them."""
        with self._lock:
            self._held.clear()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """What is encoded within, by this thread, is encoded by these."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


_current: ContextVar[KeptEncoders | None] = ContextVar("kept_encoders", default=None)


def kept_or_loaded(kind: str, model: str, place: Path | None, load: Callable[[], _Encoder]) -> _Encoder:
    """What ``load`` gives, or gave before, if encoders are kept here and now.

    Args:
        kind: such as ``text``.
        model: its name.
        place: its file or folder, which must be as it was; None, or nothing there, for what its library finds by name.
    """
    kept = _current.get()
    return load() if kept is None else kept.get(kind, (model, place, _files(place)), load)


def _files(place: Path | None) -> tuple[tuple[str, int, int], ...]:
    """The files at a place with their sizes and times."""
    files = [] if place is None else [place, *place.rglob("*")] if place.is_dir() else [place]
    states = [(str(file), file.stat()) for file in sorted(files) if file.is_file()]
    return tuple((name, state.st_size, state.st_mtime_ns) for name, state in states)
