"""What a benchmark reports while its cells run: what is done, and how long the rest may take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from recbole_cadmr.benchmark.cells import checked_result
from recbole_cadmr.execution.run_spec import Runner, RunSpec
from recbole_cadmr.formatting import seconds


class Progress:
    """Reports how the cells of a benchmark stand; the time left is estimated from those that were measured in it."""

    def __init__(self, cells: Sequence[RunSpec], jobs: int) -> None:
        """Check and measure what is finished, of cells that are run ``jobs`` at a time."""
        self.jobs = jobs
        self._measured: dict[tuple[str, str], list[float]] = {}
        for cell in cells:
            if cell.is_finished:
                result = checked_result(cell)
                self._measure(cell, sum(result["seconds"].values()) + result["evaluation_seconds"])
        self.left = [cell for cell in cells if not cell.is_finished]
        self._numbers = {
            cell.folder: f"[{n}/{len(self.left)}] {cell.folder.name}" for n, cell in enumerate(self.left, 1)
        }
        self._started = time.monotonic()
        print(f"{len(cells)} cells, {len(cells) - len(self.left)} finished; {self._estimate()}", flush=True)

    def run(self, runner: Runner) -> None:
        """Run what is left."""
        if self.left:
            runner.run(list(self.left), self._on_start, self._on_end)

    def _on_start(self, cell: RunSpec) -> None:
        print(f"{self._numbers[cell.folder]} starts", flush=True)

    def _on_end(self, cell: RunSpec, taken: float) -> None:
        self.left.remove(cell)
        outcome = cell.failure or "failed"
        if cell.is_finished:
            self._measure(cell, taken)
            result = checked_result(cell)
            score = result["best_valid_score"]
            metric = f"{result['protocol']['valid_metric']} {'none' if score is None else f'{score:.4f}'}"
            outcome = f"validation {metric} in {seconds(taken)}"
        elapsed = f"{seconds(time.monotonic() - self._started)} elapsed"
        print(f"{self._numbers[cell.folder]}: {outcome}; {elapsed}, {self._estimate()}", flush=True)

    def _measure(self, cell: RunSpec, taken: float) -> None:
        self._measured.setdefault(_key(cell), []).append(taken)

    def _estimate(self) -> str:
        if not self.left:
            return "nothing left to run"
        times = [statistics.mean(self._measured[_key(cell)]) for cell in self.left if _key(cell) in self._measured]
        unmeasured = dict.fromkeys(cell.model_spec.label for cell in self.left if _key(cell) not in self._measured)
        parts = [f"about {seconds(sum(times) / self.jobs)}"] if times else []
        if unmeasured:
            parts.append(f"the time of {', '.join(unmeasured)} (not measured yet)")
        return f"{' and '.join(parts)} left"


def _key(cell: RunSpec) -> tuple[str, str]:
    return cell.model_spec.label, cell.model_spec.dataset
