"""The cells of a benchmark: one run a model, data set and seed, with the settings given or the best of a search."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from recbole_cadmr.benchmark.folder import complete_lists
from recbole_cadmr.config.rules import refuse_long_lists
from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.estimate import memory_bytes, most_items, users_and_items
from recbole_cadmr.execution.run_spec import ModelSpec, RunSpec
from recbole_cadmr.files import folder_aside
from recbole_cadmr.models.contract import traits
from recbole_cadmr.reports.results_table import row_settings
from recbole_cadmr.runs.evaluate import read_test
from recbole_cadmr.runs.result import RunResult, read_result
from recbole_cadmr.runs.topk_lists import LISTS
from recbole_cadmr.tuning.plan import OF_TRIALS, has_space
from recbole_cadmr.tuning.resources import Resources
from recbole_cadmr.tuning.samplers import equal_as_json
from recbole_cadmr.tuning.tune import NothingFoundError, tune

CELLS, SEARCHES = "cells", "searches"
_SPLIT_SEED = 2020  # of a split that is drawn: one split for all seeds
# Settings of a cell that the plan of a search says in its own words, or that a trial has no use for.
_NOT_OF_TRIALS = ("model", "dataset", "preset", "threads", "save_lists", "show_progress")


@dataclass
class Cells:
    """Makes the cells of a benchmark.

    Attributes:
        address: of the Ray cluster that they run on; None for this machine.
        jobs: cells at once on this machine.
        limit: bytes a cell may use; None for all that is free.
        tried: by run, how many settings of its model were tried on validation.
    """

    root: Path
    seeds: Sequence[int]
    jobs: int = 1
    limit: int | None = None
    address: str | None = None
    tried: dict[Path, int] = field(default_factory=dict)
    _counts: dict[str, tuple[int, int]] = field(default_factory=dict)

    def of(self, spec: ModelSpec) -> list[RunSpec]:
        """A cell for each seed; for a deterministic model, the first one."""
        config = spec.config
        if spec.dataset not in self._counts:
            self._counts[spec.dataset] = users_and_items(config)
        if 0 < self._counts[spec.dataset][1] < max(config["topk"]) and (most := most_items(config)):
            refuse_long_lists(config["topk"], most, spec.dataset)
        memory = memory_bytes(config, *self._counts[spec.dataset])
        cores = 1 if self.address else max(1, (psutil.cpu_count(logical=False) or 1) // self.jobs)
        drawn = {} if config["benchmark_filename"] else {"split_seed": _SPLIT_SEED}
        return [
            RunSpec(
                spec,
                seed,
                folder=self.root / CELLS / f"{spec.dataset}-{spec.label}-{seed}-{spec.digest}",
                memory=memory,
                threads=config["threads"] or cores,
                settings={"save_lists": True, "show_progress": False, **drawn},
            )
            for seed in (self.seeds[:1] if traits(config.model_class).deterministic else self.seeds)
        ]

    def searched(self, spec: ModelSpec, n: int) -> list[RunSpec]:
        """The same with the best of ``n`` settings on validation; with those given if there is nothing to search.

        The search has the first seed; its best trial is then the cell of that seed, and its test part is read.
        """
        plain = self.of(spec)
        first = plain[0]
        is_too_large = self.limit is not None and first.memory > self.limit
        if is_too_large or not has_space(spec.model, spec.preset, spec.settings):
            return plain
        resources = Resources(address=self.address or "local", cpus=first.threads, jobs=self.jobs)
        try:
            search = tune(
                spec.model,
                spec.dataset,
                output=self.root / SEARCHES / first.folder.name,
                preset=spec.preset,
                trials=n,
                settings={name: value for name, value in first.all_settings.items() if name not in _NOT_OF_TRIALS},
                resources=resources,
                test=False,
            )
        except NothingFoundError as error:
            print(f"{spec.label}: {error}", flush=True)
            return plain  # which say why
        best = search.winner.best(search.plan.bigger)
        chosen = search.winner.values_at(best["epoch"] if best else 0)
        of_trials = {name: search.plan.settings[name] for name in OF_TRIALS if name in search.plan.settings}
        cells = self.of(replace(spec, settings={**spec.settings, **of_trials, **chosen}))
        _adopt(search.run, cells[0])
        tried = sum(record.best(search.plan.bigger) is not None for record in search.records)
        self.tried |= {cell.run: tried for cell in cells}
        return cells


def _adopt(trial: Path, cell: RunSpec) -> None:
    """Make the run of the best trial a cell, and read its test part."""
    if not cell.is_finished:
        shutil.rmtree(cell.run, ignore_errors=True)
        for left in cell.folder.glob(f".{cell.run.name}.*"):  # of a benchmark that was killed
            shutil.rmtree(left)
        with folder_aside(cell.run) as temporary:
            shutil.copytree(trial, temporary, dirs_exist_ok=True)
    data_path = str(cell.model_spec.config.data_root)
    if not read_result(cell.run)["test_read"]:
        read_test(cell.run, data_path)
    if not (cell.run / LISTS).is_file():
        complete_lists(cell.run, cell.run / LISTS, data_path)


def checked_result(cell: RunSpec) -> RunResult:
    """The result of a finished cell; :class:`UserError` if it is that of another run."""
    result, config = read_result(cell.run), cell.model_spec.config
    said: dict[str, Any] = {**result, **result["protocol"]}
    asked = {name: config[name] for name in ("model", "dataset", "metrics", "topk")} | {"seed": cell.seed}
    own = {name: said[name] for name in asked} | row_settings(result["settings"])
    wanted = asked | row_settings(config.changed)
    scheduled = {name for changes in (config["settings_schedule"] or {}).values() for name in changes}
    for name in sorted((own.keys() | wanted.keys()) - scheduled):
        if not equal_as_json({"": own.get(name)}, {"": wanted.get(name)}):
            what = f"its {name} is {own.get(name)}, not {wanted.get(name)}"
            raise UserError(f"{cell.run} holds the result of another run: {what}; remove it")
    return result
