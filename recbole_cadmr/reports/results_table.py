"""Finished runs side by side, from their ``result.json``, which what lies beside it must not contradict."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_cadmr.errors import UserError
from recbole_cadmr.formatting import markdown_table, plain, with_deviation
from recbole_cadmr.runs.result import RunResult, check_model, read_result
from recbole_cadmr.runs.topk_lists import LISTS, check_figures, read_lists
from recbole_cadmr.training.checkpoint import BEST

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
# Settings in which the runs of one row may differ.
_OF_A_RUN = ("seed", "split_seed", "evaluate_test", "save_lists", "show_progress", "resume_step", "resume_seconds")
_OF_THE_MACHINE = ("threads", "use_gpu", "gpu_id", "state", "checkpoint_dir", "eval_batch_size")
# What must agree for two results to stand in one table; seeds and threads may differ.
COMPARABLE = ("split", "order", "group_by", "candidates", "mask_valid_at_test", "data_note")


def results_table(folders: Sequence[str | os.PathLike[str]], metrics: Sequence[str] = METRICS) -> str:
    """Test metrics of runs on one data set under one protocol, as a markdown table.

    Runs that differ in their seed alone are one row: mean and sample standard deviation over the seeds.

    Raises:
        UserError: if a folder holds no finished run, a metric was not measured, or runs cannot be compared.
    """
    results = [read_result(Path(folder)) for folder in folders]
    check_comparable(list(zip(map(Path, folders), results)))
    rows: dict[str, list[RunResult]] = {}
    for folder, result in zip(map(Path, folders), results):
        if not set(metrics) <= (result["test_result"] or {}).keys():
            raise UserError(f"{folder} has no test result of {', '.join(metrics)}")
        if (folder / LISTS).is_file():
            check_figures(read_lists(folder / LISTS), result, folder)
        if (folder / BEST).is_file():  # a search keeps that of its best trial alone
            check_model(folder, result)
        rows.setdefault(json.dumps([result["model"], configuration(result)], sort_keys=True), []).append(result)
    head = [plain(results[0]["dataset"]), "preset", "seeds", *metrics, "training", "one evaluation"]
    return markdown_table(pd.DataFrame([_row(runs, metrics) for runs in rows.values()], columns=head))


def _row(runs: Sequence[RunResult], metrics: Sequence[str]) -> list[str]:
    check_seeds(runs)
    values = pd.DataFrame([run["test_result"] for run in runs])
    means = [with_deviation(values[metric].mean(), values[metric].std()) for metric in metrics]
    training = np.mean([sum(run["seconds"].values()) for run in runs])
    evaluations = [seconds for run in runs if (seconds := run["seconds_per_evaluation"]) is not None]
    evaluation = f"{np.mean(evaluations):.1f} s" if evaluations else "not measured"
    preset = plain(runs[0]["settings"].get("preset") or "")
    return [runs[0]["model"], preset, str(len(runs)), *means, f"{training:.0f} s", evaluation]


def check_comparable(results: Sequence[tuple[Path, RunResult]], names: Sequence[str] = COMPARABLE) -> None:
    """Raise :class:`UserError` unless all are test results on the same interactions under one protocol (``names``)."""
    (first_folder, first), *_ = results
    for folder, result in results:
        marks, first_marks = result["fingerprint"], first["fingerprint"]  # features are a model's own affair
        if (marks["id_maps"], marks["interactions"]) != (first_marks["id_maps"], first_marks["interactions"]):
            raise UserError(f"{folder} was measured on other data than {first_folder}")
        own: Mapping[str, Any] = result["protocol"]
        wanted: Mapping[str, Any] = first["protocol"]
        for name in names:
            if own[name] != wanted[name]:
                raise UserError(
                    f"{folder} was measured under another protocol than {first_folder}: {name} is "
                    f"{own[name]}, not {wanted[name]}"
                )
        if not result["test_result"]:
            raise UserError(f"{folder} has no test result; read it with: evaluate --run {folder}")


def check_seeds(runs: Sequence[RunResult]) -> None:
    """Raise :class:`UserError` if two runs of one configuration have the same seed."""
    if len({run["protocol"]["seed"] for run in runs}) < len(runs):
        raise UserError(f"two of the runs of {runs[0]['model']} have the same settings and seed; give one of them")


def configuration(result: RunResult) -> dict[str, Any]:
    """The settings of a result in which the runs of one row agree."""
    return row_settings(result["settings"])


def row_settings(changed: Mapping[str, Any]) -> dict[str, Any]:
    """The changed settings of a run in which the runs of one row agree."""
    return {name: value for name, value in changed.items() if name not in _OF_A_RUN + _OF_THE_MACHINE}
