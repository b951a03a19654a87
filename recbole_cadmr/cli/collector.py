"""Python's garbage collector in the process of a command.

It looks through all that torch and pandas define, again and again while they are imported and once more at the end: a
quarter of the time of a short command, to find nothing.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Import within: what there is at its end is never looked through, unless torch was there before.

    It then is no process that has just begun, and may hold garbage.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


def left_alone_at_exit() -> None:
    """Look through nothing when the process ends: its memory is given back anyway."""
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
