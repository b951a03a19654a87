"""Whether a server can be reached: the libraries that fetch models ask for minutes before they give up."""

from __future__ import annotations

from contextlib import suppress
from threading import Thread

import requests

_PATIENCE = 8  # seconds, the look-up of the name included, which knows no limit of its own


def is_reachable(url: str) -> bool:
    """Whether the server of an address answers within seconds, whatever it answers."""
    answers: list[int] = []

    def ask() -> None:
        with suppress(requests.RequestException, ValueError):
            answers.append(requests.head(url, timeout=_PATIENCE / 2).status_code)

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return bool(answers)
