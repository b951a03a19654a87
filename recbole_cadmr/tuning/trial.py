"""One trial of a search, in a process of its own on any machine of a cluster."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from recbole_cadmr.errors import UserError, is_out_of_memory
from recbole_cadmr.execution import ray_api
from recbole_cadmr.execution.dataset_archive import unpack
from recbole_cadmr.locking import alone_in
from recbole_cadmr.runs.folder import is_used
from recbole_cadmr.runs.result import peak_memory, read_result, reset_peak_memory
from recbole_cadmr.runs.session import read_checkpoint
from recbole_cadmr.runs.train import resume, train
from recbole_cadmr.training.callbacks import TrainingCallback
from recbole_cadmr.training.trainer import LAST, RunTrainer
from recbole_cadmr.tuning.samplers import EPOCH, SCORE, equal_as_json
from recbole_cadmr.tuning.trial_folder import TrialContext, TrialFolder
from recbole_cadmr.tuning.trial_record import FAILED, RUN, TrialRecord

# Of every trial: nothing is read of the test part, and the state is written at most so often.
_TRIAL = {"evaluate_test": False, "save_lists": False, "show_progress": False, "resume_step": 1, "resume_seconds": 30}
_PATIENCE = 20.0  # seconds


def run_trial(config: Mapping[str, Any], job: TrialContext, archive: Any, packed: Any = None) -> None:
    """Train with the settings that Ray gives, from where the trial stands, and report every validation.

    Args:
        archive: keeps the records; see :class:`TrialStore`.
        packed: the data set, for machines that have to unpack it.
    """
    pointer = ray_api.pointer()
    opened = archive.open(ray_api.trial_id(), dict(config), pointer, os.getpid())
    reporter = _Reporter(job, archive, opened)
    if opened["replay"]:
        reporter.replay(opened["reports"])
    if opened["status"] == FAILED:
        raise RuntimeError(opened["failure"])
    if not reporter.is_over:
        _guarded(job, archive, opened, pointer, reporter, packed)


def finish_trial(job: TrialContext, archive: Any, record: Mapping[str, Any], packed: Any = None) -> None:
    """Train a trial that the scheduler had stopped to its end."""
    reporter = _Reporter(job, archive, {**record, "status": "running"}, tell=lambda *_: None)
    _guarded(job, archive, record, None, reporter, packed)


def _guarded(
    job: TrialContext,
    archive: Any,
    opened: Mapping[str, Any],
    pointer: Mapping[str, Any] | None,
    reporter: _Reporter,
    packed: Any,
) -> None:
    try:
        with TrialFolder(job, archive, opened["number"]) as place:
            reporter.place = place
            _go_on(job, opened, pointer, place, reporter, packed)
    except Exception as error:
        if isinstance(error, UserError) and str(error).startswith("cannot write"):
            archive.abort(str(error))  # which no other trial could either; it goes on with the search
        else:
            archive.fail(opened["number"], _words(error), again=_is_machines_fault(error))
        raise
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # the process goes on with the next trial


def _words(error: Exception) -> str:
    """The last line of an error, with its kind if it is none of the user's."""
    last = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "")
    return last if isinstance(error, UserError) else f"{type(error).__name__}: {last}"


def _is_machines_fault(error: BaseException) -> bool:
    return isinstance(error, OSError) or is_out_of_memory(error)


def _go_on(
    job: TrialContext,
    opened: Mapping[str, Any],
    pointer: Mapping[str, Any] | None,
    place: TrialFolder,
    reporter: _Reporter,
    packed: Any,
) -> None:
    """Train from the state that the pointer names, from the trial's own, or anew."""
    run = place.folder / RUN
    if run.is_dir():
        with alone_in(run, "run", _PATIENCE):
            pass  # a process of a search that was killed ends soon
    if pointer is None and job.is_population and opened["reports"]:
        pointer = place.latest_snapshot()
    if pointer is not None:
        place.take_snapshot(pointer["number"], pointer["epoch"])
    elif is_used(run):
        reporter.report(read_result(run)["history"])
        return
    reset_peak_memory()
    data_path = job.settings["data_path"] if packed is None else str(unpack(packed, job.dataset))
    if (run / LAST).is_file():
        changes = _changes(run, opened, pointer["epoch"]) if pointer is not None else None
        resume(run, data_path, changes=changes, callbacks=[reporter])
        return
    shutil.rmtree(run, ignore_errors=True)
    settings = {**job.settings, **opened["point"], **_TRIAL, "data_path": data_path}
    train(job.model, job.dataset, preset=job.preset, output=run, settings=settings, callbacks=[reporter])


def _changes(run: Path, opened: Mapping[str, Any], epoch: int) -> dict[str, Any]:
    """The settings that a member goes on with and that its state, maybe another's, was not trained with."""
    record = TrialRecord(**{name: value for name, value in opened.items() if name != "replay"})
    before = read_checkpoint(run / LAST)["settings"]
    return {
        name: value
        for name, value in record.values_at(epoch).items()
        if not equal_as_json({"": value}, {"": before.get(name)})
    }


class _Reporter(TrainingCallback):
    """Observes a run: writes every validation to the archive, then tells Ray of it."""

    def __init__(
        self, job: TrialContext, archive: Any, opened: Mapping[str, Any], tell: Callable[..., None] = ray_api.report
    ) -> None:
        self.job, self.archive, self.number, self.tell = job, archive, opened["number"], tell
        self.known = len(opened["reports"])
        self.is_over = opened["status"] in ("finished", "stopped")
        self.place: TrialFolder | None = None
        self._best: float | None = None
        self._snapshot = opened["reports"][-1]["epoch"] + 1 if opened["reports"] else 0

    def replay(self, reports: Sequence[Mapping[str, Any]]) -> None:
        """Tell Ray of validations before the search was cut; of a population's member the last, where it stands."""
        for report in reports[-1:] if self.job.is_population else reports:
            is_last = self.is_over and report is reports[-1]
            self.tell(self._metrics(report, is_last))

    def on_epoch_start(self, trainer: RunTrainer, epoch: int) -> None:
        """Report what has been validated since the last epoch, where the state goes with it."""
        self.report(trainer.history, trainer.save_state)

    def on_end(self, trainer: RunTrainer) -> None:
        """Report the rest, and that the trial is finished."""
        self.report(trainer.history)

    def report(self, history: Sequence[Mapping[str, Any]], save_state: Callable[[], None] | None = None) -> None:
        """Report the validations of ``history`` that are new; ``save_state`` writes the state after the last one."""
        assert self.place is not None
        new = history[self.known :]
        if not new and not self.place.is_finished:
            return
        start, self.known = self.known, len(history)
        self.archive.add(self.number, start, new, peak_memory())
        pointer, is_finished = None, self.place.is_finished
        epoch = history[-1]["epoch"] + 1
        if self.job.is_population and save_state and epoch // self.job.grace > self._snapshot // self.job.grace:
            save_state()
            self.place.keep_snapshot(epoch)
            self._snapshot = epoch
            pointer = {"number": self.number, "epoch": epoch, "reports": self.known}
        self.place.deliver()
        if is_finished:
            self.archive.finish(self.number)
        for report in new or history[-1:]:
            self.tell(self._metrics(report, is_finished and report is history[-1]), pointer)

    def _metrics(self, report: Mapping[str, Any], is_last: bool) -> dict[str, Any]:
        score = report["valid_score"]
        if not self.job.is_population:  # a trial is worth its best epoch; a member of a population its state
            better = max if self.job.bigger else min
            self._best = score = score if self._best is None else better(self._best, score)
        return {EPOCH: report["epoch"] + 1, SCORE: score, "done": is_last}
