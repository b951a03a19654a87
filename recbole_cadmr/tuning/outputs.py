"""What a search leaves: ``best.yaml``, ``trials.csv``, and its last words."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from recbole_cadmr.files import write_aside
from recbole_cadmr.runs.result import metric_table
from recbole_cadmr.tuning.plan import Plan
from recbole_cadmr.tuning.samplers import equal_as_json
from recbole_cadmr.tuning.trial_record import STOPPED, TrialRecord

BEST_SETTINGS, TABLE, REPORT = "best.yaml", "trials.csv", "report.html"


def best_settings(plan: Plan, record: TrialRecord) -> dict[str, Any]:
    """Every setting that the run of a trial depends on; those that changed on its way as a schedule."""
    preset = {"preset": plan.preset} if plan.preset else {}
    schedule = {epoch: values for epoch, values in record.changes if epoch < record.epochs}
    return {
        "model": plan.model,
        "dataset": plan.dataset,
        **preset,
        **plan.settings,
        **record.point,
        **({"settings_schedule": schedule} if schedule else {}),
    }


def write_best(plan: Plan, record: TrialRecord, path: Path) -> None:
    """Write ``best.yaml``: as a settings file it makes a run with the trial's best validation score."""
    best = record.best(plan.bigger)
    assert best is not None
    score = f"{plan.metric} {best['valid_score']!r} in epoch {best['epoch']}"
    head = (
        f"# Trial {record.number} of {plan.trials}, the best on validation: {score}.\n"
        f"# Run it again: python run_recbole_cadmr.py --config_files={shlex.quote(str(path))}\n"
    )
    with write_aside(path) as temporary:
        temporary.write_text(head + yaml.safe_dump(best_settings(plan, record), sort_keys=False), encoding="utf-8")


def write_table(plan: Plan, records: Sequence[TrialRecord], path: Path) -> None:
    """Write ``trials.csv``: a row a trial, unrounded, with all metrics of its best validation."""
    names = list(plan.space)
    metrics = list(
        dict.fromkeys(name for record in records for report in record.reports for name in report["valid_result"])
    )
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["trial", "status", *names, "best_valid_score", "best_epoch", "epochs_run", "seconds",
                     "peak_memory_bytes", "deaths", "repeats", "changes", "failure", *metrics])  # fmt: skip
    for record in records:
        best = record.best(plan.bigger)
        values = record.values_at(best["epoch"] if best else 0)
        writer.writerow(
            [
                record.number,
                record.status,
                *(_text(values[name]) for name in names),
                best["valid_score"] if best else None,
                best["epoch"] if best else None,
                record.epochs,
                record.seconds,
                record.peak_memory_bytes or None,
                record.deaths,
                record.repeats,
                json.dumps(record.changes) if record.changes else None,
                record.failure,
                *(best["valid_result"].get(name) if best else None for name in metrics),
            ]
        )
    with write_aside(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")


def _text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (list, dict)) else value


def summary(
    plan: Plan, records: Sequence[TrialRecord], winner: TrialRecord, test: Mapping[str, float] | None, folder: Path
) -> str:
    """What a person reads at the end of a search."""
    best = winner.best(plan.bigger)
    assert best is not None
    values = " ".join(f"{name}={value}" for name, value in winner.values_at(best["epoch"]).items())
    lines = [f"\nbest on validation: trial {winner.number}, {plan.metric} {best['valid_score']:.4f}", f"  {values}"]
    lines += [f"  from epoch {epoch} on: {changed}" for epoch, changed in winner.changes]
    defaults = next(
        (record for record in records if record.number == 1 and equal_as_json(record.point, plan.defaults)), None
    )
    top = defaults.best(plan.bigger) if defaults is not None else None
    if defaults is not None and top is not None:
        stopped = f", stopped after {defaults.epochs} epochs" if defaults.status == STOPPED else ""
        lines.append(f"the defaults (trial 1{stopped}): {top['valid_score']:.4f}")
    epochs = sum(record.epochs for record in records if record.repeats is None)
    lines.append(
        f"epochs trained: {epochs:,} of at most {plan.max_epochs * sum(record.repeats is None for record in records):,}"
    )
    if test is not None:
        lines.append("\n" + metric_table({"test, read once, of the best trial": test}))
    names = (BEST_SETTINGS, TABLE, REPORT)
    lines.append("\nfiles: " + ", ".join(str(folder / name) for name in names))
    lines.append(f"again: python run_recbole_cadmr.py --config_files={shlex.quote(str(folder / BEST_SETTINGS))}")
    return "\n".join(lines)
