"""Finished runs as rows of a table: what the tables and the report are drawn from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recbole_cadmr.errors import UserError
from recbole_cadmr.models.contract import traits
from recbole_cadmr.reports.measure import by_stratum, diversity
from recbole_cadmr.reports.results_table import check_comparable, check_seeds, configuration
from recbole_cadmr.reports.significance import Comparison, compare
from recbole_cadmr.runs.result import Protocol, RunResult, read_result
from recbole_cadmr.runs.topk_lists import LISTS, RANKING, TopKLists, by_user, check_figures, read_lists
from recbole_cadmr.training.contents import Counts


@dataclass
class Row:
    """A model with its settings on a data set, over its seeds.

    Attributes:
        name: the model, with its preset and with settings where these tell two rows apart.
        settings: what differs from the defaults, but for seed and machine.
        metrics: by name (``recall@20``, ``itemcoverage@20``), one value a run, in the order of ``results``.
        users: by ranking metric, float64 [T], a mean over the runs.
        strata: by stratum and metric, one value a run; ``users`` and ``pairs`` count what it is measured on.
        results: the content of each run's ``result.json``, by ascending seed.
        deterministic: whether one run stands for all seeds.
        tried: how many settings it was chosen from on validation; 0 if it was not.
    """

    name: str
    settings: dict[str, Any]
    results: list[RunResult]
    metrics: dict[str, list[float]] = field(default_factory=dict)
    users: dict[str, np.ndarray] = field(default_factory=dict)
    strata: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    deterministic: bool = False
    tried: int = 0

    @property
    def seeds(self) -> list[int]:
        """Seeds of the runs."""
        return [result["protocol"]["seed"] for result in self.results]

    def mean(self, metric: str) -> float:
        """Mean over the runs."""
        return float(np.mean(self.metrics[metric]))

    def deviation(self, metric: str) -> float | None:
        """Sample standard deviation over the runs; None of one run."""
        values = self.metrics[metric]
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    @property
    def training_seconds(self) -> float:
        """Seconds of training, construction and fit included, without evaluation; a mean over the runs."""
        return float(np.mean([sum(result["seconds"].values()) for result in self.results]))

    @property
    def evaluation_seconds(self) -> float:
        """Seconds of one evaluation."""
        return float(np.mean([result["seconds_per_evaluation"] or 0.0 for result in self.results]))

    @property
    def peak_memory(self) -> float:
        """Largest resident size of the process in bytes, the largest over the runs."""
        return float(max(result["peak_memory_bytes"] for result in self.results))

    @property
    def parameters(self) -> int:
        """Trained numbers."""
        return int(self.results[0]["parameters"])


@dataclass
class DatasetTable:
    """All rows of one data set, best first by the metric that models were chosen by.

    Attributes:
        protocol: what all rows have in common, as in ``result.json``.
        counts: users, items, and interactions of the three parts.
        comparisons: by ranking metric and row, each row against the best other.
        missing: by label, what is said in place of a row that has no result (failed, skipped).
    """

    dataset: str
    protocol: Protocol
    counts: Counts
    rows: list[Row]
    comparisons: dict[str, dict[str, Comparison]]
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def ranking_metrics(self) -> list[str]:
        """Names of the ranking metrics, in the order they were asked for."""
        names = [name.lower() for name in self.protocol["metrics"]]
        return [f"{name}@{k}" for name in names for k in self.protocol["topk"]]

    def places(self, metric: str) -> list[str]:
        """Names of the rows by a ranking metric, best first."""
        return [row.name for row in sorted(self.rows, key=lambda row: -row.mean(metric))]


def summarise(
    folders: Sequence[Path],
    missing: Mapping[str, str] | None = None,
    tried: Mapping[Path, int] | None = None,
    model_specs: Mapping[Path, str] | None = None,
) -> DatasetTable:
    """The table of finished runs on one data set, each with its lists.

    Args:
        missing: by label, why there is no result.
        tried: by folder, how many settings were tried on validation before it.
        contenders: by folder, what makes runs one row; others join the row of the same model and changed settings.

    Raises:
        UserError: if a run is not finished, has no lists or no test figures, or was measured on other data or under
            another protocol than the first.
    """
    results = [(folder, read_result(folder)) for folder in folders]
    check_comparable(results)
    wanted: Mapping[str, Any] = results[0][1]["protocol"]
    for name in ("metrics", "topk", "valid_metric"):
        for folder, result in results:
            own: Mapping[str, Any] = result["protocol"]
            if own[name] != wanted[name]:
                raise UserError(f"{folder} was measured by other {name} than {results[0][0]}")
    if unknown := [
        name for name in results[0][1]["protocol"]["metrics"] if name.lower() not in map(str.lower, RANKING)
    ]:
        raise UserError(f"{folders[0]} measures {', '.join(unknown)}, which does not follow from recommendation lists")
    groups: dict[str, list[tuple[Path, RunResult]]] = {}
    of_configuration: dict[str, str] = {}
    for folder, result in results:
        text = json.dumps([result["model"], configuration(result)], sort_keys=True)
        key = model_specs[folder] if model_specs and folder in model_specs else of_configuration.get(text, text)
        of_configuration.setdefault(text, key)
        groups.setdefault(key, []).append((folder, result))
    names = _names([group[0][1] for group in groups.values()])
    facts: dict[str, tuple[Path, np.ndarray]] = {}
    rows = [_row(name, group, facts) for name, group in zip(names, groups.values())]
    for row, group in zip(rows, groups.values()):
        row.tried = max((tried or {}).get(folder, 0) for folder, _ in group)
    first = results[0][1]
    table = DatasetTable(
        first["dataset"], first["protocol"], first["fingerprint"]["counts"], rows, {}, dict(missing or {})
    )
    valid_metric = first["protocol"]["valid_metric"].lower()
    table.rows.sort(key=lambda row: -row.mean(valid_metric))
    table.comparisons = {
        metric: compare({row.name: row.users[metric] for row in rows if metric in row.users})
        for metric in table.ranking_metrics
    }
    return table


def _check_facts(lists: TopKLists, result: RunResult, folder: Path, facts: dict[str, tuple[Path, np.ndarray]]) -> None:
    """Raise :class:`UserError` unless lists say of the data what those of the other runs say."""
    said = {name: getattr(lists, name) for name in ("users", "user_degree", "item_degree")}
    said["held-out pairs"] = np.sort(lists.held_row.astype(np.int64) * len(lists.item_degree) + lists.held_item)
    said[f"missing\t{result['settings'].get('modalities')}"] = lists.missing  # of the modalities that are read
    for name, array in said.items():
        other, known = facts.setdefault(name, (folder, array))
        if not np.array_equal(array, known):
            raise UserError(
                f"{folder / LISTS} and {other / LISTS} differ in what they say of the data "
                f"({name.partition(chr(9))[0]}); one of the two was edited: remove its run and start it again"
            )


def _row(name: str, group: list[tuple[Path, RunResult]], facts: dict[str, tuple[Path, np.ndarray]]) -> Row:
    group = sorted(group, key=lambda entry: entry[1]["protocol"]["seed"])
    results = [result for _, result in group]
    check_seeds(results)
    model, topk = results[0]["model"], results[0]["protocol"]["topk"]
    row = Row(name, configuration(results[0]), results, deterministic=traits(model).deterministic)
    users: dict[str, list[np.ndarray]] = {}
    for folder, result in group:
        lists = read_lists(folder / LISTS)
        check_figures(lists, result, folder)
        _check_facts(lists, result, folder, facts)
        ranking = by_user(lists, topk, result["protocol"]["metrics"])
        for metric, values in ranking.items():
            users.setdefault(metric, []).append(values)
        for metric, value in {**(result["test_result"] or {}), **diversity(lists, topk)}.items():
            row.metrics.setdefault(metric, []).append(value)
        for stratum, figures in by_stratum(lists, topk, result["protocol"]["metrics"]).items():
            for metric, value in figures.items():
                row.strata.setdefault(stratum, {}).setdefault(metric, []).append(value)
    row.users = {metric: np.mean(values, 0) for metric, values in users.items()}
    return row


def _names(results: list[RunResult]) -> list[str]:
    """Names of the configurations: model and preset, and the settings where these are not enough."""
    short = [
        result["model"] + (f" ({preset})" if (preset := configuration(result).get("preset")) else "")
        for result in results
    ]
    settings = [{k: v for k, v in configuration(result).items() if k != "preset"} for result in results]
    names = []
    for name, own in zip(short, settings):
        twins = [other for other_name, other in zip(short, settings) if other_name == name]
        differing = [k for k, v in own.items() if any(twin.get(k) != v for twin in twins)]
        names.append(
            f"{name} {', '.join(f'{k}={own[k]}' for k in differing)}" if len(twins) > 1 and differing else name
        )
    return names
