"""One trial of a search, in a process of its own on any node of a cluster."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from recbole_cadmr.errors import UserError, is_out_of_memory
from recbole_cadmr.execution import ray_api
from recbole_cadmr.execution.dataset_archive import unpack
from recbole_cadmr.execution.shared_folder import sees
from recbole_cadmr.locking import alone_in
from recbole_cadmr.models.own import receive
from recbole_cadmr.models.own_source import ModelSource
from recbole_cadmr.runs.result import peak_memory, read_result, reset_peak_memory
from recbole_cadmr.runs.session import read_checkpoint
from recbole_cadmr.runs.train import resume, train
from recbole_cadmr.training.callbacks import Training, TrainingCallback
from recbole_cadmr.training.contents import CpuSeconds, Energy, Validation
from recbole_cadmr.tuning.plan import Plan
from recbole_cadmr.tuning.rpc import Caller
from recbole_cadmr.tuning.samplers import EPOCH, SCORE, equal_as_json
from recbole_cadmr.tuning.trial_folder import TrialFolder
from recbole_cadmr.tuning.trial_record import TrialRecord, score_of

# Of every trial: nothing is read of the test part, and the state is written at most so often.
_TRIAL = {"evaluate_test": False, "save_lists": False, "show_progress": False, "resume_step": 1, "resume_seconds": 30}
_PATIENCE = 20.0  # seconds


@dataclass(frozen=True)
class TrialContext:
    """What all trials of a search have in common.

    Attributes:
        root, mark: folder of the search, and the mark that stands in it meanwhile.
        store: connects to the :class:`TrialStore`.
        own: the source of a model of the user's own.
    """

    plan: Plan
    root: Path
    mark: str
    store: Caller
    own: ModelSource | None = None


def run_trial(config: Mapping[str, Any], context: TrialContext, packed: bytes | None = None) -> None:
    """Train with the settings that Ray gives, from where the trial stands, and report every validation.

    Args:
        packed: the data set, for nodes that have to unpack it.
    """
    store, pointer = _connect(context), ray_api.pointer()
    record, is_new = store.open(ray_api.trial_id(), dict(config), pointer, os.getpid())
    trial = _Trial(context, store, record, ray_api.report)
    if is_new:
        trial.replay()
    if record.status == "failed":
        raise RuntimeError(record.failure)
    if not record.over:
        trial.run(pointer, packed)


def finish_trial(context: TrialContext, record: TrialRecord, packed: bytes | None = None) -> None:
    """Train a trial that the scheduler had stopped to its end."""
    _Trial(context, _connect(context), record, lambda *_: None).run(None, packed)


def _connect(context: TrialContext) -> Any:
    store = context.store.connect()
    receive(context.own)
    if not sees(context.root, context.mark):  # a node that joined the cluster after the search had begun
        store.abort(reason := f"a node of the Ray cluster does not see {context.root}")
        raise RuntimeError(reason)
    return store


class _Trial(TrainingCallback):
    """A trial at work: passes every validation to the store, then to Ray."""

    def __init__(
        self, context: TrialContext, store: Any, record: TrialRecord, report_to_ray: Callable[..., None]
    ) -> None:
        self.context, self.plan, self.store, self.record = context, context.plan, store, record
        self.folder = TrialFolder(context.root, record.number)
        self._report_to_ray = report_to_ray
        self._n_reported, self._snapshot_epoch = len(record.reports), record.epochs
        self._best: float | None = None

    def replay(self) -> None:
        """Report validations from before the search was cut; of a population's member the last, where it stands."""
        reports, is_over = self.record.reports, self.record.status in ("finished", "stopped")
        for report in reports[-1:] if self.plan.is_population else reports:
            self._report_to_ray(self._metrics(report, is_over and report is reports[-1]))

    def run(self, pointer: Mapping[str, Any] | None, packed: bytes | None) -> None:
        """Train from the state that the pointer names, from the trial's own, or anew; what fails is recorded."""
        try:
            self._train(pointer, packed)
        except Exception as error:
            if isinstance(error, UserError) and str(error).startswith("cannot write"):
                self.store.abort(str(error))  # which no other trial could either; it is resumed with the search
            else:
                again = isinstance(error, OSError) or is_out_of_memory(error)
                self.store.fail(self.record.number, _reason(error), again=again)
            raise
        finally:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # the process runs the next trial

    def _train(self, pointer: Mapping[str, Any] | None, packed: bytes | None) -> None:
        folder, run, plan = self.folder, self.folder.run, self.plan
        if run.path.is_dir():
            with alone_in(run.path, "run", _PATIENCE):
                pass  # a process of a search that was killed ends soon
        if pointer is None and plan.is_population and self.record.reports:
            pointer = folder.latest_snapshot()
        if pointer is not None:
            folder.take_snapshot(pointer["number"], pointer["epoch"])
        elif run.is_finished:
            result = read_result(run.path)
            self._report(result["history"], result.get("cpu_seconds"), result.get("energy"))
            return
        reset_peak_memory()
        data_path = plan.settings["data_path"] if packed is None else str(unpack(packed, plan.dataset))
        if run.last.is_file():
            changes = self._changes(pointer["epoch"]) if pointer is not None else None
            resume(run.path, data_path, changes=changes, callbacks=[self])
            return
        shutil.rmtree(run.path, ignore_errors=True)
        settings = {**plan.settings, **self.record.point, **_TRIAL, "data_path": data_path}
        train(plan.model, plan.dataset, preset=plan.preset, output=run.path, settings=settings, callbacks=[self])

    def _changes(self, epoch: int) -> dict[str, Any]:
        """The settings that a member continues with and that its state, maybe another's, was not trained with."""
        before = read_checkpoint(self.folder.run.last)["settings"]
        return {
            name: value
            for name, value in self.record.values_at(epoch).items()
            if not equal_as_json({"": value}, {"": before.get(name)})
        }

    def on_epoch_start(self, trainer: Training, epoch: int) -> None:
        """Report what has been validated since the last epoch, where the state belongs to it."""
        self._report(trainer.history, trainer.cpu_seconds, trainer.energy, trainer.save_state)

    def on_end(self, trainer: Training) -> None:
        """Report the rest, and that the trial is finished."""
        self._report(trainer.history, trainer.cpu_seconds, trainer.energy)

    def _report(
        self,
        history: Sequence[Validation],
        cpu: CpuSeconds | None,
        energy: Energy | None,
        save_state: Callable[[], None] | None = None,
    ) -> None:
        """Report the validations of ``history`` that are new; ``save_state`` writes the state after the last one."""
        new, is_finished = history[self._n_reported :], self.folder.run.is_finished
        if not new and not is_finished:
            return
        number = self.record.number
        cpu_seconds = 0.0 if cpu is None else cpu["process"] + cpu["children"]
        self.store.add(number, self._n_reported, list(new), peak_memory(), cpu_seconds, energy)
        self._n_reported = len(history)
        pointer, epoch, grace = None, history[-1]["epoch"] + 1, self.plan.grace
        if self.plan.is_population and save_state and epoch // grace > self._snapshot_epoch // grace:
            save_state()
            self.folder.keep_snapshot(epoch)
            self._snapshot_epoch = epoch
            pointer = {"number": number, "epoch": epoch, "reports": self._n_reported}
        if is_finished:
            self.store.finish(number)
        for report in new or history[-1:]:
            self._report_to_ray(self._metrics(report, is_finished and report is history[-1]), pointer)

    def _metrics(self, report: Validation, is_last: bool) -> dict[str, Any]:
        score = score_of(report)
        if not self.plan.is_population:  # a trial is worth its best epoch; a member of a population its state
            better = max if self.plan.bigger else min
            self._best = score = score if self._best is None else better(self._best, score)
        return {EPOCH: report["epoch"] + 1, SCORE: score, "done": is_last}


def _reason(error: Exception) -> str:
    """The last line of an error, with its kind if it is none of the user's."""
    last = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "")
    return last if isinstance(error, UserError) else f"{type(error).__name__}: {last}"
