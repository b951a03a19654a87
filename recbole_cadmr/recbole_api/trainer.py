"""The trainer that RecBole's functions get, which becomes one of this package's once it is given data."""

from __future__ import annotations

import copy
import os
import tempfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import recbole.trainer

from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import path_of
from recbole_cadmr.recbole_api.prepared import Prepared
from recbole_cadmr.runs.folder import RunFolder, create_run_folder
from recbole_cadmr.runs.history import HistoryWriter
from recbole_cadmr.runs.session import (
    checkpoint_metadata,
    load_model,
    read_checkpoint,
    refuse_other_data,
    set_up_process,
)
from recbole_cadmr.runs.trackers import tracking
from recbole_cadmr.training.trainer import RunTrainer, get_trainer


class DeferredTrainer(recbole.trainer.Trainer):
    """RecBole's ``Trainer(config, model)`` for settings of this package's.

    What it trains lies in a run folder under the setting ``checkpoint_dir``, or ``output``, like that of any run:
    ``model.pt``, ``resume.pt`` and ``history.jsonl``. What belongs to a whole run (``result.json``, curves) is written
    by ``recbole_cadmr.train`` alone.

    Attributes:
        trainer: the trainer that it has become, whose attributes it has, too; None before there are data.
    """

    def __init__(self, config: Config, model: Any) -> None:
        self.trainer: RunTrainer | None = None
        self.config, self.model = config, model
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def __getattr__(self, name: str) -> Any:
        trainer = vars(self).get("trainer")
        if trainer is None:
            raise AttributeError(f"the trainer has no {name} before it is given data by fit or evaluate")
        return getattr(trainer, name)

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Any = None,
    ) -> tuple[float, dict[str, float] | None]:
        """Train as RecBole's ``fit`` does (same arguments and result).

        Args:
            saved: whether the best model is kept; else it is the last one that is evaluated.

        Raises:
            UserError: if the data were not prepared with the same settings, or one would have no effect.
        """
        if self.config["settings_schedule"]:
            raise UserError("settings_schedule is for recbole_cadmr.train; leave it out, or train by that")
        set_up_process(self.config)
        self.trainer = self._made(train_data, saved)
        if saved:
            self.trainer.callbacks.append(HistoryWriter(RunFolder(self.trainer.folder).history))
        try:
            with tracking(self.trainer, self.config["tracker"] if saved else []) as trackers:
                self.trainer.callbacks += trackers
                return self.trainer.fit(train_data, valid_data, show_progress=show_progress, callback_fn=callback_fn)
        finally:
            self.trainer.tensorboard.close()

    def evaluate(
        self,
        eval_data: Any,
        load_best_model: bool = True,
        model_file: str | os.PathLike[str] | None = None,
        show_progress: bool = False,
    ) -> dict[str, float] | None:
        """RecBole's ``evaluate`` (same arguments and result); the protocol is this package's.

        Args:
            model_file: a ``model.pt`` that was trained on the same data; the best model of this training if not given.

        Raises:
            UserError: if there is no such model, or it belongs to other data.
        """
        if self.trainer is None:
            if load_best_model and model_file is None:
                raise UserError("nothing has been trained; give model_file, or load_best_model=False")
            self.trainer = self._made(eval_data, saved=False)
        if load_best_model and model_file is not None:
            self._load(self.trainer, path_of(model_file, "model_file"), _prepared(eval_data))
            load_best_model = False
        return self.trainer.evaluate(eval_data, load_best_model, show_progress=show_progress)

    def resume_checkpoint(self, resume_file: Any) -> None:
        """Refuse what RecBole's does: a run is resumed whole."""
        raise UserError("a run is resumed by recbole_cadmr.resume(FOLDER), which holds its resume.pt")

    def _load(self, trainer: RunTrainer, file: Path, prepared: Prepared) -> None:
        content = read_checkpoint(file)
        if content["model"] != self.config["model"]:
            raise UserError(f"{file} is of {content['model']}, not of {self.config['model']}")
        refuse_other_data(self.config, prepared.fingerprint, content["fingerprint"], file)
        load_model(trainer, content, file)

    def _made(self, data: Any, saved: bool) -> RunTrainer:
        prepared = _prepared(data)
        if saved:
            name = f"{self.config['model']}-{self.config['dataset']}"
            folder = create_run_folder(self.config["output"], self.config["checkpoint_dir"], name).path
        else:
            self._scratch = tempfile.TemporaryDirectory(prefix="recbole_cadmr-", ignore_cleanup_errors=True)
            folder = Path(self._scratch.name)
        config = copy.copy(self.config)  # RecBole's trainer takes the folder from the settings
        config.final_config_dict = {**self.config.final_config_dict, "checkpoint_dir": str(folder)}
        metadata = checkpoint_metadata(self.config, prepared.fingerprint, uuid4().hex)
        return get_trainer(type(self.model))(config, self.model, prepared.train_data, metadata)


def _prepared(data: Any) -> Prepared:
    prepared = getattr(data, "prepared", None)
    if not isinstance(prepared, Prepared):
        raise UserError("a trainer by a Config of recbole_cadmr takes the loaders of data_preparation with this Config")
    return prepared
