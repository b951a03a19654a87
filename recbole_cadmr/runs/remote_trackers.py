"""Trackers that keep runs by ids of their own, on a server or in local files: MLflow, Weights & Biases.

Where they send to is said to them as everywhere else, by their own environment variables. What they are sent is numbers
and settings, never a model, data or a path of this machine.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Annotated, Any

from msgspec import Meta

from recbole_cadmr.files import json_text, write_json
from recbole_cadmr.runs.result import RunResult
from recbole_cadmr.runs.trackers import Tracked, Tracker, results_of, values_of
from recbole_cadmr.schema import read_json
from recbole_cadmr.training.callbacks import Training
from recbole_cadmr.training.contents import Validation

_PROJECT = "recbole_cadmr"  # unless their environment variables say another one
_LONGEST = 500  # letters of a parameter, as MLflow's servers allow
_AT_ONCE = 100  # parameters of a request, as they allow
# Nothing for MLflow's makers; and a server that is not there is given up in seconds, not after minutes of trying.
_QUICKLY = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_log = logging.getLogger("recbole_cadmr")
_Ids = dict[str, Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]]


def _known_id(run: Tracked, tracker: str) -> str | None:
    """The id by which a tracker knows the run from before it was interrupted."""
    return read_json(run.folder.trackers, _Ids).get(tracker) if run.folder.trackers.is_file() else None


def _keep_id(run: Tracked, tracker: str, own: str) -> None:
    file = run.folder.trackers
    write_json(file, {**(read_json(file, _Ids) if file.is_file() else {}), tracker: own})


class MLflow(Tracker):
    """A run of MLflow's, in ``MLFLOW_EXPERIMENT_NAME`` at ``MLFLOW_TRACKING_URI``.

    By its client, which leaves alone what the program around has active.
    """

    def __init__(self, run: Tracked) -> None:
        super().__init__(run)
        for name, value in _QUICKLY.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self._metric, self._client = Metric, MlflowClient()
        self._id = _known_id(run, "mlflow") or ""
        if self._id:
            self._client.update_run(self._id, "RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        experiment = self._client.get_experiment_by_name(name)
        of = experiment.experiment_id if experiment else self._client.create_experiment(name)
        self._id = self._client.create_run(of, run_name=run.name).info.run_id
        _keep_id(run, "mlflow", self._id)
        parameters = [Param(name, _text(value)[:_LONGEST]) for name, value in run.settings.items()]
        for start in range(0, len(parameters), _AT_ONCE):
            self._client.log_batch(self._id, params=parameters[start : start + _AT_ONCE])

    def _send(self, values: dict[str, float], epoch: int) -> None:
        now = int(1000 * time.time())
        metrics = [self._metric(name.replace("@", "_at_"), value, now, epoch) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def log(self, trainer: Training, validation: Validation) -> None:
        """Send the values."""
        self._send(dict(values_of(validation)), validation["epoch"])

    def end(self, result: RunResult) -> None:
        """Send the results, at the best epoch."""
        self._send(dict(results_of(result)), result["best_epoch"] or 0)

    def close(self, finished: bool) -> None:
        """Say how it ended: a run that was stopped may be resumed."""
        self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")


class WeightsAndBiases(Tracker):
    """A run of W&B's in ``WANDB_PROJECT``; kept in the run's folder, for ``wandb sync``, where there is no key.

    Nothing is asked on the terminal, and output, code and state of the machine stay here.
    """

    def __init__(self, run: Tracked) -> None:
        super().__init__(run)
        import wandb

        mode = os.environ.get("WANDB_MODE") or ("online" if wandb.api.api_key else "offline")
        quiet = wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, symlink=False, x_disable_stats=True,
            x_disable_meta=True, init_timeout=30,
        )  # fmt: skip
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=run.name,
            id=_known_id(run, "wandb"),
            resume="allow" if mode == "online" else None,
            dir=str(run.folder.path),
            config=dict(run.settings),
            mode=mode,
            reinit="create_new",
            settings=quiet,
        )
        _keep_id(run, "wandb", self._run.id)
        self._remove_links()
        self._run.define_metric("*", step_metric="epoch")
        if mode == "offline":
            _log.info(f"wandb: kept in {run.folder.path / 'wandb'}; send it with wandb sync, or set WANDB_API_KEY")

    def log(self, trainer: Training, validation: Validation) -> None:
        """Send the values, by their epoch."""
        self._run.log({"epoch": validation["epoch"], **dict(values_of(validation))})

    def end(self, result: RunResult) -> None:
        """Send the results as the run's summary."""
        self._run.summary.update(dict(results_of(result)))

    def close(self, finished: bool) -> None:
        """End it; as failed if it did not finish."""
        self._run.finish(exit_code=0 if finished else 1)
        self._remove_links()

    def _remove_links(self) -> None:
        """Remove links to logs of W&B's own: a run's folder with links is not resumed."""
        for path in (self.run.folder.path / "wandb").rglob("*"):
            if path.is_symlink():
                path.unlink()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_text({"": value})[5:-1]
