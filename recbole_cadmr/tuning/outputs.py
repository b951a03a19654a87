"""What a search leaves: ``best.yaml``, ``trials.csv``, and what it prints at its end."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from recbole_cadmr.files import write_aside, write_text
from recbole_cadmr.formatting import kilograms, kilowatt_hours, listed, seconds
from recbole_cadmr.models.own import again
from recbole_cadmr.runs.result import metric_table
from recbole_cadmr.tuning.plan import Plan
from recbole_cadmr.tuning.samplers import equal_as_json
from recbole_cadmr.tuning.trial_record import TrialRecord

BEST_SETTINGS, TABLE, REPORT = "best.yaml", "trials.csv", "report.html"
_MEASURES = ["best_valid_score", "best_epoch", "epochs_run", "seconds", "cpu_seconds", "peak_memory_bytes"]
_ENERGIES = {"kwh": "energy_kwh", "kg_co2": "kg_co2"}
_EVENTS = ["deaths", "repeats", "changes", "failure"]


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
        f"# Run it again: {_again(plan, path)}\n"
    )
    write_text(path, head + yaml.safe_dump(best_settings(plan, record), sort_keys=False))


def _again(plan: Plan, path: Path) -> str:
    own = again("--model", [plan.model])  # which no settings file imports
    return f"python run_recbole_cadmr.py --config_files={shlex.quote(str(path))}{own}"


def trials_frame(plan: Plan, records: Sequence[TrialRecord]) -> pd.DataFrame:
    """A row a trial, with the settings and all metrics of its best validation."""
    measured: list[Mapping[str, Any]] = [record.energy for record in records if record.energy is not None]
    energies = [name for name in _ENERGIES if any(energy[name] is not None for energy in measured)]
    metrics = dict.fromkeys(name for record in records for report in record.reports for name in report["valid_result"])
    rows = []
    for record in records:
        best = record.best(plan.bigger)
        values = record.values_at(best["epoch"] if best else 0)
        top = (best["valid_score"], best["epoch"]) if best else (None, None)
        measures = (*top, record.epochs, record.seconds, record.cpu_seconds or None, record.peak_memory_bytes or None)
        used: Mapping[str, Any] = record.energy or {}
        measures += tuple(used.get(name) for name in energies)
        events = (record.deaths, record.repeats, record.changes or None, record.failure)
        settings, scores = (values[name] for name in plan.space), best["valid_result"] if best else {}
        rows.append((record.number, record.status, *settings, *measures, *events, *map(scores.get, metrics)))
    columns = ["trial", "status", *plan.space, *_MEASURES, *map(_ENERGIES.get, energies), *_EVENTS, *metrics]
    return pd.DataFrame(rows, columns=columns, dtype=object)


def validations_frame(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """A row a validation, in the order in which they happened."""
    rows = [
        (record.number, report["epoch"], report["phase"], report["valid_score"])
        for record in records
        for report in record.reports
    ]
    return pd.DataFrame(rows, columns=["trial", "epoch", "phase", "score"])


def write_table(trials: pd.DataFrame, path: Path) -> None:
    """Write ``trials.csv``, unrounded; lists and mappings as JSON."""
    rows = [[json.dumps(v) if isinstance(v, (list, dict)) else v for v in row] for row in trials.to_numpy()]
    plain = pd.DataFrame(rows, columns=trials.columns, dtype=object)
    with write_aside(path) as temporary:
        plain.to_csv(temporary, index=False, lineterminator="\r\n")


def _cost(trained: Sequence[TrialRecord]) -> str:
    """What the trials took together, in words."""
    parts = [f"{seconds(sum(record.cpu_seconds for record in trained))} of processors"]
    energies = [record.energy for record in trained if record.energy is not None]
    if energies:
        parts.append(kilowatt_hours(sum(energy["kwh"] for energy in energies)))
        known = [kg for energy in energies if (kg := energy["kg_co2"]) is not None]
        parts += [f"{kilograms(sum(known))} of CO2"] if known else []
    return ", ".join(parts)


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
        stopped = f", stopped after {defaults.epochs} epochs" if defaults.status == "stopped" else ""
        lines.append(f"the defaults (trial 1{stopped}): {top['valid_score']:.4f}")
    trained = [record for record in records if record.repeats is None]
    epochs = sum(record.epochs for record in trained)
    lines.append(f"epochs trained: {epochs:,} of at most {plan.max_epochs * len(trained):,}; {_cost(trained)}")
    if test is not None:
        lines.append("\n" + metric_table({"test, read once, of the best trial": test}))
    lines.append("\n" + listed(folder / name for name in (BEST_SETTINGS, TABLE, REPORT)))
    lines.append(f"again: {_again(plan, folder / BEST_SETTINGS)}")
    return "\n".join(lines)
