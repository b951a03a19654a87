"""Two-phase training of CADMR: the autoencoder alone, then the autoencoder behind the cross-attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recbole_cadmr.config.config import Config
from recbole_cadmr.training.contents import ResumeContent, RunContent, Validation
from recbole_cadmr.training.stages import Stage
from recbole_cadmr.training.trainer import RunTrainer


class CADMRTrainer(RunTrainer):
    """Pre-training, then fine-tuning from the best pre-trained epoch; each stops early on validation.

    Each phase is one call of RecBole's ``fit`` with its own epochs, learning rate and patience; the epochs of
    fine-tuning are counted on from those of pre-training, so that both lie on one time axis. Fine-tuning begins with
    a validation of its starting point, which is the first candidate for the best model: with a gate of 0 it is the
    pre-trained model itself, so fine-tuning that does not help costs nothing.
    """

    @classmethod
    def most_epochs(cls, config: Mapping[str, Any]) -> int:
        """Those of both phases."""
        return int(config["pretrain_epochs"]) + int(config["epochs"])

    @classmethod
    def stages(cls, config: Config, best: RunContent, history: Sequence[Validation]) -> list[Stage]:
        """Pre-training to its own best epoch, the last of equals, and fine-tuning from there."""
        scores = {
            phase: [
                (e["epoch"], e["valid_score"]) for e in history if e["phase"] == phase and e["valid_score"] is not None
            ]
            for phase in ("pretrain", "finetune")
        }
        n_pretrain = first = int(config["pretrain_epochs"])
        if scores["pretrain"]:
            sign = 1 if config["valid_metric_bigger"] else -1
            n_pretrain = max(scores["pretrain"], key=lambda entry: (sign * entry[1], entry[0]))[0] + 1
        if n_pretrain and scores["finetune"]:
            first = scores["finetune"][0][0] + 1  # the validation of its starting point has the epoch before
        return [Stage("pretrain", 0, n_pretrain), Stage("finetune", first, max(best["epoch"] + 1 - first, 0))]

    @property
    def scheduled_epochs(self) -> int:
        """Of the present phase."""
        return int(self.config[f"{self._prefix}epochs"])

    def fit(self, train_data: Any, valid_data: Any = None, **options: Any) -> tuple[float, dict[str, float] | None]:
        """Both phases; arguments and result as RecBole's ``fit``. A phase of no epochs is skipped."""
        if self._pending is None:
            self._start("pretrain", 0)
        if self.phase == "pretrain":
            if self.start_epoch < self.epochs:
                super().fit(train_data, valid_data, **options)
                self.load_best()
                self._start("finetune", self.epoch + 1)
            else:
                self._start("finetune", 0)
            self._judge_start(valid_data, options)
        return super().fit(train_data, valid_data, **options)

    def _start(self, phase: str, epoch: int) -> None:
        """Begin ``phase``, whose first epoch is number ``epoch``, with a new optimiser and full patience."""
        self.model.set_phase(phase)
        self.stopping_step = self.config[f"{self._prefix}stopping_step"]
        self.eval_step = min(self.config["eval_step"], max(self.config[f"{self._prefix}epochs"], 1))
        self.start_epoch = self._first_epoch = epoch
        self.epochs = epoch + self.config[f"{self._prefix}epochs"]
        self.optimizer = self._build_optimizer(
            params=self.model.phase_parameters(), learning_rate=self.config[f"{self._prefix}learning_rate"]
        )
        self.cur_step = 0
        self.best_valid_score = -np.inf if self.valid_metric_bigger else np.inf
        self.best_valid_result: dict[str, float] | None = None
        self._losses = {}

    @property
    def _prefix(self) -> str:
        return "pretrain_" if self.phase == "pretrain" else ""

    def _judge_start(self, valid_data: Any, options: dict[str, Any]) -> None:
        if valid_data and self.eval_step > 0:
            judged = self._valid_epoch(valid_data, options.get("show_progress", False))
            self.best_valid_score, self.best_valid_result = judged
        self._save_checkpoint(self.start_epoch - 1)

    def restore(self, state: ResumeContent, history: Sequence[Validation]) -> None:
        """As :meth:`RunTrainer.restore`; the optimiser is first made that of the phase."""
        if state["phase"] not in ("pretrain", "finetune"):
            raise ValueError(f"there is no phase {state['phase']!r}")
        self._start(state["phase"], state["epoch"])
        super().restore(state, history)
