"""What is known of a trial, as plain files: ``trial.json`` and ``reports.jsonl``, a line a validation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta

from recbole_cadmr.config.deprecated import current_names
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import read_text, write_aside
from recbole_cadmr.runs.result import write_json
from recbole_cadmr.schema import checked, read_json
from recbole_cadmr.training.contents import Count, Seconds, Validation
from recbole_cadmr.tuning.trial_folder import TRIAL, TRIALS, TrialFolder

# How a trial stands. `stopped`: by the scheduler; `failed` says why in `failure`.
Status = Literal["waiting", "running", "finished", "stopped", "failed"]
WAITING: Status = "waiting"
RUNNING: Status = "running"
FINISHED: Status = "finished"
STOPPED: Status = "stopped"
FAILED: Status = "failed"
STATES: tuple[Status, ...] = get_args(Status)
OVER = (FINISHED, STOPPED, FAILED)


class Report(Validation):
    """A validation of a trial; its score is a number, if maybe an infinite one."""

    valid_score: float  # type: ignore[misc]  # narrower than in a history


@dataclass
class TrialRecord:
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

    number: Annotated[int, Meta(ge=1, le=10**9)]
    point: dict[str, Any]
    status: Status = WAITING
    changes: list[list[Any]] = field(default_factory=list)
    failure: str | None = None
    deaths: Count = 0
    repeats: int | None = None
    seconds: Seconds = 0.0
    peak_memory_bytes: Count = 0
    reports: list[Report] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.status in OVER

    @property
    def epochs(self) -> int:
        """Epochs trained, over all phases."""
        return max((report["epoch"] + 1 for report in self.reports), default=0)

    def best(self, bigger: bool = True) -> Report | None:
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


def write_record(root: Path, record: TrialRecord) -> None:
    """Write ``trial.json``; the reports have a file of their own."""
    content = asdict(record)
    del content["reports"]
    write_json(TrialFolder(root, record.number).record, content)


def append_reports(root: Path, number: int, reports: Sequence[Mapping[str, Any]]) -> None:
    """Add lines to ``reports.jsonl``."""
    path = TrialFolder(root, number).reports
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(report) + "\n" for report in reports)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def rewrite_reports(root: Path, record: TrialRecord) -> None:
    """Write ``reports.jsonl`` anew."""
    with write_aside(TrialFolder(root, record.number).reports) as temporary:
        temporary.write_text("".join(json.dumps(report) + "\n" for report in record.reports), encoding="utf-8")


def read_records(root: Path) -> list[TrialRecord]:
    """The trials of a search by number.

    Raises:
        UserError: if a file is damaged. (The last line of the reports may be cut: a kill does that.)
    """
    if (root / TRIALS).exists() and not (root / TRIALS).is_dir():
        raise UserError(f"{root / TRIALS} is not the folder of trials that it should be; remove it")
    search = root / "search.json"
    model = read_json(search, dict[str, Any]).get("model") if search.is_file() else None
    records = []
    for path in sorted((root / TRIALS).glob(f"*/{TRIAL}")):
        try:
            content = read_json(path, dict[str, Any])
            record = checked(content, TrialRecord, path)
            folder = TrialFolder(root, record.number)
            record.reports = _read_reports(folder.reports)
            for change in record.changes:
                checked(change, tuple[int, dict[str, Any]], path)
                change[1] = current_names(model, change[1], str(path), warn=False)
            record.point = current_names(model, record.point, str(path), warn=False)
            if path != folder.record:
                raise UserError(f"{path} is damaged or was edited: its number is {record.number}")
            if unknown := content.keys() - vars(record).keys():
                raise UserError(f"{path} is damaged or was edited: it has {', '.join(sorted(unknown))}")
        except UserError as error:
            raise UserError(f"{error}; remove the folder of this trial to run it again") from error
        records.append(record)
    return records


def is_cut(root: Path, number: int) -> bool:
    """Whether the last line of the reports has no end."""
    path = TrialFolder(root, number).reports
    return path.is_file() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")


def _read_reports(path: Path) -> list[Report]:
    if not path.exists():
        return []
    lines = read_text(path).split("\n")[:-1]  # what follows the last line's end is empty, or was cut
    try:  # with json, since scores may be infinite
        return checked([json.loads(line) for line in lines], list[Report], path)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged or was edited: {error}") from error


def best_record(records: Sequence[TrialRecord], bigger: bool = True) -> TrialRecord | None:
    """The trial with the best validation score, the first of equals; no failed one, and none that repeats another."""
    trained = [record for record in records if record.status != FAILED and record.repeats is None]
    scores = {record.number: best["valid_score"] for record in trained if (best := record.best(bigger))}
    sign = 1 if bigger else -1
    known = [record for record in records if record.number in scores]
    return max(known, key=lambda record: (sign * scores[record.number], -record.number), default=None)
