"""The way of a training to its best epoch, phase by phase, for a final run to repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stage:
    """A phase of a training.

    Attributes:
        first: its first epoch, over all phases.
        epochs: how many of its epochs the best model is made of.
    """

    phase: str
    first: int
    epochs: int


def on_the_way(schedule: Mapping[int, Mapping[str, Any]], stages: Sequence[Stage]) -> dict[int, dict[str, Any]]:
    """A ``settings_schedule`` for a training that has the epochs of the stages alone.

    What changed in a phase after the last of its epochs that count acts from the start of the next phase; after the
    last phase it has no effect. What acts from the beginning, at epoch 0, are settings to begin with.
    """
    shortened: dict[int, dict[str, Any]] = {}
    for epoch, changes in sorted(schedule.items()):
        place = max((number for number, stage in enumerate(stages) if stage.first <= epoch), default=0)
        before = sum(stage.epochs for stage in stages[:place])
        at = before + min(max(epoch - stages[place].first, 0), stages[place].epochs)
        if at < sum(stage.epochs for stage in stages):
            shortened.setdefault(at, {}).update(changes)
    return shortened
