"""Values of user-supplied records as text."""

from __future__ import annotations

import json
from collections.abc import Iterator


def as_text(value: object) -> str:
    """A value as text: the texts in nested lists joined by spaces, an object as JSON, None as ``""``.

    Raises:
        RecursionError: if objects are nested too deeply.
    """
    return " ".join(filter(None, map(_scalar, flat(value))))


def flat(value: object) -> Iterator[object]:
    """The entries of nested lists, in order, at any depth."""
    waiting = [value]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, (list, tuple)):
            waiting += reversed(entry)
        else:
            yield entry


def _scalar(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
