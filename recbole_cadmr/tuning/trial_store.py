"""The records of a search while it runs: which trial tries what, with which outcome, and which files are kept.

It lives in the process of the search and is called by those of the trials; what it keeps are plain files, from which a
killed search resumes.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.history import rewrite_history
from recbole_cadmr.training.contents import Energy, Validation
from recbole_cadmr.tuning.plan import Plan
from recbole_cadmr.tuning.samplers import NUMBER, equal_as_json
from recbole_cadmr.tuning.space import Point
from recbole_cadmr.tuning.trial_folder import TrialFolder
from recbole_cadmr.tuning.trial_record import TrialRecord, best_record, read_records, write_record

CALLED_BY_TRIALS = ("open", "add", "finish", "fail", "abort")
_KILLED = "its process was killed twice, maybe because memory was short"


class TrialStore:
    """Records of the search ``plan`` in the folder ``root``, of which it is the only writer."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.root, self.plan, self.encoder = root, plan, plan.encoder
        self.points = plan.points()
        self.records = {record.number: record for record in read_records(self.root)}
        self._earlier = set(self.records)  # of an earlier session, and not yet resumed
        self._numbers: dict[str, int] = {}
        self._reasons: dict[int, str] = {}
        self._processes: dict[int, int] = {}
        self._aborted: str | None = None

    # Called by trials

    def open(
        self, trial: str, config: Mapping[str, Any], pointer: Mapping[str, Any] | None, process: int = 0
    ) -> tuple[TrialRecord, bool]:
        """Start or resume a trial.

        Args:
            trial: Ray's name of it.
            config: what Ray gives it.
            pointer: a state that it is to start from, its own or another's: ``number``, ``epoch``, ``reports``.
            process: the id of its process.

        Returns:
            The record, and whether Ray does not know its reports yet.
        """
        is_new = trial not in self._numbers
        number = self._numbers.setdefault(trial, self._number_of(config))
        if number not in self.records:
            point = dict(self.points[number - 1]) if self.points else self._decoded(config)
            self.records[number] = TrialRecord(number, point)
        record = self.records[number]
        self._processes[number] = process
        if record.status == "running" and not is_new and not self.plan.is_population:
            record.deaths += 1
        if record.over:
            return record, is_new
        if pointer is not None:
            self._start_from(record, pointer, config)
        twin = self._twin(record) if is_new and not record.reports else None
        if twin is not None:
            record = replace(twin, number=number, repeats=twin.number, deaths=0, reports=list(twin.reports))
            self.records[number] = record
        else:
            record.status = "running"
        self._write(record, history=pointer is not None or twin is not None)
        return record, is_new

    def _number_of(self, config: Mapping[str, Any]) -> int:
        if NUMBER in config:
            return int(config[NUMBER])
        point = self._decoded(config)
        for number in sorted(self._earlier):
            if equal_as_json(self.records[number].point, point):
                self._earlier.discard(number)
                return number
        return max(self.records, default=0) + 1

    def _decoded(self, config: Mapping[str, Any]) -> Point:
        assert self.encoder is not None
        return self.encoder.decode(config)

    def _start_from(self, record: TrialRecord, pointer: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Let a trial start from a state, with the history and the settings that led to it."""
        epoch, donor = pointer["epoch"], self.records[pointer["number"]]
        record.reports = donor.reports[: pointer["reports"]]
        record.point, before = dict(donor.point), donor.values_at(epoch - 1)
        record.changes = [[start, dict(values)] for start, values in donor.changes if start < epoch]
        now = self._decoded(config)
        changes = {name: value for name, value in now.items() if not equal_as_json(value, before[name])}
        if changes:
            record.changes.append([epoch, changes])

    def _twin(self, record: TrialRecord) -> TrialRecord | None:
        """A trial with the same settings that is over, whose reports are those of another one as well."""
        over = (
            other for other in self.records.values() if other.status in ("finished", "stopped") and not other.repeats
        )
        return next((other for other in over if equal_as_json(other.point, record.point)), None)

    def add(
        self,
        number: int,
        start: int,
        reports: Sequence[Validation],
        peak_memory: int,
        cpu_seconds: float = 0.0,
        energy: Energy | None = None,
    ) -> None:
        """Add validations, which the run has written, and what the trial has taken.

        Args:
            start: place of the first of them among all of the trial; those that are known are ignored.
            peak_memory, cpu_seconds, energy: of the whole trial so far.
        """
        record = self.records[number]
        record.cpu_seconds, record.energy = cpu_seconds, energy
        record.peak_memory_bytes = max(record.peak_memory_bytes, peak_memory)
        record.reports += reports[len(record.reports) - start :]
        record.seconds = record.reports[-1]["seconds"] if record.reports else 0.0

    def finish(self, number: int) -> None:
        """A trial has trained to its end."""
        record = self.records[number]
        record.status, record.failure = "finished", None
        if record.best() is None:
            record.status, record.failure = "failed", "nothing was validated: there is no validation part to choose on"
        self._write(record)

    def fail(self, number: int, reason: str, again: bool) -> None:
        """A trial has died; ``again``: it may be the machine's fault, and Ray tries it once more."""
        self._reasons[number] = reason
        if not again and self._aborted is None:
            record = self.records[number]
            record.status, record.failure = "failed", reason
            self._write(record)

    def abort(self, reason: str) -> None:
        """End the whole search: no trial could succeed where this one failed."""
        self._aborted = reason

    # Called by the search

    def conclude(self, trial: str, failed: bool) -> None:
        """Ray is done with a trial."""
        number = self._numbers.get(trial)
        if number is None:
            return
        record = self.records[number]
        if not record.over and self._aborted is None:
            record.status = "failed" if failed else "stopped"
            record.failure = self._reasons.get(number, _KILLED) if failed else None
            self._write(record)
        if not self.plan.is_population:
            self.prune()

    def killed_for_memory(self, message: str) -> list[int]:
        """Trials whose processes a message names have died; the second death of a trial is its last."""
        named = [number for number, process in self._processes.items() if f"pid={process}," in message]
        dead = [number for number in named if not self.records[number].over]
        for record in (self.records[number] for number in dead):
            record.deaths += 1
            if record.deaths > 1:
                record.status, record.failure = "failed", _KILLED
            self._write(record)
        return dead

    def prune(self) -> None:
        """Remove the states of trials that are over; results and histories stay.

        The best one keeps its state, the best finished one (a stopped best may die on its way to the end), and a
        stopped trial of the defaults.
        """
        over = [record for record in self.records.values() if record.over]
        best = best_record(over, self.plan.bigger)
        finished = best_record([record for record in over if record.status == "finished"], self.plan.bigger)
        for record in over:
            folder = TrialFolder(self.root, record.number)
            is_best = record in (best, finished)
            shutil.rmtree(folder.snapshots, ignore_errors=True)
            if not is_best and record.status != "finished" and not equal_as_json(record.point, self.plan.defaults):
                folder.keep_history_alone()
            elif record.status == "finished":
                folder.run.last.unlink(missing_ok=True)
                if not is_best:
                    folder.run.best.unlink(missing_ok=True)

    def standing(self) -> tuple[list[TrialRecord], str | None]:
        """The records, and why the search has to end, if it has to."""
        return list(self.records.values()), self._aborted

    def _write(self, record: TrialRecord, history: bool = False) -> None:
        """Write the record of a trial, and its history if its run does not; the search ends if that cannot be."""
        try:
            if history:
                rewrite_history(TrialFolder(self.root, record.number).run.history, record.reports)
            write_record(self.root, record)
        except UserError as error:
            self.abort(str(error))
            raise
