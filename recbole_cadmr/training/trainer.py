"""The trainer of every run: RecBole's, with safe checkpoints, exact resuming and a history of validations."""

from __future__ import annotations

import math
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
from recbole_cadmr.layers.shared_batch import agreed, rank
from recbole_cadmr.memory import freed_memory_kept
from recbole_cadmr.models.contract import traits
from recbole_cadmr.models.registry import described_by
from recbole_cadmr.training.callbacks import TrainingCallback
from recbole_cadmr.training.checkpoint import BEST, LAST, from_plain, load_checkpoint, save_checkpoint, to_plain
from recbole_cadmr.training.contents import CpuSeconds, Energy, ResumeContent, RunContent, TrainerState, Validation
from recbole_cadmr.training.data_parallel import SharedEvaluator, own_users, start_epoch
from recbole_cadmr.training.energy import energy_between, energy_now
from recbole_cadmr.training.learning_rate import share_of_rate
from recbole_cadmr.training.ranking_trainer import RankingTrainer
from recbole_cadmr.training.refusals import check_weights, checked_loss
from recbole_cadmr.training.stages import Stage
from recbole_cadmr.training.state import (
    AttributeWatch,
    check_progress,
    cpu_now,
    history_hash,
    load_optimizer,
    put_back,
    random_state,
    set_random_state,
)

_OF_SETTINGS = {"lr", "weight_decay"}  # what an optimiser takes from the settings


class RunTrainer(RankingTrainer):
    """Mixed in before a trainer of RecBole's, this makes its run one that can be interrupted and resumed exactly.

    It leaves RecBole's ``fit`` alone and works through what ``fit`` calls: ``_train_epoch`` (writes ``resume.pt``
    before the epoch), ``_valid_epoch`` (records and logs), ``_save_checkpoint`` (writes ``model.pt``) and
    ``evaluate`` (reads it).

    Args:
        train_data: what the model was built from, and is trained on.
        metadata: what every checkpoint of the run carries beside the state.
        construction: seconds that it took to build the model.

    Attributes:
        history: one entry a validation: epoch, phase, losses, metrics, diagnostics, seconds.
        seconds: wall-clock seconds by phase and of evaluation, over all sessions of the run.
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
        self.folder = Path(config["checkpoint_dir"])
        with tensorboard_in(self.folder / "log_tensorboard" if "tensorboard" in config["tracker"] else None):
            super().__init__(config, model, train_data)
        self.evaluator = SharedEvaluator(config)
        self.saved_model_file = str(self.folder / BEST)
        self.metadata = metadata
        self.history: list[Validation] = []
        self.callbacks: list[TrainingCallback] = []
        # Building is part of training: RecBole's EASE and ItemKNN fit themselves there.
        self.seconds: dict[str, float] = {"evaluation": 0.0, "construction": construction}
        self.evaluations = 0
        self.epoch = 0
        self._first_epoch = 0
        self._losses: dict[str, float] = {}
        self._cpu_before: CpuSeconds = {"process": 0.0, "children": 0.0}  # of sessions before this one
        self._energy_before: Energy | None = None
        self.count_from(cpu_now(), energy_now())
        self._trained_for = 0.0  # seconds since the last validation
        self._attributes = AttributeWatch(model)
        # Random states that `restore` has read. They are set when the first epoch starts, whatever draws before it.
        self._pending: dict[str, Any] | None = None
        self._saved_at = -math.inf

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

    @property
    def phase(self) -> str:
        """Name of the phase that training is in."""
        return self.hooks.phase

    def count_from(self, cpu: CpuSeconds, energy: Energy | None) -> None:
        """Count what this session takes from an earlier :func:`cpu_now` and :func:`energy_now`."""
        self._cpu_start, self._energy_start = cpu, energy

    @property
    def cpu_seconds(self) -> CpuSeconds:
        """Seconds of processors over all sessions of the run, reading its data included."""
        before, start, now = self._cpu_before, self._cpu_start, cpu_now()
        return {
            "process": before["process"] + now["process"] - start["process"],
            "children": before["children"] + now["children"] - start["children"],
        }

    @property
    def energy(self) -> Energy | None:
        """What all sessions of the run took; None where it is not measured."""
        return energy_between(self._energy_start, energy_now(), self._energy_before)

    # Training

    def _build_optimizer(self, **kwargs: Any) -> torch.optim.Optimizer | None:
        if not kwargs and "optimizer" not in vars(self):
            return None  # RecBole's constructor asks; what scores only needs none, and torch takes 2 s to import for it
        optimizer = super()._build_optimizer(**kwargs)
        if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW):
            return optimizer
        # Fused: one pass over the parameters instead of a dozen, which is a quarter of a step on a CPU.
        (group,) = optimizer.param_groups
        return type(optimizer)(group["params"], lr=group["lr"], weight_decay=group["weight_decay"], fused=True)

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

    def ensure_optimizer(self) -> None:
        """Make the optimiser, which RecBole's constructor was denied."""
        if self.optimizer is None:
            self.optimizer = self._build_optimizer()

    def _train_epoch(self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False) -> Any:
        self.epoch = epoch_idx
        if self._pending is not None:
            set_random_state(self._pending["random"])
            train_data.generator.set_state(self._pending["loader"].cpu())
            self._pending = None
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

    def _is_state_due(self) -> bool:
        every, least = self.config["resume_step"], self.config["resume_seconds"]
        return every and (self.epoch - self.start_epoch) % every == 0 and perf_counter() - self._saved_at >= least

    def save_state(self) -> None:
        """Write ``resume.pt``: all that the epoch which is about to start depends on. For use between epochs."""
        if rank() == 0:
            save_checkpoint(self.folder / LAST, {**self.metadata, **self.state()})
        self._saved_at = perf_counter()

    def state(self) -> dict[str, Any]:
        """All that the epoch which is about to start depends on, and where training is."""
        return {
            **self.epoch_state(),
            "epoch": self.epoch,
            "phase": self.phase,
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self._optimizers().items()},
            "trainer": {
                **{name: getattr(self, name) for name in sorted(TrainerState.__required_keys__)},
                "n_validations": len(self.history),
                "history_hash": history_hash(self.history),
                "cpu_seconds": self.cpu_seconds,
                "energy": self.energy,
            },
        }

    def epoch_state(self) -> dict[str, Any]:
        """The model and the random numbers that an epoch starts from."""
        loader = self._train_data.generator.get_state()
        return {**self.model_state(), **(self._pending or {"random": random_state(), "loader": loader})}

    def load_epoch_state(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`epoch_state` gave."""
        self.load_model_state(state)
        set_random_state(state["random"])
        self._train_data.generator.set_state(state["loader"].cpu())

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

    def model_state(self) -> dict[str, Any]:
        """The model's state, as :meth:`load_model_state` takes it."""
        return {
            "state_dict": self.model.state_dict(),
            "other_parameter": self.model.other_parameter(),
            "attributes": self._attributes.state(),
        }

    def load_model_state(self, state: Mapping[str, Any]) -> None:
        """Load the model's state from the content of a checkpoint."""
        self.model.load_state_dict(state["state_dict"])
        own, others = self.model.other_parameter() or {}, state["other_parameter"] or {}
        if own.keys() != others.keys():
            raise ValueError(
                f"it has {', '.join(others) or 'nothing'} beside its weights, not {', '.join(own) or 'nothing'}"
            )
        for name, value in others.items():
            put_back(self.model, name, value, own[name])
        self._attributes.load_state(state["attributes"])

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        final = self._final_epochs()
        if final is not None and epoch - self._first_epoch + 1 != final:
            return  # there is no validation: RecBole would save every epoch
        check_weights(self.model, self.config)
        if rank():
            return
        best = {"epoch": epoch, "phase": self.phase, "best_valid_score": float(self.best_valid_score)}
        save_checkpoint(self.saved_model_file, {**self.metadata, **best, **self.model_state()})

    def load_best(self) -> None:
        """Load the best state of the run from ``model.pt``."""
        state = to_plain(load_checkpoint(self.saved_model_file, self.device)) if rank() == 0 else None
        self.load_model_state(from_plain(agreed(state)))

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        own = {name: value for name, value in vars(self).items() if isinstance(value, torch.optim.Optimizer)}
        if len(own) > 1:
            own.pop("optimizer", None)  # one of the others by turns (RecVAE)
        return own

    def restore(self, state: ResumeContent, history: Sequence[Validation]) -> None:
        """Go back to the start of the epoch at which ``state`` (the content of ``resume.pt``) was written.

        What ``history`` holds of later epochs is ignored: a run may be killed between a validation and the next
        ``resume.pt``. Learning rate and weight decay are those of the settings, which may have changed since.

        Raises:
            ValueError, RuntimeError, TypeError, KeyError: if the state is not one of this model and trainer.
        """
        self.load_model_state(state)
        self.start_epoch = self.epoch = state["epoch"]
        kept: Mapping[str, Any] = state["trainer"]
        self.history = list(history[: kept["n_validations"]] if "n_validations" in kept else kept["history"])
        check_progress(state, self.history, self.valid_metric, self.valid_metric_bigger)
        for name in TrainerState.__required_keys__:
            setattr(self, name, kept[name])
        self.seconds = {"evaluation": 0.0, **self.seconds}
        self._cpu_before = {"process": 0.0, "children": 0.0, **kept.get("cpu_seconds", {})}
        self._energy_before = kept.get("energy")
        self.ensure_optimizer()
        if state["optimizers"].keys() | {"optimizer"} != self._optimizers().keys() | {"optimizer"}:
            raise ValueError(f"it has the optimisers {', '.join(state['optimizers']) or 'none'}")
        for name, optimizer in self._optimizers().items():
            own = [{key: group[key] for key in _OF_SETTINGS & group.keys()} for group in optimizer.param_groups]
            load_optimizer(optimizer, state["optimizers"][name])
            for group, settings in zip(optimizer.param_groups, own):
                group.pop("initial_lr", None)  # a schedule's, which starts from the settings again
                group.update(settings)
        set_random_state(state["random"])  # refused here, if it is none
        torch.Generator().set_state(state["loader"].cpu())
        self._pending = {"random": state["random"], "loader": state["loader"]}

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
