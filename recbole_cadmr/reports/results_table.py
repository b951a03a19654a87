"""Finished runs side by side, from their ``result.json``, which what lies beside it must not contradict."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_cadmr.config.rules import OF_RUN
from recbole_cadmr.errors import UserError
from recbole_cadmr.formatting import kilograms, kilowatt_hours, markdown_table, plain, seconds, with_deviation
from recbole_cadmr.runs.result import RunResult, check_model, read_result
from recbole_cadmr.runs.topk_lists import LISTS, check_figures, read_lists
from recbole_cadmr.training.checkpoint import BEST

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
CPU, ENERGY, CO2 = "CPU seconds", "energy kWh", "kg CO2"
# What runs take beside time and memory: the head of its column, and how it is written.
COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    CPU: ("CPU time", seconds),
    ENERGY: ("energy", kilowatt_hours),
    CO2: ("CO2", kilograms),
}
# What must agree for two results to stand in one table; seeds and threads may differ.
COMPARABLE = ("split", "order", "group_by", "candidates", "mask_valid_at_test", "data_note")


def results_table(folders: Sequence[str | os.PathLike[str]], metrics: Sequence[str] = METRICS) -> str:
    """Test metrics of runs on one data set under one protocol, as a markdown table.

    Runs that differ in their seed alone are one row: mean and sample standard deviation over the seeds.

    Raises:
        UserError: if a folder holds no finished run, a metric was not measured, or runs cannot be compared.
    """
    results = [(folder, read_result(folder)) for folder in map(Path, folders)]
    check_comparable(results)
    for folder, result in results:
        if not set(metrics) <= (result["test_result"] or {}).keys():
            raise UserError(f"{folder} has no test result of {', '.join(metrics)}")
        if (folder / LISTS).is_file():
            check_figures(read_lists(folder / LISTS), result, folder)
        if (folder / BEST).is_file():  # a search keeps that of its best trial alone
            check_model(folder, result)
    head = [plain(results[0][1]["dataset"]), "preset", "seeds", *metrics, "training", "one evaluation"]
    groups = [[result for _, result in group] for group in grouped(results)]
    costs = [pd.DataFrame([costs_of(run) for run in runs]).mean() for runs in groups]
    shown = [(name, form) for name, form in COSTS.items() if any(name in cost for cost in costs)]
    differing = differing_settings([runs[0] for runs in groups])
    rows = [
        [*_row(runs, own, metrics), *(form(cost[name]) if name in cost else "–" for name, (_, form) in shown)]
        for runs, own, cost in zip(groups, differing, costs)
    ]
    return markdown_table(pd.DataFrame(rows, columns=[*head, *(name for _, (name, _) in shown)]))


def costs_of(run: RunResult) -> dict[str, float]:
    """What a run took of ``COSTS``, as far as it is known."""
    cpu, energy = run.get("cpu_seconds"), run.get("energy")
    kg = None if energy is None else energy["kg_co2"]
    return {
        **({} if cpu is None else {CPU: cpu["process"] + cpu["children"]}),
        **({} if energy is None else {ENERGY: energy["kwh"]}),
        **({} if kg is None else {CO2: kg}),
    }


def _row(runs: Sequence[RunResult], differing: str, metrics: Sequence[str]) -> list[str]:
    values = pd.DataFrame([run["test_result"] for run in runs])
    means = [with_deviation(values[metric].mean(), values[metric].std()) for metric in metrics]
    training = np.mean([sum(run["seconds"].values()) for run in runs])
    evaluations = [seconds for run in runs if (seconds := run["seconds_per_evaluation"]) is not None]
    evaluation = f"{np.mean(evaluations):.1f} s" if evaluations else "not measured"
    preset = plain(runs[0]["settings"].get("preset") or "")
    model = plain(f"{runs[0]['model']} {differing}".rstrip())
    return [model, preset, str(len(runs)), *means, f"{training:.0f} s", evaluation]


def check_comparable(results: Sequence[tuple[Path, RunResult]], names: Sequence[str] = COMPARABLE) -> None:
    """Raise :class:`UserError` unless all are test results on the same interactions under one protocol (``names``)."""
    (first_folder, first), *_ = results
    for folder, result in results:
        marks, first_marks = result["fingerprint"], first["fingerprint"]  # features are a model's own affair
        if (marks["id_maps"], marks["interactions"]) != (first_marks["id_maps"], first_marks["interactions"]):
            raise UserError(f"{folder} was measured on other data than {first_folder}")
        if difference := first_difference(result["protocol"], first["protocol"], names):
            raise UserError(f"{folder} was measured under another protocol than {first_folder}: {difference}")
        if not result["test_result"]:
            raise UserError(f"{folder} has no test result; read it with: evaluate --run {folder}")


def first_difference(own: Mapping[str, Any], wanted: Mapping[str, Any], names: Sequence[str] = ()) -> str | None:
    """The first thing in which a protocol is not the one that is wanted; None if there is none."""
    differing = (name for name in names or wanted if own.get(name) != wanted[name])
    return next((f"{name} is {own.get(name)}, not {wanted[name]}" for name in differing), None)


def grouped(
    results: Sequence[tuple[Path, RunResult]], model_specs: Mapping[Path, str] | None = None
) -> list[list[tuple[Path, RunResult]]]:
    """Runs of the same model and settings together, by ascending seed.

    Args:
        model_specs: by folder, what makes runs one model; others join the one of the same model and changed settings.

    Raises:
        UserError: if two runs of a group have the same seed.
    """
    groups: dict[str, list[tuple[Path, RunResult]]] = {}
    keys: dict[str, str] = {}
    for folder, result in results:
        source = result.get("own_model", {}).get("sha256")
        text = json.dumps([result["model"], source, row_settings(result["settings"])], sort_keys=True)
        key = (model_specs or {}).get(folder, keys.get(text, text))
        keys.setdefault(text, key)
        groups.setdefault(key, []).append((folder, result))
    for group in groups.values():
        group.sort(key=lambda entry: entry[1]["protocol"]["seed"])
        if any(one["protocol"]["seed"] == other["protocol"]["seed"] for (_, one), (_, other) in pairwise(group)):
            raise UserError(
                f"two of the runs of {group[0][1]['model']} have the same settings and seed; give one of them"
            )
    return list(groups.values())


def differing_settings(results: Sequence[RunResult]) -> list[str]:
    """In what each result differs from others of the same model and preset: ``name=value, ...``, or nothing."""
    settings = [row_settings(result["settings"]) for result in results]
    kinds = [(result["model"], own.pop("preset", None)) for result, own in zip(results, settings)]
    differing = []
    for kind, own in zip(kinds, settings):
        twins = [other for other_kind, other in zip(kinds, settings) if other_kind == kind]
        differing.append(", ".join(f"{k}={v}" for k, v in own.items() if any(twin.get(k) != v for twin in twins)))
    return differing


def row_settings(changed: Mapping[str, Any]) -> dict[str, Any]:
    """The changed settings of a run in which the runs of one row agree."""
    return {name: value for name, value in changed.items() if name not in OF_RUN}
