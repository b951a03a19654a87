"""The record of a trial as plain files: ``trial.json``, and the history of its run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta

from recbole_cadmr.config.deprecated import current_names
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import read_text, write_json
from recbole_cadmr.runs.history import read_history
from recbole_cadmr.schema import checked, read_json
from recbole_cadmr.training.contents import Count, Energy, Seconds, Validation
from recbole_cadmr.tuning.trial_folder import TRIAL, TRIALS, TrialFolder

# How a trial stands. `stopped`: by the scheduler; `failed` says why in `failure`.
Status = Literal["waiting", "running", "finished", "stopped", "failed"]
STATES: tuple[Status, ...] = get_args(Status)


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
        seconds: training and evaluation; ``cpu_seconds`` of all its processes, ``energy`` if that is measured;
            ``peak_memory_bytes`` of the process.
    """

    number: Annotated[int, Meta(ge=1, le=10**9)]
    point: dict[str, Any]
    status: Status = "waiting"
    changes: list[list[Any]] = field(default_factory=list)
    failure: str | None = None
    deaths: Count = 0
    repeats: int | None = None
    seconds: Seconds = 0.0
    cpu_seconds: Seconds = 0.0
    energy: Energy | None = None
    peak_memory_bytes: Count = 0
    reports: list[Validation] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.status in ("finished", "stopped", "failed")

    @property
    def epochs(self) -> int:
        """Epochs trained, over all phases."""
        return max((report["epoch"] + 1 for report in self.reports), default=0)

    def best(self, bigger: bool = True) -> Validation | None:
        """The validation with the best score, the last of equals as in training; None if there was none."""
        scored = [report for report in self.reports if math.isfinite(score_of(report))]
        sign = 1 if bigger else -1
        return max(reversed(scored), key=lambda report: sign * score_of(report), default=None)

    def values_at(self, epoch: int) -> dict[str, Any]:
        """The values of the settings that an epoch was trained with."""
        values = dict(self.point)
        for start, changed in self.changes:
            if start <= epoch:
                values.update(changed)
        return values


def score_of(report: Validation) -> float:
    """Its score; NaN if that was no finite number."""
    score = report["valid_score"]
    return math.nan if score is None else score


def write_record(root: Path, record: TrialRecord) -> None:
    """Write ``trial.json``; the reports are in the history of the run."""
    content = asdict(record)
    del content["reports"]
    write_json(TrialFolder(root, record.number).record, content)


def read_records(root: Path) -> list[TrialRecord]:
    """The trials of a search by number.

    Raises:
        UserError: if a file is damaged. (The last line of a history may be cut: a kill does that.)
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
            record.reports = _read_reports(folder)
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


def _read_reports(folder: TrialFolder) -> list[Validation]:
    """The history of a trial's run; what version 0.1 kept beside the run, which it removed when a trial was stopped."""
    file = folder.path / "reports.jsonl"
    if folder.run.history.exists() or not file.exists():
        return read_history(folder.run.history)
    lines = read_text(file).split("\n")[:-1]  # what follows the last line's end is empty, or was cut
    try:
        content = [json.loads(line, parse_constant=lambda _: None) for line in lines]
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is damaged or was edited: {error}") from error
    return checked(content, list[Validation], file)


def best_record(records: Sequence[TrialRecord], bigger: bool = True) -> TrialRecord | None:
    """The trial with the best validation score, the first of equals; no failed one, and none that repeats another."""
    trained = [record for record in records if record.status != "failed" and record.repeats is None]
    scores = {record.number: score_of(best) for record in trained if (best := record.best(bigger))}
    sign = 1 if bigger else -1
    scored = [record for record in records if record.number in scores]
    return max(scored, key=lambda record: (sign * scores[record.number], -record.number), default=None)
