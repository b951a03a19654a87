"""Finished runs and lists from files, collected into the frames of results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_cadmr.errors import UserError
from recbole_cadmr.formatting import text_of
from recbole_cadmr.reports.foreign_lists import ForeignLists
from recbole_cadmr.reports.frame import ALL, EVALUATION, GPU_MEMORY, MEMORY, PARAMETERS, RUN, TRAINING, Results
from recbole_cadmr.reports.measure import by_stratum, diversity
from recbole_cadmr.reports.results_table import (
    COMPARABLE,
    check_comparable,
    costs_of,
    differing_settings,
    grouped,
    row_settings,
)
from recbole_cadmr.reports.significance import compare
from recbole_cadmr.runs.result import RunResult, published_of, read_result, traits_of
from recbole_cadmr.runs.topk_lists import LISTS, TopKLists, by_user, check_figures, read_lists

# Settings that the head of the tables says, or the name of the model.
_SAID = (
    *("benchmark_filename", "modalities", "item_graphs", "data_note", "split_seed", "eval_args", "preset"),
    *("mask_valid_at_test", "metrics", "topk", "valid_metric"),
)


def read_results(
    folders: Sequence[Path],
    missing: Mapping[str, str] | None = None,
    tried: Mapping[Path, int] | None = None,
    model_specs: Mapping[Path, str] | None = None,
    foreign: Mapping[str, Sequence[ForeignLists]] | None = None,
) -> Results:
    """The results of finished runs on one data set, each with its lists.

    Args:
        foreign: lists from files by the name of what made them, by ascending seed.
        missing: by label, why there is no result.
        tried: by folder, how many settings were tried on validation before it.
        model_specs: by folder, what makes runs one model; others join the one of the same model and changed settings.

    Raises:
        UserError: if a run is not finished, has no lists or no test results, or was measured on other data or under
            another protocol than the first.
    """
    results = [(folder, read_result(folder)) for folder in folders]
    check_comparable(results, (*COMPARABLE, "metrics", "topk", "valid_metric"))
    groups = grouped(results, model_specs)
    rows, first, n_tried = _Rows(), results[0][1], tried or {}
    for name, group in zip(_names([group[0][1] for group in groups]), groups):
        rows.add_runs(name, group, max(n_tried.get(folder, 0) for folder, _ in group))
    for name, files in (foreign or {}).items():
        rows.add_files(f"{name} (file)", files, first["protocol"]["metrics"])
    runs, models = rows.frames(first["protocol"]["valid_metric"].lower())
    return Results(
        first["dataset"],
        first["protocol"],
        first["fingerprint"]["counts"],
        models,
        runs,
        pd.DataFrame(rows.validations, columns=["model", "seed", "epoch", "seconds", "score"]),
        rows.compared(models.index),
        pd.DataFrame(rows.published, columns=["model", "metric", "value", "source"]),
        dict(missing or {}),
        any(n_tried.get(folder) for folder in folders),
        sorted({result["protocol"]["threads"] for _, result in results}),
    )


class _Rows:
    """Rows of the frames, model by model.

    Attributes:
        validations, published: rows of the frames of these names.
    """

    def __init__(self) -> None:
        self.validations: list[tuple[Any, ...]] = []
        self.published: list[tuple[Any, ...]] = []
        self._runs: list[tuple[Any, ...]] = []
        self._models: dict[str, tuple[Any, ...]] = {}
        self._users: dict[str, pd.DataFrame] = {}  # metrics of each test user, means over the runs
        self._first_seen: dict[str, tuple[Path, np.ndarray]] = {}

    def add_runs(self, name: str, group: Sequence[tuple[Path, RunResult]], n_tried: int) -> None:
        """Add the runs of a model, before which so many settings were tried."""
        by_run = []
        for folder, result in group:
            seed, lists = result["protocol"]["seed"], read_lists(folder / LISTS)
            check_figures(lists, result, folder)
            _check_data(lists, result["settings"].get("modalities"), folder / LISTS, self._first_seen)
            by_run.append(by_user(lists, result["protocol"]["topk"], result["protocol"]["metrics"]))
            self._runs += [(name, seed, *entry) for entry in measured(lists, result)]
            self.validations += [
                (name, seed, entry["epoch"], entry["seconds"], entry["valid_score"])
                for entry in result["history"]
                if entry["valid_score"] is not None
            ]
        seeds, own = [run["protocol"]["seed"] for _, run in group], traits_of(result)
        self._add(name, by_run, (own["multimodal"], own["deterministic"], _chosen(result, n_tried), seeds, False))
        if reference := published_of(result):
            self.published += [(name, metric, value, reference.source) for metric, value in reference.metrics.items()]

    def add_files(self, name: str, files: Sequence[ForeignLists], metrics: Sequence[str]) -> None:
        """Add lists from files, by ascending seed."""
        by_file = []
        numbers = ["file" if file.seed is None else file.seed for file in files]
        for number, file in zip(numbers, files):
            _check_data(file.lists, file.modalities, file.path, self._first_seen)
            by_file.append(by_user(file.lists, file.measured_at, metrics))
            self._runs += [(name, number, *entry) for entry in _measured_of_file(file, metrics)]
        self._add(name, by_file, (False, False, " | ".join(map(str, files)), numbers, True))

    def _add(self, name: str, by_run: Sequence[Mapping[str, np.ndarray]], row: tuple[Any, ...]) -> None:
        frames = [pd.DataFrame(metrics) for metrics in by_run]
        self._users[name], self._models[name] = sum(frames[1:], frames[0]) / len(frames), row

    def frames(self, metric: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """``runs`` and ``models``, the best by a metric first."""
        frame = pd.DataFrame(self._runs, columns=["model", "seed", "part", "metric", "value"])
        frame = frame.astype({"value": float})
        means = frame[(frame["part"] == ALL) & (frame["metric"] == metric)].groupby("model")["value"].mean()
        best = means.reindex([*self._models]).sort_values(ascending=False, kind="stable").index
        columns = ["multimodal", "deterministic", "settings", "seeds", "from_file"]
        models = pd.DataFrame([*self._models.values()], [*self._models], columns).loc[best]
        order = {name: place for place, name in enumerate(best)}
        in_order = frame.sort_values("model", key=lambda one: one.map(order), kind="stable", ignore_index=True)
        return in_order, models

    def compared(self, names: Sequence[str]) -> pd.DataFrame:
        """``comparisons`` of the models, by the metrics of the first."""
        users = {name: self._users[name] for name in names}
        compared = {
            metric: compare(pd.DataFrame({name: own[metric] for name, own in users.items() if metric in own}))
            for metric in next(iter(self._users.values()))
        }
        return pd.concat(compared, names=["metric", "model"])


def _names(results: Sequence[RunResult]) -> list[str]:
    """Distinct names of the configurations: model and preset, and the settings where these are not enough."""
    presets = [result["settings"].get("preset") for result in results]
    short = [result["model"] + (f" ({preset})" if preset else "") for result, preset in zip(results, presets)]
    names = [f"{name} {differing}".rstrip() for name, differing in zip(short, differing_settings(results))]
    counts = [names[: place + 1].count(name) for place, name in enumerate(names)]
    return [name if n == 1 else f"{name} ({n})" for name, n in zip(names, counts)]


def _chosen(result: RunResult, n_tried: int) -> str:
    """Settings of a run other than the defaults, and those that the model chose by itself."""
    chosen = ", ".join(f"{k}={v}" for k, v in row_settings(result["settings"]).items() if k not in _SAID) or "defaults"
    chosen += f" (best of {n_tried} on validation)" if n_tried else ""
    if choices := result.get("choices"):
        of_attention = choices.get("attention", {}), choices.get("trials", 0)
        for part, own, n_looks in (("", choices["settings"], choices["tried"]), (" for the attention", *of_attention)):
            values = ", ".join(f"{name}={text_of(value)}" for name, value in own.items()) or "the defaults"
            chosen += f"; of its own choice{part} {values} (best of {n_looks} on validation)" if n_looks else ""
    return chosen


def measured(lists: TopKLists, result: RunResult) -> Iterator[tuple[str, str, float | None]]:
    """Everything that a run's result and its lists say: part, metric and value."""
    topk, metrics = result["protocol"]["topk"], result["protocol"]["metrics"]
    took: dict[str, float | None] = {
        "best validation": result["best_valid_score"],
        TRAINING: sum(result["seconds"].values()),
        EVALUATION: result["seconds_per_evaluation"],
        **costs_of(result),
        MEMORY: result["peak_memory_bytes"],
        **({GPU_MEMORY: gpu["peak_allocated_bytes"]} if (gpu := result.get("gpu")) else {}),
        PARAMETERS: result["parameters"],
        "epochs": result["epochs_run"],
    }
    parts: dict[str, Mapping[str, float | None]] = {
        ALL: {**(result["test_result"] or {}), **diversity(lists, topk)},
        **by_stratum(lists, topk, metrics),
        RUN: took,
    }
    yield from _entries(parts)


def _measured_of_file(file: ForeignLists, metrics: Sequence[str]) -> Iterator[tuple[str, str, float | None]]:
    """The same of lists from a file."""
    lists, topk = file.lists, file.measured_at
    means = {name: float(values.mean()) for name, values in by_user(lists, topk, metrics).items()}
    return _entries({ALL: {**means, **diversity(lists, topk)}, **by_stratum(lists, topk, metrics, from_file=True)})


def _entries(parts: Mapping[str, Mapping[str, float | None]]) -> Iterator[tuple[str, str, float | None]]:
    for part, values in parts.items():
        yield from ((part, metric, value) for metric, value in values.items())


def _check_data(
    lists: TopKLists, modalities: object, file: Path, first_seen: dict[str, tuple[Path, np.ndarray]]
) -> None:
    """Raise :class:`UserError` unless lists say of the data what those of the other runs say."""
    facts = {name: getattr(lists, name) for name in ("users", "user_degree", "item_degree")}
    facts["held-out pairs"] = np.sort(lists.held_row.astype(np.int64) * len(lists.item_degree) + lists.held_item)
    facts[f"missing\t{modalities}"] = lists.missing  # of the modalities that are read
    for name, array in facts.items():
        other, expected = first_seen.setdefault(name, (file, array))
        if not np.array_equal(array, expected):
            raise UserError(
                f"{file} and {other} differ in what they say of the data "
                f"({name.partition(chr(9))[0]}); one of the two was edited: remove its run and start it again"
            )
