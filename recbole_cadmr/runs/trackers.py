"""Where the history of a run goes beside ``history.jsonl``: TensorBoard, a csv, MLflow, Weights & Biases.

All are told the same by one callback, validation by validation. A tracker is a convenience: one that fails (no network,
no room) is given up with a warning, and the run goes on.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any

import pandas as pd

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import write_aside
from recbole_cadmr.runs.folder import RunFolder
from recbole_cadmr.runs.result import RunResult
from recbole_cadmr.schema import read_json
from recbole_cadmr.training.callbacks import Training, TrainingCallback
from recbole_cadmr.training.contents import Validation
from recbole_cadmr.training.trainer import RunTrainer

_log = logging.getLogger("recbole_cadmr")
# By name: its class, and the package that it needs, whose name is that of the extra, too.
_TRACKERS = {
    "tensorboard": ("recbole_cadmr.runs.trackers:TensorBoard", "tensorboard"),
    "csv": ("recbole_cadmr.runs.trackers:Csv", None),
    "mlflow": ("recbole_cadmr.runs.remote_trackers:MLflow", "mlflow"),
    "wandb": ("recbole_cadmr.runs.remote_trackers:WeightsAndBiases", "wandb"),
}
_UNTRACKED = ("data_path", "tracker", "threads", "worker", "state", "show_progress")  # of this machine alone
REMOTE = ("mlflow", "wandb")  # keep runs elsewhere, by ids of their own


@dataclass(frozen=True)
class Tracked:
    """The run that trackers are told of.

    Attributes:
        name: of its model and data set.
        settings: what defines it, with model and data set, by name.
        history: validations before those that follow, of a run that is resumed.
    """

    folder: RunFolder
    name: str
    settings: Mapping[str, Any]
    history: Sequence[Validation]

    @classmethod
    def of(cls, trainer: RunTrainer) -> Tracked:
        """The run of a trainer."""
        names = {name: trainer.metadata[name] for name in ("model", "dataset")}
        settings = {k: v for k, v in trainer.metadata["settings"].items() if k not in _UNTRACKED}
        name = "-".join([*names.values(), str(settings["seed"])])
        return cls(RunFolder(trainer.folder), name, {**names, **settings}, list(trainer.history))


class Tracker:
    """One place that a run's history goes to; any exception of its methods ends it, and nothing else.

    Args:
        run: what is tracked; a tracker that knows it from before it was interrupted continues there.
    """

    def __init__(self, run: Tracked) -> None:
        self.run = run

    def log(self, trainer: Training, validation: Validation) -> None:
        """A validation, and what was learnt since the last one."""

    def end(self, result: RunResult) -> None:
        """The run's result."""

    def close(self, finished: bool) -> None:
        """The last call, also of a run that failed or was stopped."""


def values_of(validation: Validation) -> Iterator[tuple[str, float]]:
    """The finite numbers of a validation, as ``losses/NAME``, ``valid_result/NAME`` and ``diagnostics/NAME``."""
    groups = {name: validation.get(name) or {} for name in ("losses", "valid_result", "diagnostics")}
    for group, values in groups.items():
        for name, value in values.items():  # type: ignore[attr-defined]
            if value is not None and math.isfinite(value):
                yield f"{group}/{name}", value


def results_of(result: RunResult) -> Iterator[tuple[str, float]]:
    """The numbers of a result: ``best/NAME`` of the best validation, ``test/NAME``, and ``seconds/PHASE``."""
    groups = {"best": result["best_valid_result"], "test": result["test_result"], "seconds": result["seconds"]}
    for group, values in groups.items():
        yield from ((f"{group}/{name}", value) for name, value in (values or {}).items() if value is not None)


def refuse_missing(names: Sequence[str]) -> None:
    """Raise :class:`UserError` if the package of a tracker is not installed."""
    for name in names:
        package = _TRACKERS[name][1]
        if package is not None and find_spec(package) is None:
            raise UserError(
                f"tracker {name} needs the package {package}; install recbole_cadmr[{name}], or leave it out"
            )


class Tracking(TrainingCallback):
    """Tells trackers, by their names, of a run; those that fail are left out from then on."""

    def __init__(self, names: Sequence[str], run: Tracked) -> None:
        self._trackers: dict[str, Tracker] = {}
        for name in names:
            with self._given_up(name):
                self._trackers[name] = resolve_name(_TRACKERS[name][0])(run)

    def on_validation(self, trainer: Training, validation: Validation) -> None:
        """Tell them of it."""
        self._tell(lambda tracker: tracker.log(trainer, validation))

    def on_end(self, trainer: Training) -> None:
        """Tell them of the result."""
        result = read_json(RunFolder(trainer.folder).result, dict[str, Any])
        self._tell(lambda tracker: tracker.end(result))  # type: ignore[arg-type]

    def close(self, finished: bool) -> None:
        """End the trackers, whatever became of the run."""
        self._tell(lambda tracker: tracker.close(finished))

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            with self._given_up(name):
                what(tracker)

    @contextmanager
    def _given_up(self, name: str) -> Iterator[None]:
        """Leave a tracker out from here on if it fails within, with one warning."""
        try:
            yield
        except Exception as error:  # whatever a foreign package or a network raises
            self._trackers.pop(name, None)
            reason = next((line for line in str(error).splitlines() if line.strip()), "")
            _log.warning(f"tracker {name} is told no more of this run: {type(error).__name__}: {reason:.300}")


@contextmanager
def tracking(trainer: RunTrainer, names: Sequence[str]) -> Iterator[list[TrainingCallback]]:
    """The callback that tells trackers of what happens within, ended with it; none if there is none to tell."""
    callback = Tracking(names, Tracked.of(trainer))
    try:
        yield [callback] if names else []
    except BaseException:
        callback.close(finished=False)
        raise
    callback.close(finished=True)


class TensorBoard(Tracker):
    """Into the writer that RecBole's trainer has, beside what RecBole writes there itself."""

    def log(self, trainer: Training, validation: Validation) -> None:
        """Write the values."""
        for name, value in values_of(validation):
            trainer.tensorboard.add_scalar(name.replace("@", "_at_"), value, validation["epoch"])


class Csv(Tracker):
    """``metrics.csv`` in the run's folder: a row a validation, whole at any time."""

    def __init__(self, run: Tracked) -> None:
        super().__init__(run)
        self._rows = [_row(validation) for validation in run.history]

    def log(self, trainer: Training, validation: Validation) -> None:
        """Write all rows: a phase may have other columns than the one before."""
        self._rows.append(_row(validation))
        with write_aside(self.run.folder.metrics) as temporary:
            pd.DataFrame(self._rows).to_csv(temporary, index=False, lineterminator="\n")


def _row(validation: Validation) -> dict[str, Any]:
    plain = {name: validation[name] for name in ("epoch", "phase", "seconds", "valid_score")}
    return plain | dict(values_of(validation))
