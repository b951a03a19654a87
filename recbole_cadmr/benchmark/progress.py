"""What a benchmark reports while its cells run: what is done, and how long the rest may take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from contextlib import suppress

from recbole_cadmr.benchmark.cells import checked_result
from recbole_cadmr.execution.run_spec import Runner, RunSpec
from recbole_cadmr.files import write_text
from recbole_cadmr.formatting import seconds
from recbole_cadmr.on_screen import fitted
from recbole_cadmr.runs.result import RunResult


class Progress:
    """Reports how the cells of a benchmark stand.

    The time left is estimated from the cells of the same model, settings and data set that were run, from the start of
    their process to its end. Where there is none, those of the model with other settings have to do; what rests on
    them, and what on nothing, is said.
    """

    def __init__(self, cells: Sequence[RunSpec], jobs: int) -> None:
        """Check and measure what is finished, of cells that are run ``jobs`` at a time."""
        self.jobs = jobs
        self._measured: dict[tuple[str, ...], list[float]] = {}
        for cell in cells:
            if cell.is_finished:
                self._measure(cell, _taken(cell, checked_result(cell)))
        self.left = [cell for cell in cells if not cell.is_finished]
        digests: dict[str, set[str]] = {}
        for cell in cells:
            digests.setdefault(cell.model_spec.label, set()).add(cell.model_spec.digest)
        self._names = {
            cell.folder: f"[{n}/{len(self.left)}] {_name(cell, len(digests[cell.model_spec.label]) > 1)}"
            for n, cell in enumerate(self.left, 1)
        }
        self._started = time.monotonic()
        _say(f"{len(cells)} cell{'s' * (len(cells) != 1)}, {len(cells) - len(self.left)} finished; {self._estimate()}")

    def run(self, runner: Runner) -> None:
        """Run what is left."""
        if self.left:
            runner.run(list(self.left), self._on_start, self._on_end)

    def _on_start(self, cell: RunSpec) -> None:
        _say(f"{self._names[cell.folder]} starts")

    def _on_end(self, cell: RunSpec, taken: float) -> None:
        self.left.remove(cell)
        outcome = cell.failure or "failed"
        if cell.is_finished:
            write_text(cell.duration_file, f"{taken:.1f}\n")
            result = checked_result(cell)
            self._measure(cell, _taken(cell, result))
            score = result["best_valid_score"]
            metric = f"{result['protocol']['valid_metric']} {'none' if score is None else f'{score:.4f}'}"
            outcome = f"validation {metric} in {seconds(taken)}"
        elapsed = f"{seconds(time.monotonic() - self._started)} elapsed"
        _say(f"{self._names[cell.folder]}: {outcome}; {elapsed}, {self._estimate()}")

    def _measure(self, cell: RunSpec, taken: float) -> None:
        for key in _keys(cell):
            self._measured.setdefault(key, []).append(taken)

    def _estimate(self) -> str:
        if not self.left:
            return "nothing left to run"
        times, n_guessed, unknown = [], 0, dict[str, None]()
        for cell in self.left:
            known = next((key for key in _keys(cell) if key in self._measured), None)
            if known is None:
                unknown[cell.model_spec.label] = None
                continue
            times.append(statistics.mean(self._measured[known]))
            n_guessed += known != _keys(cell)[0]
        parts = []
        if times:
            guessed = f" ({n_guessed} of the cells by other settings of their model)" if n_guessed else ""
            parts.append(f"about {seconds(max(sum(times) / self.jobs, *times))} left{guessed}")
        if unknown:
            parts.append(f"the time of {', '.join(unknown)} is not known before a first run")
        return ", but ".join(parts)


def _taken(cell: RunSpec, result: RunResult) -> float:
    """Seconds of a finished cell: from its start to its end, or as much as its result knows, if that is more.

    It is where the cell was resumed, is the run of a search, or has been copied without the file.
    """
    known = sum(result["seconds"].values()) + result["evaluation_seconds"]
    with suppress(OSError, ValueError):
        return max(known, float(cell.duration_file.read_text(encoding="utf-8")))
    return known


def _name(cell: RunSpec, of_several: bool) -> str:
    spec = cell.model_spec
    return f"{spec.label}{f' ({spec.digest})' if of_several else ''} on {spec.dataset}, seed {cell.seed}"


def _keys(cell: RunSpec) -> tuple[tuple[str, ...], ...]:
    """By what cells take alike, the closest first."""
    spec = cell.model_spec
    return (spec.label, spec.dataset, spec.digest), (spec.label, spec.dataset)


def _say(line: str) -> None:
    print(fitted(line, "    "), flush=True)
