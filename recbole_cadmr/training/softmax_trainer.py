"""Training of CADMR with a softmax objective, and the weight of its attention."""

from __future__ import annotations

from typing import Any

from recbole_cadmr.training.trainer import RunTrainer


class SoftmaxTrainer(RunTrainer):
    """Trains the attention, then chooses its weight beside the closed form.

    Validations in training go by the first of ``attention_weights``; at the end the best epoch is scored with each,
    and the best of them on validation is kept in the model.
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
        others = self.model.attention_weights[1:]
        if not (valid_data and self.history and others):
            return score, result
        self.load_best()
        self.epoch = max(entry["epoch"] for entry in self.history if entry["valid_score"] == score)
        self._choosing, self._losses = True, {}
        best = self.model.attention_weights[0]
        for weight in others:
            self.model.attention_weight.fill_(weight)
            score, result = self._valid_epoch(valid_data, options.get("show_progress", False))
            if score != self.best_valid_score and (score > self.best_valid_score) == self.valid_metric_bigger:
                best, self.best_valid_score, self.best_valid_result = weight, score, result
        self.model.attention_weight.fill_(best)
        self._choosing = False
        self._save_checkpoint(self.epoch)
        return float(self.best_valid_score), self.best_valid_result
