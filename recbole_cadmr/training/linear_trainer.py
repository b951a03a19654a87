"""Fits in closed form: one epoch for each value of reg_weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import UserError
from recbole_cadmr.models.linearcadmr import LinearCADMR
from recbole_cadmr.training.closed_form_trainer import ClosedFormTrainer
from recbole_cadmr.training.contents import RunContent, Validation
from recbole_cadmr.training.stages import Stage


class LinearTrainer(ClosedFormTrainer):
    """Fits LinearCADMR once, or once for each value of ``reg_weight``, the best of which is kept."""

    def __init__(self, config: Config, model: LinearCADMR, *data: Any) -> None:
        super().__init__(config, model, *data)
        self.epochs = len(model.reg_weights)
        self.eval_step = min(config["eval_step"], 1)
        self.stopping_step = self.epochs
        self.weight_decay = 0.0  # there are no steps; RecBole would multiply it by reg_weight, which may be a list

    @classmethod
    def most_epochs(cls, config: Mapping[str, Any]) -> int:
        """One for each value of ``reg_weight``."""
        values = config["reg_weight"]
        return len(values) if isinstance(values, (list, tuple)) else 1

    @classmethod
    def stages(cls, config: Config, best: RunContent, history: Sequence[Validation]) -> list[Stage]:
        """One fit."""
        return [Stage(best["phase"], best["epoch"], 1)]

    @classmethod
    def settings_at(cls, config: Config, epoch: int) -> dict[str, Any]:
        """The ridge of an epoch."""
        values = config["reg_weight"]
        return {"reg_weight": values[epoch]} if isinstance(values, (list, tuple)) else {}

    def fit(self, train_data: Any, valid_data: Any = None, **options: Any) -> tuple[float, dict[str, float] | None]:
        """As RecBole's ``fit``.

        Raises:
            UserError: if there are several values and no validation to choose by.
        """
        if self.epochs > 1 and not (valid_data and self.eval_step):
            raise UserError("several values of reg_weight need a validation to choose by; give one value")
        return super().fit(train_data, valid_data, **options)

    def load_model_state(self, state: Mapping[str, Any]) -> None:
        """As for any model; its closed form has the ridge that it was fitted by."""
        super().load_model_state(state)
        if not self.model.chosen:
            self.model.closed_form.settings["reg_weight"] = self.model.reg_weight

    def _train_epoch(self, train_data: Any, epoch_idx: int, *args: Any, **options: Any) -> Any:
        self.model.reg_weight = self.model.reg_weights[epoch_idx]
        return super()._train_epoch(train_data, epoch_idx, *args, **options)
