"""Values of user-supplied records as text."""

from __future__ import annotations

import json
from collections.abc import Iterator


def as_text(value: object) -> str:
    """A value as text: the texts in nested lists joined by spaces, an object as JSON, None as ``""``.

    Raises:
        RecursionError: if objects are nested too deeply.
    """
    texts = (entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False) for entry in flat(value))
    return " ".join(filter(None, texts))


def flat(value: object) -> Iterator[object]:
    """The entries of nested lists other than None, in order, at any depth."""
    waiting = [value]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, (list, tuple)):
            waiting += reversed(entry)
        elif entry is not None:
            yield entry
