"""Train a run's choices once more on all interactions: the model to recommend with, which no metric can be had of."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_cadmr.config.rules import OF_MACHINE
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import path_of, sha256_of
from recbole_cadmr.models.own import refuse_other, take_in
from recbole_cadmr.runs.folder import RunFolder
from recbole_cadmr.runs.result import RunResult, check_model, read_result
from recbole_cadmr.runs.session import read_checkpoint, restore_config
from recbole_cadmr.runs.train import Run, train_in
from recbole_cadmr.training.callbacks import TrainingCallback
from recbole_cadmr.training.contents import Final, RunContent
from recbole_cadmr.training.stages import on_the_way
from recbole_cadmr.training.trainer import get_trainer

_NOT_OF_FINAL = ("data_path", "output", "checkpoint_dir", "save_lists", "tracker")
_FREE = tuple(name for name in OF_MACHINE if name not in _NOT_OF_FINAL)


def train_final(
    run: str | os.PathLike[str] | Run,
    *,
    output: str | os.PathLike[str] | None = None,
    data_path: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    model: str | type | None = None,
    callbacks: Sequence[TrainingCallback] = (),
    verbose: bool = False,
) -> Run:
    """Train with the settings of a finished run, for as many epochs as its best one took, on all interactions.

    What the run chose on validation (settings of a closed form, of its attention and its weight, one of several values
    of ``reg_weight``) is taken over. There is no validation, no early stop and no test: the ``result.json`` says
    ``final`` and holds no metric, and nothing that compares runs takes it.

    Args:
        run: the folder of the finished run, or what :func:`train` returned.
        output: folder of the final run; if not given, a new one under ``saved``.
        data_path: where the data set lies, if no longer where the run was trained.
        settings: such as no result depends on: ``threads``, ``use_gpu``, ``show_progress``, ...
        model: the class, of a run of a model of your own, as of :func:`train`.
        callbacks, verbose: as of :func:`train`.

    Raises:
        UserError: if the run is not finished, lacks its best model, is a final run, had settings changed on its way of
            which it has no record, or was trained on other data than there are now.
    """
    settings, own = settings or {}, take_in(model)
    if other := next((name for name in settings if name not in _FREE), None):
        raise UserError(f"a final run has the settings of its run; leave out `{other}`")
    folder = RunFolder(run.folder if isinstance(run, Run) else path_of(run, "run"))
    if not folder.path.is_dir():
        raise UserError(f"there is no run folder {folder.path}; give the folder of a finished run")
    result = read_result(folder.path)
    refuse_other(own, result["model"])
    if not folder.best.is_file():
        raise UserError(
            f"{folder.path} holds no {folder.best.name}: a search keeps that of its best trial alone; train with the "
            f"settings again, and give that run"
        )
    check_model(folder.path, result)
    place = None if data_path is None else path_of(data_path, "data_path")
    best = read_checkpoint(folder.best)
    config = restore_config(_begun_as(folder, best, result, place), place, settings)
    return train_in(config, output, callbacks, choices=best, verbose=verbose)


def _begun_as(folder: RunFolder, best: RunContent, result: RunResult, data_path: Path | None) -> RunContent:
    """The ``model.pt`` of a run as if it were that of a final run: how far that trains, with which settings from when.

    Raises:
        UserError: if it does not say.
    """
    if "epoch" not in best or "phase" not in best:
        raise UserError(f"{folder.best} is of an earlier version, which did not keep its epoch; train the model again")
    if named := best.get("changed_when_resumed"):
        raise UserError(
            f"settings of {folder.path} were changed during training ({', '.join(named)}), as a search by "
            f"population based training does; train with its best.yaml, and give that run"
        )
    config = restore_config(best, data_path)
    trainer = get_trainer(config.model_class)
    stages = trainer.stages(config, best, result["history"])
    schedule = config["settings_schedule"] or {}
    past = {name for epoch, changes in schedule.items() if epoch <= best["epoch"] for name in changes}
    if past and "before_schedule" not in best:
        raise UserError(
            f"{folder.best} is of an earlier version, which did not keep what {', '.join(sorted(past))} was before "
            f"settings_schedule changed it; train the model again"
        )
    shortened = on_the_way(schedule, stages)
    begun = {
        **best.get("before_schedule", {}),
        **trainer.settings_at(config, best["epoch"]),
        **shortened.pop(0, {}),
        "settings_schedule": shortened or None,
    }
    changed = {name: begun.get(name, value) for name, value in config.changed.items()}
    if not shortened:
        changed.pop("settings_schedule", None)
    final: Final = {
        "run": best.get("id"),
        "checkpoint_sha256": sha256_of(folder.best),
        "data": best["fingerprint"],
        "epochs": {stage.phase: stage.epochs for stage in stages},
    }
    settings = {name: value for name, value in config.plain_settings().items() if name not in past}
    return {**best, "settings": {**settings, **begun}, "changed": changed, "final": final}
