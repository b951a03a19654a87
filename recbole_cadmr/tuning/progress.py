"""What a person sees while a search runs: a table of at most 80 columns, or as many as the terminal has."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TextIO

from recbole_cadmr.formatting import screen_width, seconds
from recbole_cadmr.progress import on_terminal
from recbole_cadmr.tuning.trial_record import STATES, TrialRecord, best_record, score_of

WIDTH = 80
_BEST_SHOWN = 5
_EVERY = 60  # seconds between two tables if nothing has ended
_ERASE = "\x1b[{}A\x1b[J"  # that many lines up, and everything below


def table(records: Sequence[TrialRecord], trials: int, metric: str, bigger: bool, elapsed: float) -> list[str]:
    """Lines that say how a search stands: the running trials, and the best of the others."""
    counts = Counter(record.status for record in records)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]) or "none started"
    best = best_record(records, bigger)
    tops = {record.number: score_of(top) for record in records if (top := record.best(bigger)) is not None}
    lines = [f"{len(records)} of {trials} trials: {states}, in {seconds(elapsed)}"]
    running = [record for record in records if record.status == "running"]
    others = [record for record in records if record.status not in ("running", "failed") and record.number in tops]
    others.sort(key=lambda record: tops[record.number], reverse=bigger)
    shown = sorted([*running, *others[:_BEST_SHOWN]], key=lambda record: record.number)
    if shown:
        lines.append(f"{'trial':>6} {'state':<9}{'epoch':>6} {'last':>7} {'best':>7}  {metric}; settings")
    for record in shown:
        mark = "*" if best is not None and record.number == best.number else " "
        last = f"{score_of(record.reports[-1]):.4f}" if record.reports else ""
        high = f"{tops[record.number]:.4f}" if record.number in tops else last
        values = " ".join(f"{name}={value}" for name, value in record.values_at(record.epochs).items())
        lines.append(f"{record.number:>5}{mark} {record.status:<9}{record.epochs:>6} {last:>7} {high:>7}  {values}")
    width = min(WIDTH, screen_width())
    return [line if len(line) <= width else line[: width - 1] + "…" for line in lines]


class Progress:
    """Prints the table: in place on a terminal, else anew when a trial has ended, and every minute."""

    def __init__(self, trials: int, metric: str, bigger: bool, stream: TextIO | None = None) -> None:
        self.trials, self.metric, self.bigger = trials, metric, bigger
        self._stream = stream or sys.stdout
        self._started = time.monotonic()
        self._printed, self._lines, self._ended = -math.inf, 0, -1
        self._announced = ""

    def announce(self, text: str) -> None:
        """Print what is said once, before the first table."""
        if text != self._announced:
            self._write([text])
        self._announced = text

    def show(self, records: Sequence[TrialRecord]) -> None:
        """Print the table if there is something new."""
        now, in_place = time.monotonic(), on_terminal(self._stream)
        ended = sum(record.over for record in records)
        if not in_place and ended == self._ended and now - self._printed < _EVERY:
            return
        lines = table(records, self.trials, self.metric, self.bigger, now - self._started)
        if in_place and self._lines:
            self._stream.write(_ERASE.format(self._lines))
        self._write([*lines, ""])
        self._printed, self._lines, self._ended = now, len(lines) + 1, ended

    def _write(self, lines: Iterable[str]) -> None:
        self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()
