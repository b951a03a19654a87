"""What is known of a trial, as plain files: ``trial.json`` and ``reports.jsonl``, a line a validation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import write_aside
from recbole_cadmr.workflows.results import write_json

TRIALS, TRIAL, REPORTS, RUN, SNAPSHOTS = "trials", "trial.json", "reports.jsonl", "run", "snapshots"
# How a trial stands. `stopped`: by the scheduler; `failed` says why in `failure`.
WAITING, RUNNING, FINISHED, STOPPED, FAILED = "waiting", "running", "finished", "stopped", "failed"
STATES = (WAITING, RUNNING, FINISHED, STOPPED, FAILED)
OVER = (FINISHED, STOPPED, FAILED)


@dataclass
class Record:
    """One trial.

    Attributes:
        number: from 1 on; 1 are the defaults.
        point: the values of the settings that are searched. The training of a trial may change them on its way.
        changes: ``[epoch, values]``: from which epoch on which values were other than before (PBT).
        reports: every validation, as in ``history`` of ``result.json``.
        failure: why there is no result; deaths that a trial came back from are counted in ``deaths``.
        repeats: number of the trial with the same settings whose reports these are; it was not trained again.
        seconds: training and evaluation; ``peak_memory_bytes`` of the process.
    """

    number: int
    point: dict[str, Any]
    status: str = WAITING
    changes: list[list[Any]] = field(default_factory=list)
    failure: str | None = None
    deaths: int = 0
    repeats: int | None = None
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    reports: list[dict[str, Any]] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.status in OVER

    @property
    def epochs(self) -> int:
        """Epochs trained, over all phases."""
        return max((report["epoch"] + 1 for report in self.reports), default=0)

    def best(self, bigger: bool = True) -> dict[str, Any] | None:
        """The validation with the best score, the last of equals as in training; None if there was none."""
        scored = [report for report in self.reports if math.isfinite(report["valid_score"])]
        sign = 1 if bigger else -1
        return max(reversed(scored), key=lambda report: sign * report["valid_score"], default=None)

    def values_at(self, epoch: int) -> dict[str, Any]:
        """The values of the settings that an epoch was trained with."""
        values = dict(self.point)
        for start, changed in self.changes:
            if start <= epoch:
                values.update(changed)
        return values


def folder_of(root: Path, number: int) -> Path:
    """The folder of a trial."""
    return root / TRIALS / f"{number:04d}"


def write_record(root: Path, record: Record) -> None:
    """Write ``trial.json``; the reports have a file of their own."""
    content = asdict(record)
    del content["reports"]
    write_json(folder_of(root, record.number) / TRIAL, content)


def append_reports(root: Path, number: int, reports: Sequence[Mapping[str, Any]]) -> None:
    """Add lines to ``reports.jsonl``."""
    path = folder_of(root, number) / REPORTS
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(report) + "\n" for report in reports)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def rewrite_reports(root: Path, record: Record) -> None:
    """Write ``reports.jsonl`` anew."""
    with write_aside(folder_of(root, record.number) / REPORTS) as temporary:
        temporary.write_text("".join(json.dumps(report) + "\n" for report in record.reports), encoding="utf-8")


def read_records(root: Path) -> list[Record]:
    """The trials of a search by number.

    Raises:
        UserError: if a file is damaged. (The last line of the reports may be cut: a kill does that.)
    """
    records = []
    for path in sorted((root / TRIALS).glob(f"*/{TRIAL}")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            record = Record(**content, reports=_read_reports(path.with_name(REPORTS)))
            _check(record, path)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{path} cannot be read: {error}; remove the folder of this trial to run it again"
            ) from error
        records.append(record)
    return records


def _check(record: Record, path: Path) -> None:
    """Raise ValueError unless a record is one that was written here."""
    if record.number != int(path.parent.name) or record.status not in STATES or not isinstance(record.point, dict):
        raise ValueError("it is none of this search's")
    if not all(isinstance(start, int) and isinstance(values, dict) for start, values in record.changes):
        raise ValueError("its changes are not what they should be")
    for report in record.reports:
        if not isinstance(report["epoch"], int) or not isinstance(report["valid_score"], float):
            raise ValueError("a report is not what it should be")
        if not isinstance(report["valid_result"], dict) or not isinstance(report["seconds"], (int, float)):
            raise ValueError("a report is not what it should be")


def is_cut(root: Path, number: int) -> bool:
    """Whether the last line of the reports has no end."""
    path = folder_of(root, number) / REPORTS
    return path.is_file() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")


def _read_reports(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]  # what follows the last line's end is empty, or was cut


def best_record(records: Sequence[Record], bigger: bool = True) -> Record | None:
    """The trial with the best validation score, the first of equals; no failed one, and none that repeats another."""
    trained = [record for record in records if record.status != FAILED and record.repeats is None]
    scores = {record.number: best["valid_score"] for record in trained if (best := record.best(bigger))}
    sign = 1 if bigger else -1
    known = [record for record in records if record.number in scores]
    return max(known, key=lambda record: (sign * scores[record.number], -record.number), default=None)
