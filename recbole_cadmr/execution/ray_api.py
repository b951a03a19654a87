"""Ray as this package uses it: every call that Ray has changed since 2.6.3, the newest that RecBole allows, sits here.

Tried with 2.6.3 and 2.60.0. Nothing here imports Ray before it is needed, since it takes a second.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import random
import re
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole_cadmr.compat.ray import keep_ray_on_loopback
from recbole_cadmr.config.devices import given_devices, set_devices
from recbole_cadmr.errors import UserError

# What Ray reads when it is imported: no usage statistics; no records but a search's own; stopped by an exception.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # who asked for no GPU sees none
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    "OMP_WAIT_POLICY": "passive",
    "RAY_worker_niceness": "0",  # at 15, its default, other work on the machine leaves a trial next to no time
}
_OF_THE_SHELL = re.compile(r"""[\s'"`$&|;<>()*?{}\[\]]""")
_POINTER = "pointer.json"
_MOST_DRAWS = 100  # of new settings, where a space may have no others


@contextmanager
def connected(address: str, cpus: int | None = None, dashboard: bool = False) -> Iterator[Any]:
    """Ray, connected to the cluster at ``address`` and let go of at the end.

    Args:
        address: ``local`` starts a cluster on this machine, which listens on its loopback device alone; ``auto``
            finds one here; else HOST:PORT.
        cpus: cores of a cluster that is started; all there are if not given.
        dashboard: whether a cluster that is started gets Ray's dashboard, on this machine.

    Raises:
        UserError: if there is no such cluster, or none can be started.
    """
    if address == "local" and _OF_THE_SHELL.search(sys.executable):
        raise UserError(  # its raylet would start one after the other, and wait
            f"Ray starts its workers by a shell, which cannot read the path of Python, {sys.executable}; install it "
            f"into a folder whose name has no blank or sign of the shell"
        )
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if address == "local":
        keep_ray_on_loopback()
    with _own_signals(), _all_devices():
        ray = _connect(address, cpus, dashboard)
    try:
        yield ray
    finally:
        ray.shutdown()


def _connect(address: str, cpus: int | None, dashboard: bool) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
        import ray

    if ray.is_initialized():
        raise UserError("this process is connected to a Ray cluster already; call ray.shutdown() first")
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what a trial dies of is in its own record
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        options |= {"include_dashboard": dashboard, "num_cpus": cpus}
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if address not in ("local", "auto"):
            socket.create_connection((host, int(port)), timeout=10).close()  # Ray itself would try for half a minute
        ray.init(address=address, **options)
    except (OSError, ValueError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"there is no Ray cluster at {address} ({reason}); give HOST:PORT, auto or local") from error
    return ray


@contextmanager
def _all_devices() -> Iterator[None]:
    """Let Ray see all GPUs that the process was given, not the one that a run has chosen."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    set_devices(given_devices())
    try:
        yield
    finally:
        set_devices(chosen)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what is to be done at SIGTERM: Ray, imported or started, puts handlers in its place that end the process."""
    own = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and own is not None:
            signal.signal(signal.SIGTERM, own)


def _is_old() -> bool:
    import ray

    return tuple(map(int, ray.__version__.split(".")[:2])) < (2, 7)


# Inside a trial


def trial_id() -> str:
    """Ray's name of the trial that this process runs."""
    return _session().get_trial_id() if _is_old() else _session().get_context().get_trial_id()


def report(metrics: Mapping[str, Any], pointer: Mapping[str, Any] | None = None) -> None:
    """Report a validation to the scheduler; may not return, if it stops the trial.

    Args:
        pointer: finds the state that belongs to it; Ray's checkpoint is this alone, the state is kept elsewhere.
    """
    if _is_old():
        from ray.air import Checkpoint
    else:
        from ray.tune import Checkpoint

    if pointer is None:
        _session().report(dict(metrics))
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, _POINTER).write_text(json.dumps(pointer), encoding="utf-8")
        _session().report(dict(metrics), checkpoint=Checkpoint.from_directory(folder))


def pointer() -> dict[str, Any] | None:
    """The pointer that the trial is to start from; None if it is to start anew."""
    checkpoint = _session().get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        return json.loads(Path(folder, _POINTER).read_text(encoding="utf-8"))


def _session() -> Any:
    """What has the functions of a trial."""
    if _is_old():
        from ray.air import session

        return session
    from ray import tune

    return tune


# Around a search


def search(
    trial: Callable[..., None],
    constants: Mapping[str, Any],
    *,
    space: Mapping[str, Any],
    n: int,
    algorithm: Any,
    scheduler: Any,
    metric: str,
    mode: str,
    resources: Mapping[str, float],
    folder: Path,
    on_step: Callable[[], None],
    on_end: Callable[[str, bool], None],
) -> None:
    """Run a search to its end.

    Args:
        trial: called as ``trial(config, **constants)`` in a process of its own; the constants travel once a node.
        space, n, algorithm, scheduler, metric, mode: as Ray Tune has them.
        resources: cores and GPUs of a trial.
        folder: for Ray's own files, which nobody needs afterwards.
        on_step: called again and again, here; what it raises ends the search.
        on_end: called with Ray's name of a trial that has ended, and whether by an error, here.
    """
    from ray import tune

    if _is_old():
        from ray.air import FailureConfig, RunConfig
    else:
        from ray.tune import FailureConfig, RunConfig

    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(trial, **constants), dict(resources)),
        param_space=dict(space),
        tune_config=tune.TuneConfig(
            metric=metric,
            mode=mode,
            num_samples=n,
            search_alg=algorithm,
            scheduler=scheduler,
            reuse_actors=True,
        ),
        run_config=RunConfig(
            name="ray",
            storage_path=str(folder),
            verbose=0,
            callbacks=[_watch(on_step, on_end)],
            failure_config=FailureConfig(max_failures=1),
        ),
    )
    tuner.fit()


def _watch(on_step: Callable[[], None], on_end: Callable[[str, bool], None]) -> Any:
    """What Ray tells of a search, handed on."""
    from ray import tune

    class Watch(tune.Callback):
        report_step: Callable[[], None]
        report_end: Callable[[str, bool], None]

        def __getstate__(self) -> dict[str, Any]:
            return {}  # Ray pickles what it was given, and nobody reads that

        def on_step_end(self, iteration: int, trials: Any, **_: Any) -> None:
            self.report_step()

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            self.report_end(trial.trial_id, False)

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            self.report_end(trial.trial_id, True)

    watch = Watch()
    watch.report_step, watch.report_end = on_step, on_end
    return watch


def population_scheduler(seed: int, **options: Any) -> Any:
    """Ray's population based training, in step: whoever is quicker, the same members take over the same settings.

    Ray's own exchanges states when the last live member reports, whatever the others do: never if that one ends or dies
    on the way, and while a state is being written. It draws from the global random numbers, as Ray's event loop does
    after each event. Here members exchange when all are paused, with random numbers of the exchange.
    """
    from ray.tune.schedulers import PopulationBasedTraining

    class Population(PopulationBasedTraining):
        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            epoch = result[self._time_attr]
            if epoch < self._next_perturbation_sync:
                return str(self.CONTINUE)
            self._save_trial_state(self._trial_state[trial], epoch, result, trial)
            return str(self.PAUSE)

        def choose_trial_to_run(self, tune_controller: Any) -> Any:
            live = [trial for trial in tune_controller.get_trials() if not trial.is_finished()]
            times = [self._trial_state[trial].last_train_time for trial in live if trial.status == "PAUSED"]
            if times and len(times) == len(live) and min(times) >= self._next_perturbation_sync:
                self._exchange(tune_controller, max(times))
            return super().choose_trial_to_run(tune_controller)

        def _exchange(self, tune_controller: Any, epoch: int) -> None:
            random.seed(f"{seed} {epoch}")
            lower, upper = self._quantiles()
            for trial in (*upper, *lower):
                self._checkpoint_or_exploit(trial, tune_controller, upper, lower)
            every = self._perturbation_interval
            self._next_perturbation_sync = (epoch // every + 1) * every

        def _get_new_config(self, trial: Any, trial_to_clone: Any) -> Any:
            """Other settings than the state's owner has: with the same, it would be trained twice."""
            for _ in range(_MOST_DRAWS):
                drawn = super()._get_new_config(trial, trial_to_clone)
                if drawn[0] != trial_to_clone.config:
                    break
            return drawn

    return Population(synch=True, log_config=False, **options)


def out_of_memory(error: BaseException) -> str | None:
    """What Ray says of a process that it killed when memory was short, if that is what an error comes from.

    Ray Tune takes such a death of a trial for a fault of its own and ends the search with it.
    """
    from ray.exceptions import OutOfMemoryError

    return next((str(cause) for cause in _causes(error) if isinstance(cause, OutOfMemoryError)), None)


def full_disk(error: BaseException) -> str | None:
    """What the system says of a full disk, if Ray met one with its own files."""
    full = (errno.ENOSPC, errno.EDQUOT)
    return next((c.strerror for c in _causes(error) if isinstance(c, OSError) and c.errno in full), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
