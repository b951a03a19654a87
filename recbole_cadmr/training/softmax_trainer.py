"""Training of CADMR with a softmax objective: trainings with several settings, and the weight of the attention."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from recbole_cadmr.config.config import Config
from recbole_cadmr.formatting import text_of
from recbole_cadmr.models.softmaxcadmr import SoftmaxCADMR
from recbole_cadmr.training.attention_trials import Training, best_training, following_settings
from recbole_cadmr.training.attention_weight import AttentionWeight
from recbole_cadmr.training.closed_form_trainer import ClosedFormTrainer, held_out_of
from recbole_cadmr.training.contents import RunContent, Validation
from recbole_cadmr.training.stages import Stage
from recbole_cadmr.training.trainer import RunTrainer

_WORK = 2e7  # steps times items of all trainings together; of more, the first alone


class SoftmaxTrainer(ClosedFormTrainer):
    """Trains the attention, with the settings as given and then with others; the best on validation is kept.

    Every training starts from the same parameters and stops early by itself; which settings come next follows by
    coordinate descent along their ladders. Every validation chooses the weight of the attention beside the closed
    form. At the end the best epoch of all is scored without the attention, too, and by the other settings of the
    closed form, those that it found or those given, with and without it; again the best is kept, but no attention
    that is better than none by chance alone.
    """

    model: SoftmaxCADMR
    epochs: int
    best_valid_score: float
    best_valid_result: dict[str, float] | None
    _choosing = False
    _weight: AttentionWeight | None = None

    def __init__(self, config: Any, model: SoftmaxCADMR, *data: Any) -> None:
        super().__init__(config, model, *data)
        self._start = deepcopy(model.state_dict())
        if self.eval_step > 0:  # what comes after the last validation of a training would never be kept
            self.epochs -= self.epochs % self.eval_step
        self._n_epochs = self.epochs
        work = self.epochs * len(self._train_data) * model.n_items
        schedule = "settings_schedule" in config.final_config_dict and config["settings_schedule"]
        most = 1 if schedule or not model.free or config.final is not None else config["attention_trials"]
        self._trials = max(1, min(most, int(_WORK / max(work, 1))))
        if self._trials < most:
            self.logger.info(
                f"attention: {self._trials} of {most} trainings with different settings, as {self.epochs} epochs take "
                f"{self.epochs * len(self._train_data):,} steps over {model.n_items - 1:,} items"
            )

    @classmethod
    def most_epochs(cls, config: Mapping[str, Any]) -> int:
        """Those of all trainings."""
        return super().most_epochs(config) * int(config["attention_trials"])

    @classmethod
    def stages(cls, config: Config, best: RunContent, history: Sequence[Validation]) -> list[Stage]:
        """The training that the best epoch is one of, as if it had been the only one; none where no score is by it."""
        trainings = [(entry["epoch"], entry["phase"]) for entry in history if entry["phase"] != "weight"]
        own = next((phase for epoch, phase in trainings if epoch == best["epoch"]), "")
        before = [epoch for epoch, phase in trainings if epoch < best["epoch"] and phase != own]
        first = max(before, default=-1) + 1  # the last epoch of a training is validated
        is_left_out = not best["state_dict"]["attention_weight"].any()
        return [Stage("training", first, 0 if is_left_out else max(best["epoch"] + 1 - first, 0))]

    @property
    def scheduled_epochs(self) -> int:
        """Of the present training."""
        return self._n_epochs

    @property
    def phase(self) -> str:
        """``training``, ``training 2`` and so on; ``weight`` at the end."""
        return "weight" if self._choosing else _phase(len(self._done) + 1)

    @property
    def _done(self) -> list[Training]:
        """Settings and best score of the trainings that are over."""
        return [(settings, score) for settings, score in self.model.choices().get("done", [])]

    def fit(self, train_data: Any, valid_data: Any = None, **options: Any) -> tuple[float, dict[str, float] | None]:
        """As RecBole's ``fit``, for all trainings, with a last choice at the end."""
        if self._final_epochs() == 0:
            self.logger.info("attention: not trained, as the run left it out (attention_weight 0)")
        score, result = super().fit(train_data, valid_data, **options)
        alone = self._trials == 1 and not self.model.attention_weights[1:]
        if alone or not (self.history and valid_data):
            return score, result
        while self._start_next():
            RunTrainer.fit(self, train_data, valid_data, **options)  # the closed form has chosen already
        return self._choose(valid_data, options.get("show_progress", False))

    def take_choices(self, best: RunContent) -> None:
        """Those of the closed form and of the attention, and the attention's weight."""
        super().take_choices(best)
        self.model.attention_weight.fill_(float(best["state_dict"]["attention_weight"]))

    def load_model_state(self, state: Mapping[str, Any]) -> None:
        """As of a closed form.

        Raises:
            ValueError: if its closed form was fitted sparse in another way, so that scores would be others.
        """
        super().load_model_state(state)
        if self.model.fit_kind not in (None, "exact", "low rank"):
            raise ValueError("its closed form is a sparse fit of an earlier version; train it again")

    # Trainings

    def _start_next(self) -> bool:
        """Begin the next training, if there is to be one; else give the model what the best came to."""
        own = {name: self.model.own_settings[name] for name in self.model.free}
        choices = self.model.choices()
        done = [*self._done, (choices.get("attention", own), float(self.best_valid_score))]
        following = following_settings(own, done, self.valid_metric_bigger) if len(done) < self._trials else None
        if following is None:
            (settings, self.best_valid_score), n_done = best_training(done, self.valid_metric_bigger), len(done)
            self.load_best()
            phase = _phase(done.index((settings, self.best_valid_score)) + 1)
            found_at = (e for e in self.history if (e["phase"], e["valid_score"]) == (phase, self.best_valid_score))
            entry = max(found_at, key=lambda e: e["epoch"])
            self.epoch = entry["epoch"]
            # Not that of a last choice, if the run was cut after it.
            self.model.attention_weight.fill_(float(entry["diagnostics"]["attention_weight"] or 0.0))
            self.best_valid_result = {name: value for name, value in entry["valid_result"].items() if value is not None}
            found = {"attention": settings, "trials": n_done} if self._trials > 1 else {}
            self._note({name: value for name, value in choices.items() if name not in ("done", "attention")} | found)
            return False
        values = ", ".join(f"{name} {text_of(value)}" for name, value in following.items())
        self.logger.info(f"attention: training {len(done) + 1} of at most {self._trials}, by {values}")
        self._note({**choices, "attention": following, "done": done})
        self.model.load_state_dict(self._start)
        self.start_epoch = self._first_epoch = self.epoch + 1
        self.epochs = self.start_epoch + self._n_epochs
        self.optimizer = self._build_optimizer(learning_rate=self.learning_rate)
        self.cur_step, self._losses = 0, {}
        self.best_valid_score = -np.inf if self.valid_metric_bigger else np.inf
        self.best_valid_result = None
        return True

    def _note(self, choices: Mapping[str, Any]) -> None:
        """Make choices what the model has chosen."""
        self.model.chosen = json.dumps({"settings": {}, "fits": 0, "tried": 0, **choices}) if choices else ""
        self.model.adopt_choices()

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        done = self._done
        now: Training = {}, float(self.best_valid_score)
        if self._choosing or not done or best_training([*done, now], self.valid_metric_bigger) is now:
            super()._save_checkpoint(epoch, verbose, **kwargs)

    # The weight of the attention

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> tuple[float, dict[str, float]]:
        if self.model.attention_weights[1:] and not self._choosing:
            self._weight_by(valid_data).best()
        return super()._valid_epoch(valid_data, show_progress)

    def _weight_by(self, valid_data: Any) -> AttentionWeight:
        if self._weight is None:
            self._weight = AttentionWeight(
                self.model,
                held_out_of(
                    self, valid_data, "attention", "attention_trials=1 and a single one of attention_weights keep"
                ),
            )
        return self._weight

    def _choose(self, valid_data: Any, show_progress: bool) -> tuple[float, dict[str, float] | None]:
        """Whether the attention, and the settings of the closed form beside it, are better than without."""
        self._choosing, self._losses = True, {}
        choices = self.model.choices()
        found = choices.pop("found", None)
        self._note(choices)
        if self.model.attention_weights[1:]:
            best = self.model.chosen, float(self.model.attention_weight)
            beside, attention = [(best[0], 0.0)], self._weight_by(valid_data)
            if not attention.is_clear():
                self.best_valid_score = -np.inf if self.valid_metric_bigger else np.inf
            other = {} if choices.get("settings") else found
            if other is not None:
                self._note({**choices, "settings": other})
                attention.best()
                weights = [float(self.model.attention_weight)] if attention.is_clear() else []
                beside += [(self.model.chosen, weight) for weight in (*weights, 0.0)]
            for chosen, weight in beside:
                self.model.chosen = chosen
                self.model.attention_weight.fill_(weight)
                score, result = self._valid_epoch(valid_data, show_progress)
                if score != self.best_valid_score and (score > self.best_valid_score) == self.valid_metric_bigger:
                    best, self.best_valid_score, self.best_valid_result = (chosen, weight), score, result
            self.model.chosen = best[0]
            self.model.attention_weight.fill_(best[1])
        self._save_checkpoint(self.epoch)
        self._choosing = False
        return float(self.best_valid_score), self.best_valid_result


def _phase(place: int) -> str:
    """Name of a training by its number, from 1 on."""
    return "training" if place == 1 else f"training {place}"
