"""A benchmark from its options to its tables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_cadmr.benchmark.folder import adopt, open_folder, protocols
from recbole_cadmr.benchmark.plan import check_seeds, model_specs
from recbole_cadmr.benchmark.runner import CELLS, Runner
from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.local import RUN, Task
from recbole_cadmr.files import refuse_links, remove_temporaries, write_aside
from recbole_cadmr.locking import alone_in, terminated_as_interrupted
from recbole_cadmr.reports.benchmark_report import write_report
from recbole_cadmr.reports.summary import DatasetTable, summarise
from recbole_cadmr.reports.tables import csv_text, latex, markdown
from recbole_cadmr.runs.folder import is_used
from recbole_cadmr.runs.result import read_result
from recbole_cadmr.tuning.search import RAY

MOST_GB = 2**30
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
        settings: by name for all models that have it, by ``MODEL.name`` or ``MODEL@PRESET.name`` for one.
        tune: settings of each model tried on validation, the defaults among them; 0 or 1 tries none.
        jobs: cells at once on this machine.
        memory: GB that a cell may use; what is free if not given.
        ray_address: a Ray cluster to run on instead; ``local`` for one on this machine.
        runs: folders of finished runs that stand beside the cells.

    Raises:
        UserError: on anything wrong with the options, and if ``output`` or a run was measured under another protocol.
    """
    root = Path(output).absolute()
    given = dict(settings or {})
    found = model_specs(models, datasets, given)
    check_seeds(seeds)
    if memory is not None and not 0 < memory <= MOST_GB:
        raise UserError(f"memory must be a number of GB above 0 and at most {MOST_GB:,}, not {memory:g}")
    agreed = protocols(found)
    try:
        with alone_in(root, "benchmark"), terminated_as_interrupted():
            open_folder(root, agreed)
            refuse_links(root.resolve(), but=RAY)  # where a search that was killed leaves Ray's
            remove_temporaries(root)
            adopted = adopt(root, runs, agreed, given.get("data_path"))
            work = Runner(root, found, seeds, jobs, memory, ray_address)
            tasks = work.tuned(tune) if tune > 1 else work.plain()
            work.run(tasks)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("stopped; what is finished is kept, the same command goes on") from error
    tables = _write(root, tasks, adopted, work.tried)
    told = {task.run for task in tasks} | {Path(run).absolute() for run in runs}
    others = [folder for folder in (root / CELLS).iterdir() if is_used(folder / RUN) and folder / RUN not in told]
    if others:
        print(f"{len(others)} finished cells of {root} are not of this command and not in its tables", flush=True)
    return tables


def _write(root: Path, tasks: Sequence[Task], adopted: Sequence[Path], tried: Mapping[Path, int]) -> list[DatasetTable]:
    tables = []
    for dataset in dict.fromkeys(task.cell.model_spec.dataset for task in tasks):
        mine = [task for task in tasks if task.cell.model_spec.dataset == dataset]
        folders = [task.run for task in mine if task.finished]
        folders += [folder for folder in adopted if read_result(folder)["dataset"] == dataset]
        missing = {
            f"{task.cell.model_spec.label}, seed {task.cell.settings['seed']}": task.failure or "not run"
            for task in mine
            if not task.finished
        }
        if folders:
            names = {task.run: f"{task.cell.model_spec.label} {task.cell.digest}" for task in mine}
            tables.append(summarise(folders, missing, tried, names))
        else:
            print("\n".join(f"{dataset}, {label}: {reason}" for label, reason in missing.items()), flush=True)
    if not tables:
        raise UserError(f"no cell of the benchmark has a result; the logs are in {root / CELLS}")
    for name, text in ((TABLE, markdown(tables)), (LATEX, latex(tables)), (CSV, csv_text(tables))):
        with write_aside(root / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    write_report(tables, root / REPORT)
    return tables
