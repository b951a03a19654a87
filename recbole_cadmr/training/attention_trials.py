"""Which settings of the attention are trained next, by the trainings that are over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recbole_cadmr.config.model_yaml import own_settings
from recbole_cadmr.training.coordinate_descent import Point, descend

Training = tuple[dict[str, float], float]  # its settings, and its best score on validation


class _Untried(Exception):
    """Raised where a descent comes to settings that no training had yet, its argument."""


def best_training(done: Sequence[Training], bigger: bool) -> Training:
    """The training with the best score; of equal ones the first.

    Args:
        bigger: whether more of the score is better.
    """
    return (max if bigger else min)(done, key=lambda training: training[1])


def following_settings(own: dict[str, float], done: Sequence[Training], bigger: bool) -> dict[str, float] | None:
    """The settings that coordinate descent from ``own`` asks for next; None if it has come to its end."""
    declared = own_settings("CADMR")

    def values(settings: dict[str, float], name: str, direction: int) -> list[float]:
        ladder = list(declared[name].ladder or ())
        place = ladder.index(settings[name])
        return ladder[place + 1 :] if direction > 0 else ladder[:place][::-1]

    def measured(settings: dict[str, float], _: Point | None = None) -> Point:
        for tried, score in done:
            if tried == settings:
                return Point(settings, np.array([[score if bigger else 1 / max(score, 1e-12)]]))
        raise _Untried(settings)

    try:
        descend(measured(own), list(own), values, measured)
    except _Untried as untried:
        return untried.args[0]
    return None
