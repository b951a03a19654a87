"""Finished runs on one data set as frames: what the tables and the page of a benchmark are drawn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_cadmr.config.model_yaml import published
from recbole_cadmr.errors import UserError
from recbole_cadmr.formatting import text_of, with_deviation
from recbole_cadmr.reports.foreign_lists import ForeignLists
from recbole_cadmr.reports.measure import by_stratum, diversity
from recbole_cadmr.reports.results_table import (
    COMPARABLE,
    COSTS,
    METRICS,
    check_comparable,
    costs_of,
    grouped,
    row_settings,
)
from recbole_cadmr.reports.significance import compare
from recbole_cadmr.runs.result import Protocol, RunResult, read_result, traits_of
from recbole_cadmr.runs.topk_lists import LISTS, TopKLists, by_user, check_figures, read_lists
from recbole_cadmr.training.contents import Counts

ALL, RUN = "", "run"  # parts of a frame of results that are no stratum: all held-out items, and the run itself
TRAINING, EVALUATION = "training seconds", "seconds of an evaluation"
MEMORY, GPU_MEMORY, PARAMETERS = "peak memory bytes", "peak GPU memory bytes", "parameters"
# Settings that the head of the tables says, or the name of the model.
_SAID = (
    *("benchmark_filename", "modalities", "item_graphs", "data_note", "split_seed", "eval_args", "preset"),
    *("mask_valid_at_test", "metrics", "topk", "valid_metric"),
)


@dataclass
class Results:
    """Finished runs on one data set under one protocol, and lists from files.

    A *model* here is a model with its settings, by a name that no other has, or what made the lists of a file. Of the
    latter nothing is known but the lists: they have no costs, and no results at lengths that they do not reach.

    Attributes:
        protocol: what all runs have in common, as in ``result.json``.
        counts: users, items, and interactions of the three parts.
        models: by name, the best first by the metric that models were chosen by: ``multimodal``, ``deterministic``
            (whether one run stands for all seeds), ``settings`` (what differs from the defaults, or the files, in
            words), ``seeds``, ``from_file``.
        runs: a row a result: ``model``, ``seed``, ``part`` (``ALL``, a stratum, or ``RUN``: what the run took),
            ``metric`` and ``value``; runs of a model by ascending seed.
        validations: ``model``, ``seed``, ``epoch``, ``seconds`` and ``score``, in the order in which they happened.
        comparisons: by ``metric`` and ``model``, each model against the best other: see :func:`compare`.
        published: what was published on the same split: ``model``, ``metric``, ``value`` and ``source``.
        missing: by label, why there is no result (failed, skipped).
        tuned: whether settings were chosen on validation.
        threads: of the runs.
    """

    dataset: str
    protocol: Protocol
    counts: Counts
    models: pd.DataFrame
    runs: pd.DataFrame
    validations: pd.DataFrame
    comparisons: pd.DataFrame
    published: pd.DataFrame
    missing: dict[str, str]
    tuned: bool
    threads: list[int]

    @property
    def ranking_metrics(self) -> list[str]:
        """Names of the ranking metrics, in the order they were asked for."""
        return [f"{name.lower()}@{k}" for name in self.protocol["metrics"] for k in self.protocol["topk"]]

    @property
    def headline(self) -> list[str]:
        """The metrics of the first table: the usual four, or what was measured instead."""
        return [metric for metric in METRICS if metric in self.ranking_metrics] or self.ranking_metrics[:4]

    @property
    def main_metric(self) -> str:
        """The metric that charts show."""
        return "recall@20" if "recall@20" in self.ranking_metrics else self.headline[0]

    @cached_property
    def means(self) -> pd.DataFrame:
        """Means over the runs, of all held-out items: a row a model, a column a metric."""
        return self._over_runs(ALL, "mean")

    @cached_property
    def deviations(self) -> pd.DataFrame:
        """Sample standard deviations over the runs; NaN of one run."""
        return self._over_runs(ALL, "std")

    @cached_property
    def costs(self) -> pd.DataFrame:
        """What the runs of a model took: means of ``TRAINING`` (with construction, without evaluation) and
        ``EVALUATION``, the largest ``MEMORY``, of runs on a GPU also ``GPU_MEMORY``, and ``PARAMETERS``; NaN of lists
        from files. What else runs take (``COSTS``, of the whole run and all its processes) is there if a run has it.
        """
        means, largest = self._over_runs(RUN, "mean"), self._over_runs(RUN, "max")
        others = means[[name for name in COSTS if name in means]]
        memory = largest[[name for name in (MEMORY, GPU_MEMORY) if name in largest]]
        timed, sized = means[[TRAINING, EVALUATION]], memory.join(means[PARAMETERS])
        costs = timed.fillna(0.0).join(others).join(sized.fillna(0.0))
        return costs[~self.models["from_file"]].reindex(costs.index)

    def _over_runs(self, part: str, statistic: str) -> pd.DataFrame:
        of_part = self.runs[self.runs["part"] == part].groupby(["model", "metric"], sort=False)["value"]
        return of_part.agg(statistic).unstack().reindex(self.models.index)

    @cached_property
    def pairs(self) -> dict[str, float]:
        """How many held-out pairs each stratum has."""
        counted = self.runs[self.runs["metric"] == "pairs"]
        return counted.groupby("part", sort=False)["value"].first().to_dict()

    def by_stratum(self, metric: str) -> pd.DataFrame:
        """Means over the runs: a row a model, a column a stratum; NaN where a model cannot score its items."""
        measured = self.runs[(self.runs["metric"] == metric) & self.runs["part"].isin(self.pairs)]
        means = measured.groupby(["model", "part"])["value"].mean().unstack()
        return means.reindex(index=self.models.index, columns=list(self.pairs))

    def value(self, model: str, metric: str, sign: str = " ± ") -> str:
        """Mean, and the standard deviation over seeds if there are several; a dash if it was not measured."""
        if np.isnan(self.means.at[model, metric]):
            return "–"
        return with_deviation(self.means.at[model, metric], self.deviations.at[model, metric], sign)

    def order(self, metric: str) -> list[str]:
        """The models by a metric, the best first, those without it last; of equal ones, the one that is further up in
        the tables."""
        return list(self.means[metric].sort_values(ascending=False, kind="stable").index)

    def comparison(self, model: str, metric: str) -> pd.Series | None:
        """A model against the best other one; None if there is none."""
        key = (metric, model)
        return self.comparisons.loc[key] if key in self.comparisons.index else None

    def pareto_front(self, metric: str) -> list[str]:
        """Models that no other beats in a metric without taking longer, the quickest first."""
        points = pd.DataFrame({"seconds": self.costs[TRAINING], "worth": self.means[metric]}).dropna()
        points = points.sort_values(["seconds", "worth"], ascending=[True, False], kind="stable")
        before = points["worth"].cummax().shift(fill_value=-np.inf)
        return list(points.index[points["worth"] > before])


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
    names = _names([group[0][1] for group in groups])
    validations, references = [], []
    rows_of_models: list[tuple[Any, ...]] = []
    runs: list[tuple[Any, ...]] = []
    users: dict[str, pd.DataFrame] = {}
    first_seen: dict[str, tuple[Path, np.ndarray]] = {}
    for name, group in zip(names, groups):
        by_run = []
        for folder, result in group:
            seed, lists = result["protocol"]["seed"], read_lists(folder / LISTS)
            check_figures(lists, result, folder)
            _check_data(lists, result["settings"].get("modalities"), folder / LISTS, first_seen)
            by_run.append(pd.DataFrame(by_user(lists, result["protocol"]["topk"], result["protocol"]["metrics"])))
            runs += [(name, seed, *entry) for entry in measured(lists, result)]
            validations += [
                (name, seed, entry["epoch"], entry["seconds"], entry["valid_score"])
                for entry in result["history"]
                if entry["valid_score"] is not None
            ]
        users[name] = sum(by_run[1:], by_run[0]) / len(by_run)
        model, counts = result["model"], result["fingerprint"]["counts"]["interactions"]
        chosen = _chosen(result, max((tried or {}).get(folder, 0) for folder, _ in group))
        seeds = [run["protocol"]["seed"] for _, run in group]
        own = traits_of(result)
        rows_of_models.append((own["multimodal"], own["deterministic"], chosen, seeds, False))
        if reference := published(model, result["settings"].get("preset"), result["dataset"], counts):
            references += [(name, metric, value, reference.source) for metric, value in reference.metrics.items()]
    first = results[0][1]
    for own_name, files in (foreign or {}).items():
        names.append(name := f"{own_name} (file)")
        by_run = []
        numbers = ["file" if file.seed is None else file.seed for file in files]
        for number, file in zip(numbers, files):
            _check_data(file.lists, file.modalities, file.path, first_seen)
            by_run.append(pd.DataFrame(by_user(file.lists, file.measured_at, first["protocol"]["metrics"])))
            runs += [(name, number, *entry) for entry in _measured_of_file(file, first["protocol"]["metrics"])]
        users[name] = sum(by_run[1:], by_run[0]) / len(by_run)
        rows_of_models.append((False, False, " | ".join(map(str, files)), numbers, True))
    frame = pd.DataFrame(runs, columns=["model", "seed", "part", "metric", "value"]).astype({"value": float})
    valid_metric = first["protocol"]["valid_metric"].lower()
    chosen_by = frame[(frame["part"] == ALL) & (frame["metric"] == valid_metric)].groupby("model")["value"].mean()
    chosen_by = chosen_by.reindex(names).sort_values(ascending=False, kind="stable")
    columns = ["multimodal", "deterministic", "settings", "seeds", "from_file"]
    models = pd.DataFrame(rows_of_models, names, columns).loc[chosen_by.index]
    order = {name: place for place, name in enumerate(models.index)}
    compared = {
        metric: compare(pd.DataFrame({name: users[name][metric] for name in order if metric in users[name]}))
        for metric in next(iter(users.values()))
    }
    return Results(
        first["dataset"],
        first["protocol"],
        first["fingerprint"]["counts"],
        models,
        frame.sort_values("model", key=lambda column: column.map(order), kind="stable", ignore_index=True),
        pd.DataFrame(validations, columns=["model", "seed", "epoch", "seconds", "score"]),
        pd.concat(compared, names=["metric", "model"]),
        pd.DataFrame(references, columns=["model", "metric", "value", "source"]),
        dict(missing or {}),
        any((tried or {}).get(folder) for folder in folders),
        sorted({result["protocol"]["threads"] for _, result in results}),
    )


def _names(results: Sequence[RunResult]) -> list[str]:
    """Distinct names of the configurations: model and preset, and the settings where these are not enough."""
    settings = [row_settings(result["settings"]) for result in results]
    presets = [own.pop("preset", None) for own in settings]
    short = [result["model"] + (f" ({preset})" if preset else "") for result, preset in zip(results, presets)]
    names = []
    for name, own in zip(short, settings):
        twins = [other for other_name, other in zip(short, settings) if other_name == name]
        differing = [f"{k}={v}" for k, v in own.items() if any(twin.get(k) != v for twin in twins)]
        names.append(f"{name} {', '.join(differing)}" if differing else name)
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
