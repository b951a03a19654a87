"""The records of a search while it runs: who tries what, what came of it, and what of it is kept.

It lives in the process of the search and is called by those of the trials; what it keeps are plain files, out of which
a killed search goes on.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import write_aside
from recbole_cadmr.training.trainer import BEST, LAST
from recbole_cadmr.tuning import trial_record as records
from recbole_cadmr.tuning.samplers import NUMBER, SpaceEncoder, equal_as_json
from recbole_cadmr.tuning.space import Point
from recbole_cadmr.tuning.trial_record import FAILED, FINISHED, RUN, RUNNING, SNAPSHOTS, STOPPED, Report, TrialRecord

_KILLED = "its process was killed twice, maybe for want of memory"


class TrialStore:
    """Records of one search, of which it is the only writer.

    Args:
        root: folder of the search.
        points: what is tried, by number from 1 on; empty if a sampler decides on the way.
        coder: reads the settings that Ray gives; needed without ``points``, and for a population.
        bigger: whether a bigger score is better.
        defaults: the settings that are held against the best, so that their trial keeps its state, too.
        is_population: whether members take over the states of others, so that all are kept.
    """

    def __init__(
        self,
        root: str,
        points: Sequence[Point],
        coder: SpaceEncoder | None,
        bigger: bool,
        defaults: Point,
        is_population: bool = False,
    ) -> None:
        self.root, self.points, self.coder = Path(root), list(points), coder
        self.bigger, self.defaults, self.is_population = bigger, defaults, is_population
        self.records = {record.number: record for record in records.read_records(self.root)}
        for record in self.records.values():
            if records.is_cut(self.root, record.number):
                self._rewrite(record)
        self._earlier = set(self.records)  # known from before, and not yet taken up again
        self._numbers: dict[str, int] = {}
        self._words: dict[int, str] = {}
        self._processes: dict[int, int] = {}
        self._aborted: str | None = None

    # Asked by trials

    def open(
        self, trial: str, config: Mapping[str, Any], pointer: Mapping[str, Any] | None, process: int = 0
    ) -> dict[str, Any]:
        """Begin, or go on with, a trial.

        Args:
            trial: Ray's name of it.
            config: what Ray gives it.
            pointer: a state that it is to start from, its own or another's: ``number``, ``epoch``, ``reports``.
            process: the id of its process.

        Returns:
            The record as a mapping, and ``replay``: whether Ray does not know its reports.
        """
        is_new = trial not in self._numbers
        number = self._numbers.setdefault(trial, self._number_of(config))
        record = self.records.setdefault(number, TrialRecord(number, self._point_of(number, config)))
        self._processes[number] = process
        if record.status == RUNNING and not is_new and not self.is_population:
            record.deaths += 1
        if pointer is not None and not record.over:
            self._start_from(record, pointer, config)
        if not record.over:
            twin = self._twin(record) if is_new and not record.reports else None
            if twin is not None:
                copied = list(twin.reports)
                record = self.records[number] = replace(
                    twin, number=number, repeats=twin.number, deaths=0, reports=copied
                )
                self._rewrite(record)
            else:
                record.status = RUNNING
        self._write(record)
        return {**asdict(record), "replay": is_new}

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
        assert self.coder is not None
        return self.coder.decode(config)

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
            records.append_reports(self.root, number, reports)

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

    def receive(self, number: int, files: Mapping[str, bytes]) -> None:
        """Files of a trial that runs where the search's folder is not seen, by their paths within the trial's."""
        for name, content in files.items():
            path = records.folder_of(self.root, number) / name
            with write_aside(path) as temporary:
                temporary.write_bytes(content)

    def send(self, number: int, names: Sequence[str]) -> dict[str, bytes]:
        """The same files back, as far as they are there."""
        folder = records.folder_of(self.root, number)
        return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}

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
        if not self.is_population:
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
        best = records.best_record(over, self.bigger)
        finished = records.best_record([record for record in over if record.status == FINISHED], self.bigger)
        for record in over:
            folder = records.folder_of(self.root, record.number)
            is_best = record in (best, finished)
            shutil.rmtree(folder / SNAPSHOTS, ignore_errors=True)
            if not is_best and record.status != FINISHED and not equal_as_json(record.point, self.defaults):
                shutil.rmtree(folder / RUN, ignore_errors=True)
            elif record.status == FINISHED:
                (folder / RUN / LAST).unlink(missing_ok=True)
                if not is_best:
                    (folder / RUN / BEST).unlink(missing_ok=True)

    def standing(self) -> tuple[list[TrialRecord], str | None]:
        """The records, with their reports cut to what a table shows, and why the search is to end, if it is."""

        def last(record: TrialRecord) -> list[Report]:
            best = record.best(self.bigger)
            return [cast(Report, {"epoch": r["epoch"], "phase": r["phase"], "valid_score": r["valid_score"]})
                    for r in (best, *record.reports[-1:]) if r]  # fmt: skip

        return [replace(record, reports=last(record)) for record in self.records.values()], self._aborted

    def _write(self, record: TrialRecord) -> None:
        with self._or_end():
            records.write_record(self.root, record)

    def _rewrite(self, record: TrialRecord) -> None:
        with self._or_end():
            records.rewrite_reports(self.root, record)

    @contextmanager
    def _or_end(self) -> Iterator[None]:
        """End the search if what is known of it cannot be written."""
        try:
            yield
        except UserError as error:
            self.abort(str(error))
            raise
