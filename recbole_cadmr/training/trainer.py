"""The trainer of every run: RecBole's, with safe checkpoints, exact resuming and a history of validations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from time import perf_counter
from typing import Any

import recbole.trainer
import torch
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.model.abstract_recommender import AbstractRecommender, GeneralRecommender
from recbole.utils import get_trainer as get_recbole_trainer

from recbole_cadmr.compat.recbole import tensorboard_in
from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import ModelError, UserError
from recbole_cadmr.layers.shared_batch import rank
from recbole_cadmr.memory import freed_memory_kept
from recbole_cadmr.models.contract import traits
from recbole_cadmr.models.registry import described_by
from recbole_cadmr.training.callbacks import TrainingCallback
from recbole_cadmr.training.checkpoint import save_checkpoint
from recbole_cadmr.training.contents import RunContent, Validation
from recbole_cadmr.training.data_parallel import SharedEvaluator, own_users, start_epoch
from recbole_cadmr.training.learning_rate import share_of_rate
from recbole_cadmr.training.refusals import check_weights, checked_loss
from recbole_cadmr.training.resumable_trainer import ResumableTrainer
from recbole_cadmr.training.stages import Stage


class RunTrainer(ResumableTrainer):
    """Mixed in before a trainer of RecBole's, this makes its run one that can be interrupted and resumed exactly.

    It leaves RecBole's ``fit`` alone and works through what ``fit`` calls: ``_train_epoch`` (writes ``resume.pt``
    before the epoch), ``_valid_epoch`` (records and logs), ``_save_checkpoint`` (writes ``model.pt``) and
    ``evaluate`` (reads it).

    Attributes:
        callbacks: what is called on the way; add to it before ``fit``.
    """

    optimizer: Any
    epochs: int
    eval_step: int

    def __init__(
        self,
        config: Config,
        model: GeneralRecommender,
        train_data: AbstractDataLoader,
        metadata: Mapping[str, Any],
        construction: float = 0.0,
    ) -> None:
        events = Path(config["checkpoint_dir"]) / "log_tensorboard" if "tensorboard" in config["tracker"] else None
        with tensorboard_in(events):
            super().__init__(config, model, train_data, metadata, construction)
        self.evaluator = SharedEvaluator(config)
        self.callbacks: list[TrainingCallback] = []
        self._losses: dict[str, float] = {}
        self._trained_for = 0.0  # seconds since the last validation

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy or pickle, by the model's class: that of the trainer may have been made for it."""
        return _blank_trainer, (type(self.model),), vars(self)

    @classmethod
    def most_epochs(cls, config: Mapping[str, Any]) -> int:
        """Epochs that a run may have, over all phases."""
        return 1 if issubclass(cls, recbole.trainer.trainer.TraditionalTrainer) else int(config["epochs"])

    @classmethod
    def stages(cls, config: Config, best: RunContent, history: Sequence[Validation]) -> list[Stage]:
        """The way from the beginning to the best epoch of a finished run, as a final run is to repeat it.

        Args:
            best: content of its ``model.pt``.
        """
        return [Stage(best["phase"], 0, best["epoch"] + 1)]

    @classmethod
    def settings_at(cls, config: Config, epoch: int) -> dict[str, Any]:
        """Settings of which an epoch tries one of several values, by the value that it tries."""
        return {}

    @property
    def scheduled_epochs(self) -> int:
        """Epochs of the present phase by its settings, however many are trained."""
        return int(self.config["epochs"])

    # Training

    def fit(self, train_data: Any, valid_data: Any = None, **options: Any) -> tuple[float, dict[str, float] | None]:
        """Train as RecBole's ``fit`` does (same arguments and result); the best model is always saved."""
        options |= {"verbose": False, "saved": True}  # what is logged, this class logs
        self.eval_step = min(self.eval_step, max(self.epochs, 1))  # what has one epoch is validated after it
        if (final := self._final_epochs()) is not None:
            self.epochs = min(self.epochs, self._first_epoch + final)
        self.ensure_optimizer()
        with self._refusals("train"):
            score, result = super().fit(train_data, valid_data, **options)
        return float(score), result

    def _final_epochs(self) -> int | None:
        """Epochs of the present phase of a final run; None of another run."""
        return None if self.config.final is None else self.config.final["epochs"].get(self.phase)

    def take_choices(self, best: RunContent) -> None:
        """Take over what a model has chosen on validation by itself from the ``model.pt`` of another run.

        Raises:
            UserError: if that was edited.
        """

    def _train_epoch(self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False) -> Any:
        self.epoch = epoch_idx
        self.take_pending(train_data)
        if self._is_state_due():
            self.save_state()
        for callback in self.callbacks:
            callback.on_epoch_start(self, epoch_idx)
        loss_func = checked_loss(self.model, start_epoch(self) or loss_func)
        self._set_learning_rate(epoch_idx)
        start = perf_counter()
        with freed_memory_kept():
            self.hooks.before_epoch()
            losses = super()._train_epoch(train_data, epoch_idx, loss_func=loss_func, show_progress=show_progress)
        seconds = perf_counter() - start
        self.seconds[self.phase] = self.seconds.get(self.phase, 0.0) + seconds
        self._losses = self._named(losses, len(train_data))
        if self.config.final is not None or self.eval_step <= 0 or (epoch_idx + 1) % self.eval_step:
            begin = f"epoch {epoch_idx:>4} {self.phase}"
            self.logger.info(
                f"{begin}  {_numbers(self._losses)}  {seconds:.1f}s",
                extra={"screen": f"{begin}  {_brief(self._losses)}  {seconds:.1f}s"},
            )
        self._trained_for += seconds
        return losses

    def _set_learning_rate(self, epoch: int) -> None:
        """The learning rate of ``epoch`` by the setting ``learning_rate_schedule``."""
        schedule = self.config["learning_rate_schedule"]
        if schedule == "constant":
            return
        share = share_of_rate(schedule, epoch - self._first_epoch, self.scheduled_epochs)
        for group in (group for optimizer in self._optimizers().values() for group in optimizer.param_groups):
            group["lr"] = share * group.setdefault("initial_lr", group["lr"])

    def _check_nan(self, loss: torch.Tensor) -> None:
        if not torch.isfinite(loss):
            raise ModelError(f"the training loss is {float(loss.detach())} in epoch {self.epoch}; lower learning_rate")

    def _named(self, losses: Any, n_batches: int) -> dict[str, float]:
        """Mean losses a batch, by component."""
        parts = losses if isinstance(losses, tuple) else (losses,)
        default = tuple(f"loss{i}" for i in range(len(parts))) if len(parts) > 1 else ("loss",)
        names = self.hooks.loss_names or default
        return {name: float(part) / max(n_batches, 1) for name, part in zip(names, parts)}

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> tuple[float, dict[str, float]]:
        start = perf_counter()
        score, result = super()._valid_epoch(valid_data, show_progress=show_progress)
        seconds = perf_counter() - start
        diagnostics = self.hooks.diagnostics()
        better = score >= self.best_valid_score if self.valid_metric_bigger else score <= self.best_valid_score
        entry: Validation = {
            "epoch": self.epoch,
            "phase": self.phase,
            "losses": dict(self._losses),
            "valid_score": float(score),
            "valid_result": {name: float(value) for name, value in result.items()},
            "diagnostics": {name: float(value) for name, value in diagnostics.items()},
            "seconds": sum(self.seconds.values()),
        }
        self.history.append(entry)
        rank = f"{self.valid_metric} {score:.4f}{' *' if better else '  '}"
        begin, took = f"epoch {self.epoch:>4} {self.phase}", self._trained_for + seconds
        self._trained_for = 0.0
        self.logger.info(
            f"{begin}  {_numbers(self._losses)}  {rank}  {_numbers(diagnostics)}  {took:.1f}s",
            extra={"screen": f"{begin}  {_brief(self._losses)}  {rank}  {took:.1f}s"},
        )
        for callback in self.callbacks:
            callback.on_validation(self, entry)
        return float(score), result

    # Checkpoints

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        final = self._final_epochs()
        if final is not None and epoch - self._first_epoch + 1 != final:
            return  # there is no validation: RecBole would save every epoch
        check_weights(self.model, self.config)
        if rank():
            return
        best = {"epoch": epoch, "phase": self.phase, "best_valid_score": float(self.best_valid_score)}
        save_checkpoint(self.saved_model_file, {**self.metadata, **best, **self.model_state()})

    # Evaluation

    @torch.no_grad()
    def evaluate(
        self, eval_data: Any, load_best_model: bool = True, model_file: Any = None, show_progress: bool = False
    ) -> dict[str, float] | None:
        """RecBole's evaluation and result; the best model is read from this package's checkpoint."""
        if not eval_data:
            return None
        if load_best_model:
            self.load_best()
        start = perf_counter()
        result = super().evaluate(own_users(eval_data), load_best_model=False, show_progress=show_progress)
        self.seconds["evaluation"] += perf_counter() - start
        self.evaluations += 1
        return {name: float(value) for name, value in result.items()}


def get_trainer(model_class: type[AbstractRecommender]) -> type[RunTrainer]:
    """The trainer class of a model: the package's or RecBole's own for it, made resumable.

    Raises:
        UserError: if RecBole trains the model in stages with checkpoints of its own (RaCT).
    """
    if own := traits(model_class).trainer:
        base: type = resolve_name(own)
    else:
        base = get_recbole_trainer(model_class.type, described_by(model_class.__name__))
    if issubclass(base, recbole.trainer.trainer.PretrainTrainer):
        raise UserError(
            f"{model_class.__name__} is trained in stages that hand pickles to each other, which are not read here"
        )
    return base if issubclass(base, RunTrainer) else type(f"Run{base.__name__}", (RunTrainer, base), {})


def _blank_trainer(model_class: type[AbstractRecommender]) -> RunTrainer:
    """A trainer of a model's class that is still to get its state."""
    trainer_class = get_trainer(model_class)
    return trainer_class.__new__(trainer_class)


def _brief(losses: Mapping[str, float]) -> str:
    """Losses as one number: their sum, of several."""
    return f"loss {sum(losses.values()):<6.4g}" if losses else " " * len("loss 0.1234")


def _numbers(values: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.4g}" for name, value in values.items())
