"""Finished runs side by side, from their ``result.json`` alone."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_cadmr.errors import UserError
from recbole_cadmr.workflows.results import SCHEMA_VERSION
from recbole_cadmr.workflows.run_folder import RESULT

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
# What must agree for two results to stand in one table; seeds and threads may differ.
_COMPARABLE = ("split", "order", "group_by", "candidates", "mask_valid_at_test", "data_note")


def results_table(folders: Sequence[str | os.PathLike[str]], metrics: Sequence[str] = METRICS) -> str:
    """Test metrics of runs on one data set under one protocol, as a markdown table.

    Raises:
        UserError: if a folder holds no finished run, a metric was not measured, or runs cannot be compared.
    """
    results = [_read(Path(folder)) for folder in folders]
    first = results[0]
    lines = [
        f"| {first['dataset']} | preset | {' | '.join(metrics)} | training | one evaluation |",
        "|---" * (len(metrics) + 4) + "|",
    ]
    for folder, result in zip(folders, results):
        if result["fingerprint"]["sha256"] != first["fingerprint"]["sha256"]:
            raise UserError(f"{folder} was measured on other data than {folders[0]}")
        for name in _COMPARABLE:
            if result["protocol"][name] != first["protocol"][name]:
                raise UserError(f"{folder} was measured under another protocol than {folders[0]}: {name} differs")
        if not result["test_result"] or not set(metrics) <= result["test_result"].keys():
            raise UserError(f"{folder} has no test result of {', '.join(metrics)}")
        figures = " | ".join(f"{result['test_result'][metric]:.4f}" for metric in metrics)
        seconds = f"{sum(result['seconds'].values()):.0f} s | {result['seconds_per_evaluation']:.1f} s"
        lines.append(f"| {result['model']} | {result['settings'].get('preset') or ''} | {figures} | {seconds} |")
    return "\n".join(lines)


def _read(folder: Path) -> dict[str, Any]:
    try:
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{folder} holds no {RESULT}; its run is not finished") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / RESULT} cannot be read: {error}") from error
    if not isinstance(result, dict) or result.get("schema_version") != SCHEMA_VERSION:
        raise UserError(f"{folder / RESULT} is not a result of schema version {SCHEMA_VERSION}")
    return result
