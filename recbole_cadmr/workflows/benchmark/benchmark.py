"""A benchmark from its options to its tables."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import write_aside
from recbole_cadmr.training.trainer import BEST
from recbole_cadmr.workflows.benchmark.cluster import run_on_cluster
from recbole_cadmr.workflows.benchmark.estimate import Seconds, memory_bytes, sizes
from recbole_cadmr.workflows.benchmark.plan import Cell, Contender, cells_of, contenders
from recbole_cadmr.workflows.benchmark.pool import Task, run_tasks
from recbole_cadmr.workflows.benchmark.report import write_report
from recbole_cadmr.workflows.benchmark.summary import DatasetTable, summarise
from recbole_cadmr.workflows.benchmark.tables import csv_text, latex, markdown, seconds
from recbole_cadmr.workflows.lists import LISTS, test_lists, write_lists
from recbole_cadmr.workflows.results import read_result, write_json
from recbole_cadmr.workflows.run_folder import RESULT, scratch_folder
from recbole_cadmr.workflows.search import best_of, random_settings, read_space
from recbole_cadmr.workflows.session import load_session

LOCK = ".lock"
CELLS, ADOPTED, PROTOCOL = "cells", "runs", "benchmark.json"
TABLE, LATEX, CSV, REPORT = "table.md", "table.tex", "results.csv", "report.html"


def benchmark(
    models: Sequence[str],
    datasets: Sequence[str],
    seeds: Sequence[int],
    output: str | os.PathLike[str],
    *,
    settings: Mapping[str, Any] | None = None,
    tune: int = 0,
    jobs: int = 1,
    memory: float | None = None,
    ray_address: str | None = None,
    runs: Sequence[str | os.PathLike[str]] = (),
) -> list[DatasetTable]:
    """Train every model on every data set with every seed, and write the tables and the report to ``output``.

    Cells that are finished in ``output`` are not run again; one that was cut goes on, one that failed is tried again.

    Args:
        models: names, with a preset as in ``CADMR@best``.
        settings: by name for all models that have it, by ``MODEL.name`` for one.
        tune: settings of each model tried on validation, the defaults among them; 0 or 1 tries none.
        jobs: cells at once on this machine.
        memory: GB that a cell may use; its share of what is free if not given.
        ray_address: a Ray cluster to run on instead; ``local`` for one on this machine.
        runs: folders of finished runs that stand beside the cells.

    Raises:
        UserError: on anything wrong with the options, and if ``output`` or a run was measured under another protocol.
    """
    root = Path(output).absolute()
    found = contenders(models, datasets, settings or {})
    if not seeds:
        raise UserError("a benchmark needs at least one seed")
    work = _Work(root, found, seeds, tune, jobs, memory, ray_address)
    _check_folder(root, work.protocol())
    try:
        with _alone_in(root), _terminated_as_interrupted():
            adopted = _adopt(root, runs)
            finals = work.finals()
            work.run(finals)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("stopped; what is finished is kept, the same command goes on") from error
    return _write(root, finals, adopted)


class _Work:
    """The cells of a benchmark and how they are run."""

    def __init__(
        self,
        root: Path,
        found: Sequence[Contender],
        seeds: Sequence[int],
        tune: int,
        jobs: int,
        memory: float | None,
        address: str | None,
    ) -> None:
        self.root, self.found, self.seeds, self.tune = root, found, seeds, tune
        self.jobs, self.address = jobs, address
        self.limit = int(memory * 2**30) if memory else None
        self.threads = max(1, (psutil.cpu_count(logical=False) or 1) // jobs)
        self.seconds = Seconds()
        self.counts = {c.dataset: sizes(c.config()) for c in found}

    def protocol(self) -> dict[str, Any]:
        """What every benchmark in this folder has to agree in, by data set."""
        protocol = {}
        for contender in self.found:
            config = contender.config()
            names = ("mask_valid_at_test", "eval_args", "benchmark_filename", "metrics", "topk", "valid_metric")
            protocol[contender.dataset] = json.loads(json.dumps({name: config[name] for name in names}, default=str))
        return protocol

    def task(self, cell: Cell) -> Task:
        """A cell in its folder."""
        contender = cell.contender
        config = contender.config()
        threads = config["threads"] or self.threads
        memory = memory_bytes(contender.label, config, self.counts[contender.dataset])
        return Task(cell, self.root / CELLS / cell.name, memory, threads)

    def finals(self) -> list[Task]:
        """The cells of the tables; with ``tune``, after a search for the settings of each contender."""
        if self.tune < 2:
            return [self.task(cell) for contender in self.found for cell in cells_of(contender, self.seeds)]
        trials = {
            id(contender): [
                (tried, self.task(contender.cell(self.seeds[0], **tried, evaluate_test=False, save_lists=False)))
                for tried in random_settings(_space_of(contender), self.tune, f"{contender.label} {contender.dataset}")
            ]
            for contender in self.found
        }
        self.run([task for tried in trials.values() for _, task in tried], "trials on validation")
        finals = []
        for contender in self.found:
            finished = [(tried, read_result(task.run)) for tried, task in trials[id(contender)] if task.finished]
            chosen = best_of(finished) if finished else {}
            finals += [self.task(cell) for cell in cells_of(contender, self.seeds, **chosen)]
        return finals

    def run(self, tasks: Sequence[Task], what: str = "cells") -> None:
        """Run what is not finished, saying how long it may take."""
        for task in tasks:
            if task.finished:
                self._measured(task)
        waiting = [task for task in tasks if not task.finished]
        print(
            f"{len(tasks)} {what}, {len(tasks) - len(waiting)} of them finished; {self._estimate(waiting)}", flush=True
        )
        if not waiting:
            return
        begun = time.monotonic()
        numbers = {task.cell.name: number for number, task in enumerate(waiting, 1)}
        left = list(waiting)

        def started(task: Task) -> None:
            print(f"[{numbers[task.cell.name]}/{len(waiting)}] {task.cell.name} begins", flush=True)

        def done(task: Task, taken: float) -> None:
            left.remove(task)
            if task.finished:
                self._measured(task)
                result = read_result(task.run)
                metric = result["protocol"]["valid_metric"]
                words = f"validation {metric} {result['best_valid_score'] or float('nan'):.4f} in {seconds(taken)}"
            else:
                words = task.failure or "failed"
            print(
                f"[{numbers[task.cell.name]}/{len(waiting)}] {task.cell.name}: {words}; "
                f"{seconds(time.monotonic() - begun)} gone, {self._estimate(left)}",
                flush=True,
            )

        if self.address:
            run_on_cluster(waiting, self.address, started, done)
        else:
            run_tasks(waiting, self.jobs, self.limit, started, done)

    def _measured(self, task: Task) -> None:
        result = read_result(task.run)
        taken = sum(result["seconds"].values()) + result["evaluation_seconds"]
        self.seconds.measured(task.cell.contender.label, task.cell.contender.dataset, taken)

    def _estimate(self, tasks: Sequence[Task]) -> str:
        if not tasks:
            return "nothing left to run"
        known, unknown = 0.0, []
        for task in tasks:
            contender = task.cell.contender
            counts = self.counts[contender.dataset]
            guess = self.seconds.of(
                contender.label, contender.dataset, counts["interactions"], task.cell.settings.get("epochs")
            )
            if guess is None:
                unknown.append(contender.label)
            known += guess or 0.0
        rest = f", and what {', '.join(dict.fromkeys(unknown))} takes, which nothing is known about" if unknown else ""
        return f"about {seconds(known / self.jobs)} left{rest}"


def _space_of(contender: Contender) -> dict[str, list[Any]]:
    """The space of a contender, but for what was given for it."""
    space = read_space(contender.model, contender.preset)
    return {name: choices for name, choices in space.items() if name not in contender.settings}


def _check_folder(root: Path, protocol: Mapping[str, Any]) -> None:
    """Take note of the protocol in the folder, or refuse a folder of another one."""
    file = root / PROTOCOL
    known: dict[str, Any] = {}
    if file.is_file():
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{file} cannot be read: {error}; choose another --output") from error
        for dataset in known.keys() & protocol.keys():
            for name, value in protocol[dataset].items():
                if known[dataset].get(name) != value:
                    raise UserError(
                        f"{root} holds a benchmark under another protocol: on {dataset} {name} is "
                        f"{known[dataset].get(name)}, not {value}; choose another --output"
                    )
    elif root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f"{root} is already used, and not by a benchmark; choose another --output")
    write_json(file, {**known, **protocol})


def _adopt(root: Path, runs: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Finished runs from elsewhere, with their lists: folders in ``root`` that hold what the tables need."""
    folders = []
    for run in map(Path, runs):
        result = read_result(run)
        folder = root / ADOPTED / f"{result['dataset']}-{run.absolute().name}"
        folders.append(folder)
        if (folder / RESULT).is_file():
            if read_result(folder)["history"] != result["history"]:
                raise UserError(f"{folder} holds another run of the same name as {run}; rename one of them")
            continue
        if not result["test_read"]:
            raise UserError(f"{run} has no test figures; read them with: evaluate --run {run}")
        print(f"lists of {run}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        if (run / LISTS).is_file():
            shutil.copy(run / LISTS, folder / LISTS)
        else:
            with scratch_folder() as scratch:
                session = load_session(run / BEST, scratch)
                write_lists(test_lists(session, max(result["protocol"]["topk"])), folder / LISTS)
        write_json(folder / RESULT, result)
    return folders


def _write(root: Path, tasks: Sequence[Task], adopted: Sequence[Path]) -> list[DatasetTable]:
    datasets = list(dict.fromkeys(task.cell.contender.dataset for task in tasks))
    tables = []
    for dataset in datasets:
        mine = [task for task in tasks if task.cell.contender.dataset == dataset]
        folders = [task.run for task in mine if task.finished]
        folders += [folder for folder in adopted if read_result(folder)["dataset"] == dataset]
        missing = {
            f"{task.cell.contender.label}, seed {task.cell.settings['seed']}": task.failure or "not run"
            for task in mine
            if not task.finished
        }
        if folders:
            tables.append(summarise(folders, missing))
        for label, reason in missing.items():
            print(f"{dataset}, {label}: {reason}", flush=True)
    for folder in adopted:
        if read_result(folder)["dataset"] not in datasets:
            raise UserError(f"{folder} is of {read_result(folder)['dataset']}, which is not in --datasets")
    if not tables:
        raise UserError(f"no cell of the benchmark has a result; the logs are in {root / CELLS}")
    for name, text in ((TABLE, markdown(tables)), (LATEX, latex(tables)), (CSV, csv_text(tables))):
        with write_aside(root / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    write_report(tables, root / REPORT)
    return tables


@contextmanager
def _alone_in(root: Path) -> Iterator[None]:
    """Refuse a folder that another benchmark is at work in: each would stop the other's cells."""
    file, me = root / LOCK, psutil.Process()
    mark = f"{me.pid} {me.create_time()}"
    with suppress(OSError, ValueError, psutil.Error):
        pid, created = file.read_text().split()
        if str(psutil.Process(int(pid)).create_time()) == created:
            raise UserError(f"a benchmark is at work in {root} (process {pid}); wait for it, or stop it")
    file.write_text(mark)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let a terminated benchmark stop its cells as an interrupted one does."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
