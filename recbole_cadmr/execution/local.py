"""Runs on this machine, several at a time, within the memory there is."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from recbole_cadmr.execution.process import POLL, RunProcess, interrupt, start
from recbole_cadmr.execution.run_spec import OnEnd, OnStart, RunSpec
from recbole_cadmr.formatting import memory
from recbole_cadmr.memory import free_for_another

_RESERVE = 256 * 2**20  # bytes of the machine's memory that stay free


@dataclass(frozen=True)
class LocalRunner:
    """Runs each in a process of this machine.

    A run starts when the memory that it needs is free. One that takes more than it may is stopped, and so is the
    largest when the machine has next to none left.

    Attributes:
        jobs: runs at a time.
        limit: bytes a run may use; all that is free if None.
    """

    jobs: int = 1
    limit: int | None = None

    def run(self, specs: Sequence[RunSpec], on_start: OnStart, on_end: OnEnd) -> None:
        """Run all of them; see :class:`Runner`."""
        waiting, running = deque(specs), list[RunProcess]()
        try:
            while waiting or running:
                largest = max(running, key=lambda process: process.memory, default=None)
                for process in list(running):
                    is_scarce = process is largest and free_for_another() < _RESERVE
                    if process.has_ended(0 if is_scarce else self.limit):
                        running.remove(process)
                        on_end(process.spec, process.seconds)
                while waiting and len(running) < self.jobs:
                    spec, free = waiting[0], free_for_another()
                    allowed = self.limit or free
                    is_hopeless = spec.memory > allowed and (self.limit or not running)
                    if not is_hopeless and running and spec.memory > free:
                        break  # there may be room when these are done
                    waiting.popleft()
                    if is_hopeless:
                        needs = f"needs about {memory(spec.memory)} of memory, and may use {memory(allowed)}"
                        spec.fail(f"skipped: it {needs}")
                    elif new := start(spec):
                        running.append(new)
                        on_start(spec)
                        continue
                    on_end(spec, 0.0)
                time.sleep(POLL)
        except BaseException:
            interrupt(running)
            raise
