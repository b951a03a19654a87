"""Training of CADMR with a softmax objective, and the weight of its attention."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

from recbole_cadmr.training.closed_form_trainer import ClosedFormTrainer


class SoftmaxTrainer(ClosedFormTrainer):
    """Trains the attention, then chooses its weight beside the closed form.

    Validations in training go by the first of ``attention_weights``; at the end the best epoch is scored with each,
    with none of the attention, and also beside the closed form by the settings as given where it has chosen others.
    The best of these on validation is kept in the model.
    """

    _choosing = False
    best_valid_score: float

    @property
    def phase(self) -> str:
        """``training``, or ``weight`` while the weight is chosen."""
        return "weight" if self._choosing else "training"

    def fit(self, train_data: Any, valid_data: Any = None, **options: Any) -> tuple[float, dict[str, float] | None]:
        """As RecBole's ``fit``, with the weight chosen at the end."""
        score, result = super().fit(train_data, valid_data, **options)
        weights = self.model.attention_weights
        if not (valid_data and self.history and weights[1:]):
            return score, result
        self.load_best()
        self.epoch = max(entry["epoch"] for entry in self.history if entry["valid_score"] == score)
        self._choosing, self._losses = True, {}
        beside = [self.model.chosen]
        if self.model.choices().get("settings"):
            beside.append(json.dumps({**self.model.choices(), "settings": {}}))
        best = beside[0], weights[0]
        for chosen, weight in product(beside, [*weights, 0.0]):
            if (chosen, weight) == (beside[0], weights[0]):
                continue  # measured in training
            self.model.chosen = chosen
            self.model.attention_weight.fill_(weight)
            score, result = self._valid_epoch(valid_data, options.get("show_progress", False))
            if score != self.best_valid_score and (score > self.best_valid_score) == self.valid_metric_bigger:
                best, self.best_valid_score, self.best_valid_result = (chosen, weight), score, result
        self.model.chosen = best[0]
        self.model.attention_weight.fill_(best[1])
        self._choosing = False
        self._save_checkpoint(self.epoch)
        return float(self.best_valid_score), self.best_valid_result
