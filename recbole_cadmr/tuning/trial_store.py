"""The records of a search while it runs: who tries what, what came of it, and what of it is kept.

It lives in the process of the search and is called by those of the trials; what it keeps are plain files, out of which
a killed search goes on.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from recbole_cadmr.errors import UserError
from recbole_cadmr.tuning.plan import Plan
from recbole_cadmr.tuning.samplers import NUMBER, equal_as_json
from recbole_cadmr.tuning.space import Point
from recbole_cadmr.tuning.trial_folder import TrialFolder
from recbole_cadmr.tuning.trial_record import (
    FAILED,
    FINISHED,
    RUNNING,
    STOPPED,
    Report,
    TrialRecord,
    append_reports,
    best_record,
    is_cut,
    read_records,
    rewrite_reports,
    write_record,
)

CALLED_BY_TRIALS = ("open", "add", "finish", "fail", "abort")
_KILLED = "its process was killed twice, maybe because memory was short"


class TrialStore:
    """Records of the search ``plan`` in the folder ``root``, of which it is the only writer."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.root, self.plan, self.encoder = root, plan, plan.encoder
        self.points = plan.points()
        self.records = {record.number: record for record in read_records(self.root)}
        for record in self.records.values():
            if is_cut(self.root, record.number):
                self._rewrite(record)
        self._earlier = set(self.records)  # known from before, and not yet taken up again
        self._numbers: dict[str, int] = {}
        self._words: dict[int, str] = {}
        self._processes: dict[int, int] = {}
        self._aborted: str | None = None

    # Asked by trials

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
        record = self.records.setdefault(number, TrialRecord(number, self._point_of(number, config)))
        self._processes[number] = process
        if record.status == RUNNING and not is_new and not self.plan.is_population:
            record.deaths += 1
        if pointer is not None and not record.over:
            self._start_from(record, pointer, config)
        if not record.over:
            twin = self._twin(record) if is_new and not record.reports else None
            if twin is not None:
                record = replace(twin, number=number, repeats=twin.number, deaths=0, reports=list(twin.reports))
                self.records[number] = record
                self._rewrite(record)
            else:
                record.status = RUNNING
        self._write(record)
        return replace(record, reports=list(record.reports)), is_new

    def _number_of(self, config: Mapping[str, Any]) -> int:
        if NUMBER in config:
            return int(config[NUMBER])
        point = self._decoded(config)
        for number in sorted(self._earlier):
            if equal_as_json(self.records[number].point, point):
                self._earlier.discard(number)
                return number
        return max(self.records, default=0) + 1

    def _point_of(self, number: int, config: Mapping[str, Any]) -> Point:
        return dict(self.points[number - 1]) if self.points else self._decoded(config)

    def _decoded(self, config: Mapping[str, Any]) -> Point:
        assert self.encoder is not None
        return self.encoder.decode(config)

    def _start_from(self, record: TrialRecord, pointer: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Let a trial go on from a state, which takes its history and settings with it."""
        epoch, donor = pointer["epoch"], self.records[pointer["number"]]
        record.reports = donor.reports[: pointer["reports"]]
        record.point, before = dict(donor.point), donor.values_at(epoch - 1)
        record.changes = [[start, dict(values)] for start, values in donor.changes if start < epoch]
        now = self._decoded(config)
        changes = {name: value for name, value in now.items() if not equal_as_json(value, before[name])}
        if changes:
            record.changes.append([epoch, changes])
        self._rewrite(record)

    def _twin(self, record: TrialRecord) -> TrialRecord | None:
        """A trial with the same settings that is over, whose reports stand for another one's."""
        return next((other for other in self.records.values() if other.status in (FINISHED, STOPPED)
                     and not other.repeats and equal_as_json(other.point, record.point)), None)  # fmt: skip

    def add(self, number: int, start: int, reports: Sequence[Report], peak_memory: int) -> None:
        """Take note of validations, and of the bytes that the trial has used at most.

        Args:
            start: place of the first of them among all of the trial; what is known already is passed over.
        """
        record = self.records[number]
        reports = reports[len(record.reports) - start :]
        record.peak_memory_bytes = max(record.peak_memory_bytes, peak_memory)
        record.reports += reports
        if reports:
            record.seconds = reports[-1]["seconds"]
        with self._or_end():
            append_reports(self.root, number, reports)

    def finish(self, number: int) -> None:
        """Take note that a trial has trained to its end."""
        record = self.records[number]
        record.status, record.failure = FINISHED, None
        if not any(math.isfinite(report["valid_score"]) for report in record.reports):
            record.status, record.failure = FAILED, "nothing was validated: there is no validation part to choose on"
        self._write(record)

    def fail(self, number: int, words: str, again: bool) -> None:
        """Take note of what a trial died of; ``again``: it may be the machine's fault and is tried once more."""
        record = self.records[number]
        if again:
            self._words[number] = words
            return
        record.status, record.failure = FAILED, words
        self._write(record)

    def abort(self, reason: str) -> None:
        """Let the whole search end: no trial could do better."""
        self._aborted = reason

    # Asked by the search

    def conclude(self, trial: str, failed: bool) -> None:
        """Take note that Ray is done with a trial."""
        number = self._numbers.get(trial)
        if number is None:
            return
        record = self.records[number]
        if not record.over and self._aborted is None:
            record.status = FAILED if failed else STOPPED
            record.failure = self._words.get(number, _KILLED) if failed else None
            self._write(record)
        if not self.plan.is_population:
            self.prune()

    def killed_for_memory(self, message: str) -> list[int]:
        """Take note of the deaths of trials whose processes a message names; the second one of a trial is its last."""
        dead = [number for number, process in self._processes.items()
                if f"pid={process}," in message and not self.records[number].over]  # fmt: skip
        for record in (self.records[number] for number in dead):
            record.deaths += 1
            if record.deaths > 1:
                record.status, record.failure = FAILED, _KILLED
            self._write(record)
        return dead

    def prune(self) -> None:
        """Remove the states of trials that are over; results and reports stay.

        The best one keeps its state, the best finished one (a stopped best may die on its way to the end), and a
        stopped trial of the defaults.
        """
        over = [record for record in self.records.values() if record.over]
        best = best_record(over, self.plan.bigger)
        finished = best_record([record for record in over if record.status == FINISHED], self.plan.bigger)
        for record in over:
            folder = TrialFolder(self.root, record.number)
            is_best = record in (best, finished)
            shutil.rmtree(folder.snapshots, ignore_errors=True)
            if not is_best and record.status != FINISHED and not equal_as_json(record.point, self.plan.defaults):
                shutil.rmtree(folder.run.path, ignore_errors=True)
            elif record.status == FINISHED:
                folder.run.last.unlink(missing_ok=True)
                if not is_best:
                    folder.run.best.unlink(missing_ok=True)

    def standing(self) -> tuple[list[TrialRecord], str | None]:
        """The records, with their reports cut to what a table shows, and why the search is to end, if it is."""

        def last(record: TrialRecord) -> list[Report]:
            best = record.best(self.plan.bigger)
            return [cast(Report, {"epoch": r["epoch"], "phase": r["phase"], "valid_score": r["valid_score"]})
                    for r in (best, *record.reports[-1:]) if r]  # fmt: skip

        return [replace(record, reports=last(record)) for record in self.records.values()], self._aborted

    def _write(self, record: TrialRecord) -> None:
        with self._or_end():
            write_record(self.root, record)

    def _rewrite(self, record: TrialRecord) -> None:
        with self._or_end():
            rewrite_reports(self.root, record)

    @contextmanager
    def _or_end(self) -> Iterator[None]:
        """End the search if what is known of it cannot be written."""
        try:
            yield
        except UserError as error:
            self.abort(str(error))
            raise
