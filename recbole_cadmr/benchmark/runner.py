"""The cells of a benchmark on their way: tried, run, told about."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from recbole_cadmr.benchmark.folder import complete_lists
from recbole_cadmr.benchmark.plan import ModelSpec, RunSpec, cells_of
from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.estimate import Seconds, memory_bytes, sizes
from recbole_cadmr.execution.local import RUN, Task, run_tasks
from recbole_cadmr.execution.ray_runner import run_on_cluster
from recbole_cadmr.files import folder_aside
from recbole_cadmr.formatting import seconds
from recbole_cadmr.reports.results_table import configuration, row_settings
from recbole_cadmr.runs.evaluate import read_test
from recbole_cadmr.runs.result import RunResult, read_result
from recbole_cadmr.runs.topk_lists import LISTS
from recbole_cadmr.tuning.plan import SEARCH, check_same, has_space, make_plan, read_plan
from recbole_cadmr.tuning.resources import Resources
from recbole_cadmr.tuning.samplers import equal_as_json
from recbole_cadmr.tuning.tune import NothingFoundError, run_plan

CELLS, SEARCHES = "cells", "searches"
# Settings of a cell that the plan of a search says in its own words, or that a trial has no use for.
_NOT_OF_TRIALS = ("model", "dataset", "preset", "threads", "save_lists", "show_progress")


class Runner:
    """What is to be run, where and by how many at a time.

    Attributes:
        tried: by cell, how many settings of its contender were tried on validation.
    """

    def __init__(
        self,
        root: Path,
        found: Sequence[ModelSpec],
        seeds: Sequence[int],
        jobs: int,
        memory: float | None,
        address: str | None,
    ) -> None:
        self.root, self.found, self.seeds = root, found, seeds
        self.jobs, self.address = jobs, address
        self.limit = int(memory * 2**30) if memory else None
        self.threads = 1 if address else max(1, (psutil.cpu_count(logical=False) or 1) // jobs)
        self.seconds = Seconds()
        self.counts = {dataset: sizes(config) for dataset, config in {c.dataset: c.resolved for c in found}.items()}
        self.tried: dict[Path, int] = {}

    def _task(self, cell: RunSpec) -> Task:
        config = cell.model_spec.resolved
        memory = memory_bytes(config, self.counts[cell.model_spec.dataset])
        return Task(cell, self.root / CELLS / cell.name, memory, config["threads"] or self.threads)

    def plain(self) -> list[Task]:
        """The cells of the tables, with the settings that were given."""
        return [self._task(cell) for model_spec in self.found for cell in cells_of(model_spec, self.seeds)]

    def tuned(self, n: int) -> list[Task]:
        """The cells of the tables, with the best of ``n`` settings of each contender on validation.

        Each is searched with the first seed; the best trial is then the cell of that seed, and its test part is read.
        """
        return [task for model_spec in self.found for task in self._searched(model_spec, n)]

    def _searched(self, model_spec: ModelSpec, n: int) -> list[Task]:
        """The cells of a contender after a search; those of its defaults if there is nothing to search."""
        first = model_spec.cell(self.seeds[0])
        task = self._task(first)
        plain = [self._task(cell) for cell in cells_of(model_spec, self.seeds)]
        too_large = self.limit is not None and task.memory > self.limit
        if too_large or not has_space(model_spec.model, model_spec.preset, model_spec.settings):
            return plain
        plan = make_plan(
            model_spec.model,
            model_spec.dataset,
            preset=model_spec.preset,
            trials=n,
            threads=task.threads,
            settings={name: value for name, value in first.file_settings.items() if name not in _NOT_OF_TRIALS},
        )
        folder = self.root / SEARCHES / first.name
        known = read_plan(folder) if (folder / SEARCH).is_file() else None
        if known is not None:
            check_same(known, plan, folder)
        resources = Resources(address=self.address or "local", cpus=task.threads, jobs=self.jobs)
        try:
            search = run_plan(plan, folder, resources, test=False, known=known)
        except NothingFoundError as error:
            print(f"{model_spec.label}: {error}", flush=True)
            return plain  # which say why
        best = search.winner.best(plan.bigger)
        chosen = search.winner.values_at(best["epoch"] if best else 0)
        mine = [self._task(cell) for cell in cells_of(model_spec, self.seeds, **chosen)]
        self._adopt(search.run, mine[0], model_spec)
        tried = sum(record.best(plan.bigger) is not None for record in search.records)
        self.tried |= {task.run: tried for task in mine}
        return mine

    def _adopt(self, run: Path, task: Task, model_spec: ModelSpec) -> None:
        """Make the best trial's run a cell, and read its test part."""
        if not task.finished:
            shutil.rmtree(task.run, ignore_errors=True)
            for left in task.folder.glob(f".{RUN}.*"):  # of a benchmark that was killed
                shutil.rmtree(left)
            with folder_aside(task.run) as temporary:
                shutil.copytree(run, temporary, dirs_exist_ok=True)
        self._read_test(task, model_spec)

    def _read_test(self, winner: Task, model_spec: ModelSpec) -> None:
        data_path = str(model_spec.resolved.data_root)
        if not read_result(winner.run)["test_read"]:
            read_test(winner.run, data_path)
        if not (winner.run / LISTS).is_file():
            complete_lists(winner.run, winner.run / LISTS, data_path)

    def run(self, tasks: Sequence[Task], what: str = "cells") -> None:
        """Run what is not finished, saying how long it may take."""
        for task in tasks:
            if task.finished:
                self._measured(task)
        waiting = [task for task in tasks if not task.finished]
        print(f"{len(tasks)} {what}, {len(tasks) - len(waiting)} finished; {self._estimate(waiting)}", flush=True)
        if not waiting:
            return
        begun, left = time.monotonic(), list(waiting)
        number = {task.cell.name: f"[{place}/{len(waiting)}] {task.cell.name}" for place, task in enumerate(waiting, 1)}

        def started(task: Task) -> None:
            print(f"{number[task.cell.name]} {'waits for a node' if self.address else 'begins'}", flush=True)

        def done(task: Task, taken: float) -> None:
            left.remove(task)
            words = f"{self._words(task)} in {seconds(taken)}" if task.finished else task.failure or "failed"
            if task.finished:
                self._measured(task)
            gone = f"{seconds(time.monotonic() - begun)} gone, {self._estimate(left)}"
            print(f"{number[task.cell.name]}: {words}; {gone}", flush=True)

        if self.address:
            run_on_cluster(waiting, self.address, self.limit, started, done)
        else:
            run_tasks(waiting, self.jobs, self.limit, started, done)

    def _words(self, task: Task) -> str:
        result = read_result(task.run)
        score = result["best_valid_score"]
        return f"validation {result['protocol']['valid_metric']} {'none' if score is None else f'{score:.4f}'}"

    def _measured(self, task: Task) -> None:
        result = read_result(task.run)
        _check_cell(task, result)
        taken = sum(result["seconds"].values()) + result["evaluation_seconds"]
        self.seconds.measured(task.cell.model_spec.label, task.cell.model_spec.dataset, taken)

    def _estimate(self, tasks: Sequence[Task]) -> str:
        if not tasks:
            return "nothing left to run"
        known, unknown = 0.0, []
        for task in tasks:
            model_spec = task.cell.model_spec
            interactions = self.counts[model_spec.dataset]["interactions"]
            guess = self.seconds.of(
                model_spec.label, model_spec.dataset, interactions, task.cell.settings.get("epochs")
            )
            if guess is None:
                unknown.append(model_spec.label)
            known += guess or 0.0
        rest = f"what {', '.join(dict.fromkeys(unknown))} takes, which nothing is known about" if unknown else ""
        about = f"about {seconds(known / self.jobs)}" if known else ""
        return f"{' and '.join(filter(None, (about, rest)))} left"


def _check_cell(task: Task, result: RunResult) -> None:
    """Raise :class:`UserError` unless a result is that of the cell whose folder it lies in."""
    cell = task.cell
    more = {name: value for name, value in cell.settings.items() if name not in cell.model_spec.settings}
    config = cell.model_spec.config(**more)
    protocol = result["protocol"]
    pairs: dict[str, tuple[Any, Any]] = {
        "model": (result["model"], config["model"]),
        "dataset": (result["dataset"], config["dataset"]),
        "seed": (protocol["seed"], config["seed"]),
        "metrics": ([protocol["metrics"], protocol["topk"]], [config["metrics"], config["topk"]]),
        "settings": (configuration(result), row_settings(config.changed)),
    }
    for name, (own, wanted) in pairs.items():
        if not equal_as_json({"": own}, {"": wanted}):
            raise UserError(f"{task.run} holds the result of another run: its {name} is {own}, not {wanted}; remove it")
