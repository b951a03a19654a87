"""A trainer whose run can be written down between two epochs and continued from there, to the bit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.model.abstract_recommender import GeneralRecommender

from recbole_cadmr.config.config import Config
from recbole_cadmr.layers.shared_batch import agreed, rank
from recbole_cadmr.training.checkpoint import BEST, LAST, from_plain, load_checkpoint, save_checkpoint, to_plain
from recbole_cadmr.training.contents import CpuSeconds, Energy, ResumeContent, TrainerState, Validation
from recbole_cadmr.training.energy import energy_between, energy_now
from recbole_cadmr.training.ranking_trainer import RankingTrainer
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


class ResumableTrainer(RankingTrainer):
    """The state of a run, of its model, its optimisers and its random numbers, and what its sessions took.

    Args:
        train_data: what the model was built from, and is trained on.
        metadata: what every checkpoint of the run carries beside the state.
        construction: seconds that it took to build the model.

    Attributes:
        history: one entry a validation: epoch, phase, losses, metrics, diagnostics, seconds.
        seconds: wall-clock seconds by phase and of evaluation, over all sessions of the run.
    """

    optimizer: Any

    def __init__(
        self,
        config: Config,
        model: GeneralRecommender,
        train_data: AbstractDataLoader,
        metadata: Mapping[str, Any],
        construction: float = 0.0,
    ) -> None:
        super().__init__(config, model, train_data)
        self.folder = Path(config["checkpoint_dir"])
        self.saved_model_file = str(self.folder / BEST)
        self.metadata = metadata
        self.history: list[Validation] = []
        # Building is part of training: RecBole's EASE and ItemKNN fit themselves there.
        self.seconds: dict[str, float] = {"evaluation": 0.0, "construction": construction}
        self.evaluations = 0
        self.epoch = 0
        self._first_epoch = 0  # of the present phase
        self._cpu_before: CpuSeconds = {"process": 0.0, "children": 0.0}  # of sessions before this one
        self._energy_before: Energy | None = None
        self.count_from(cpu_now(), energy_now())
        self._attributes = AttributeWatch(model)
        # Random states that `restore` has read. They are set when the first epoch starts, whatever draws before it.
        self._pending: dict[str, Any] | None = None
        self._saved_at = -math.inf

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

    # Optimisers

    def _build_optimizer(self, **kwargs: Any) -> torch.optim.Optimizer | None:
        if not kwargs and "optimizer" not in vars(self):
            return None  # RecBole's constructor asks; what scores only needs none, and torch takes 2 s to import for it
        optimizer = super()._build_optimizer(**kwargs)
        if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW):
            return optimizer
        # Fused: one pass over the parameters instead of a dozen, which is a quarter of a step on a CPU.
        (group,) = optimizer.param_groups
        return type(optimizer)(group["params"], lr=group["lr"], weight_decay=group["weight_decay"], fused=True)

    def ensure_optimizer(self) -> None:
        """Make the optimiser, which RecBole's constructor was denied."""
        if self.optimizer is None:
            self.optimizer = self._build_optimizer()

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        own = {name: value for name, value in vars(self).items() if isinstance(value, torch.optim.Optimizer)}
        if len(own) > 1:
            own.pop("optimizer", None)  # one of the others by turns (RecVAE)
        return own

    # The state

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

    def load_best(self) -> None:
        """Load the best state of the run from ``model.pt``."""
        for name in self.model.other_parameter() or {}:
            setattr(self.model, name, None)  # which may be most of a machine's memory, not to be held twice
        state = load_checkpoint(self.saved_model_file, self.device) if rank() == 0 else None
        self.load_model_state(from_plain(agreed(to_plain(state))))

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

    def take_pending(self, train_data: Any) -> None:
        """Set the random states that :meth:`restore` has read, as the epoch after it starts."""
        if self._pending is not None:
            set_random_state(self._pending["random"])
            train_data.generator.set_state(self._pending["loader"].cpu())
            self._pending = None
