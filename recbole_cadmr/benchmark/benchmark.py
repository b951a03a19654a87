"""A benchmark from its options to its tables."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from recbole_cadmr.benchmark.cells import CELLS, Cells
from recbole_cadmr.benchmark.folder import PROTOCOL, adopt, open_folder, protocols_of, read_content
from recbole_cadmr.benchmark.lists import lists_options, read_all
from recbole_cadmr.benchmark.plan import planned, take_in_models
from recbole_cadmr.benchmark.progress import Progress
from recbole_cadmr.config.yaml_text import load_yaml
from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.run_spec import RunSpec
from recbole_cadmr.execution.runner import bytes_of, runner_of
from recbole_cadmr.files import refuse_links, remove_temporaries, write_text
from recbole_cadmr.locking import resumable_in
from recbole_cadmr.models.own import again, source_of
from recbole_cadmr.reports.benchmark_page import write_benchmark_page
from recbole_cadmr.reports.collect import read_results
from recbole_cadmr.reports.foreign_lists import ForeignLists
from recbole_cadmr.reports.frame import Results
from recbole_cadmr.reports.latex import columns_of, joint, latex
from recbole_cadmr.reports.tables import TABLE, csv_text, first_html, first_tables, markdown
from recbole_cadmr.runs.folder import RunFolder
from recbole_cadmr.runs.result import read_result
from recbole_cadmr.tuning.search import RAY

LATEX, JOINT, CSV, REPORT = "table.tex", "joint.tex", "results.csv", "report.html"


class Benchmark(list[Results]):
    """What a benchmark measured, data set by data set, which prints as its first tables.

    Attributes:
        folder: holds all tables, ``results.csv`` and ``report.html``.
    """

    def __init__(self, tables: Iterable[Results], folder: Path) -> None:
        super().__init__(tables)
        self.folder = folder

    def __repr__(self) -> str:
        return first_tables(self).rstrip()

    def _repr_html_(self) -> str:
        return f"{first_html(self)}\n<p>in {escape(str(self.folder))}</p>"


def benchmark(
    models: Sequence[str | type],
    datasets: Sequence[str | os.PathLike[str]],
    seeds: int | Sequence[int],
    output: str | os.PathLike[str],
    *,
    settings: Mapping[str, Any] | None = None,
    tune: int = 0,
    runs: Sequence[str | os.PathLike[str]] = (),
    lists: Sequence[str] = (),
    columns: Sequence[str] = (),
    jobs: int = 1,
    memory: float | None = None,
    ray_address: str | None = None,
) -> Benchmark:
    """Train every model on every data set with every seed, and write the tables and the report to ``output``.

    A cell that is finished in ``output`` is not run again; one that was cut is resumed, one that failed is tried again.

    Args:
        models: names, with a preset as in ``CADMR@best``; a model of your own is its class, or names it as
            ``FILE.py:CLASS`` or ``package.module:CLASS``.
        datasets: names, or folders (:class:`~pathlib.Path`), all in the same one.
        seeds: how many, from 1 on, or which.
        settings: by name for all models that have it, by ``MODEL.name`` or ``MODEL@PRESET.name`` for one.
        tune: settings of each model tried on validation, the defaults among them; 0 or 1 tries none.
        runs: folders of finished runs that join the cells in the tables.
        lists: files of recommendation lists, from any toolkit, that join them: see :func:`lists_options`.
        columns: metrics of the table of all data sets in LaTeX, as in ``recall@20``.
        jobs: cells at once on this machine.
        memory: GB that a cell may use; what is free if not given.
        ray_address: a Ray cluster to run on instead, whose nodes all see ``output``; ``local`` for one on this machine.

    Raises:
        UserError: on anything wrong with the options or the lists, and if ``output`` or a run was measured under
            another protocol.
    """
    root, limit = Path(output).absolute(), bytes_of(memory)
    options, specs = planned(models, datasets, seeds, settings or {}, tune, runs, lists)
    for spec in specs:
        columns_of(columns, [f"{metric.lower()}@{k}" for metric in spec.config["metrics"] for k in spec.config["topk"]])
    agreed = protocols_of(specs)
    files = lists_options(options.lists, options.models, options.datasets, options.seeds)
    runner = runner_of(root, jobs, limit, ray_address)
    make = Cells(root, options.seeds, jobs, limit, ray_address)
    command = f"python -m recbole_cadmr benchmark --resume {shlex.quote(str(root))}"
    with resumable_in(root, "benchmark", f"with: {command}{again('--models', options.own_models)}", PROTOCOL):
        first = {spec.dataset: make.of(spec)[0] for spec in reversed(specs)}
        foreign, read = read_all(files, {name: cell.config for name, cell in first.items()})
        open_folder(root, options, agreed, read)
        refuse_links(root.resolve(), but=RAY)  # where a search that was killed leaves Ray's
        remove_temporaries(root)
        adopted = adopt(root, options.runs, agreed, specs[0].settings.get("data_path"))
        of_models = (make.searched(spec, tune) if tune > 1 else make.of(spec) for spec in specs)
        cells = list(chain.from_iterable(of_models))
        Progress(cells, jobs).run(runner)
    tables = _write(root, cells, adopted, make.tried, foreign, columns)
    _tell_others(root, cells)
    return tables


def resume(
    folder: str | os.PathLike[str],
    *,
    models: Sequence[str | type] = (),
    data_path: str | os.PathLike[str] | None = None,
    **where: Any,
) -> Benchmark:
    """Resume the benchmark in a folder, with the options that it was started with.

    Args:
        models: of the benchmark's models those of your own, which no folder can import by itself.
        data_path: where the data sets lie, if they have moved.
        where: ``jobs``, ``memory``, ``ray_address`` and ``columns``, as in :func:`benchmark`.
    """
    file = Path(folder).absolute() / PROTOCOL
    begun = read_content(file.parent).options
    if begun is None:
        raise UserError(f"{file} keeps no options, as of version 0.1; resume it by the same command again")
    if other := next((name for name in take_in_models(models) if name not in begun.own_models), None):
        raise UserError(f"{other} is no class of your own in the benchmark in {folder}; leave it out of `models`")
    if lacking := next((name for name in begun.own_models if source_of(name) is None), None):
        raise UserError(
            f"the benchmark in {folder} has {lacking}, a class of its author's own, which no file is imported for: "
            f"name it again by `models`, as in {begun.own_models[lacking]}"
        )
    settings = load_yaml(begun.settings, str(file))
    if data_path is not None and isinstance(settings, dict):
        settings["data_path"] = data_path
    options = {name: value for name, value in msgspec.structs.asdict(begun).items() if name != "own_models"}
    return benchmark(**{**options, "settings": settings}, output=folder, **where)


def _tell_others(root: Path, cells: Sequence[RunSpec]) -> None:
    """Say how many cells were finished by commands before, with other options."""
    mine = {cell.folder for cell in cells}
    others = [path for path in (root / CELLS).iterdir() if path not in mine and RunFolder(path / "run").is_finished]
    if others:
        print(f"{len(others)} finished cells of {root} are not of this command and not in its tables", flush=True)


def _write(
    root: Path,
    cells: Sequence[RunSpec],
    adopted: Sequence[Path],
    tried: Mapping[Path, int],
    foreign: Mapping[str, Mapping[str, Sequence[ForeignLists]]],
    columns: Sequence[str],
) -> Benchmark:
    tables = []
    for dataset in dict.fromkeys(cell.model_spec.dataset for cell in cells):
        mine = [cell for cell in cells if cell.model_spec.dataset == dataset]
        folders = [cell.run for cell in mine if cell.is_finished]
        folders += [folder for folder in adopted if read_result(folder)["dataset"] == dataset]
        missing = {
            f"{cell.model_spec.label}, seed {cell.seed}": cell.failure or "not run"
            for cell in mine
            if not cell.is_finished
        }
        if folders:
            names = {cell.run: f"{cell.model_spec.label} {cell.model_spec.digest}" for cell in mine}
            tables.append(read_results(folders, missing, tried, names, foreign.get(dataset)))
    if not tables:
        raise UserError(f"no cell of the benchmark has a result; the logs are in {root / CELLS}")
    texts = {
        TABLE: markdown(tables),
        LATEX: latex(tables),
        JOINT: joint(tables, columns),
        CSV: csv_text(tables),
    }
    for name, text in texts.items():
        write_text(root / name, text)
    write_benchmark_page(tables, root / REPORT)
    return Benchmark(tables, root)
