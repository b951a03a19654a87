"""Schedules of the learning rate."""

from __future__ import annotations

import math

_LEAST = 0.05  # at the end of a cosine schedule
_DECAY, _DECAY_EPOCHS = 0.96, 50  # factor of an exponential schedule, and the epochs it takes


def share_of_rate(schedule: str, done: int, epochs: int) -> float:
    """The share of the learning rate after ``done`` of ``epochs``, by a value of ``learning_rate_schedule``."""
    if schedule == "cosine":
        return _LEAST + (1 - _LEAST) * (1 + math.cos(math.pi * done / max(epochs, 1))) / 2
    return _DECAY ** (done / _DECAY_EPOCHS) if schedule == "exponential" else 1.0
