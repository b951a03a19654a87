"""Hooks into the training of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from recbole_cadmr.training.contents import CpuSeconds, Energy, Validation


class Training(Protocol):
    """What a callback sees of the trainer.

    Attributes:
        folder: of the run.
        epoch: the present one, over all phases.
        history: all validations so far.
        tensorboard: RecBole's writer.
    """

    folder: Path
    epoch: int
    history: list[Validation]
    tensorboard: Any

    @property
    def cpu_seconds(self) -> CpuSeconds:
        """What the run has taken so far."""

    @property
    def energy(self) -> Energy | None:
        """What the run has taken so far; None where it is not measured."""

    def save_state(self) -> None:
        """Write ``resume.pt``: what the epoch that is about to start depends on. For use between epochs."""


class Paused(Exception):
    """Training has reached the epoch before which it was to pause; ``resume.pt`` holds its state."""


class TrainingCallback:
    """What is called while a model trains: subclass it and override the hooks that you need.

    The hooks run in the training process, in the order in which the callbacks were given; an exception ends the run.
    """

    def on_epoch_start(self, trainer: Training, epoch: int) -> None:
        """Before an epoch, over all phases; ``trainer.save_state()`` writes the state it starts from."""

    def on_validation(self, trainer: Training, validation: Validation) -> None:
        """After a validation, which is the last entry of ``trainer.history``."""

    def on_end(self, trainer: Training) -> None:
        """After the run's result has been written."""


class PauseBefore(TrainingCallback):
    """Saves the state before ``epoch`` and raises :class:`Paused`."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_start(self, trainer: Training, epoch: int) -> None:
        """Pause, if this is the epoch."""
        if epoch == self.epoch:
            trainer.save_state()
            raise Paused(epoch)
