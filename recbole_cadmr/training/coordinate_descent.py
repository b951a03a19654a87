"""Coordinate descent over settings by what they come to on held-out items, user by user."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MARGIN = 0.5  # standard errors by which a step has to be better
_HOPE = 1.28  # deviations from what the users that are left bring to a step that is neither better nor worse: 1 in 10


@dataclass(frozen=True)
class Point:
    """Settings, and what was measured with them: metrics [users, metrics].

    Fewer users than another point has, the first of them in the same order, are a measurement that was given up.
    """

    settings: dict[str, Any]
    metrics: np.ndarray


def descend(
    best: Point,
    names: Sequence[str],
    values: Callable[[dict[str, Any], str, int], Iterable[Any]],
    measured: Callable[[dict[str, Any], Point], Point | None],
    margin: float = MARGIN,
) -> Point:
    """The best point that steps of single settings reach, each taken as often as it helps.

    Args:
        values: the values behind that of a setting, the nearest first: (settings, name, direction 1 or -1).
        measured: what settings come to, beside the best point so far, as a measurement may be given up; None once no
            more may be measured, which ends the descent.
    """
    units = _units(best)  # the same throughout, or it might go round in circles
    improved = True
    while improved:
        improved = False
        for name in names:
            for direction in (1, -1):
                before = best
                for value in values(best.settings, name, direction):
                    found = measured({**best.settings, name: value}, best)
                    if found is None:
                        return best
                    if better(best, found, margin, units) is best:
                        break
                    best, improved = found, True
                if best is not before:
                    break  # what is behind has just been left
    return best


def better(one: Point, other: Point, margin: float = MARGIN, units: np.ndarray | None = None) -> Point:
    """The other, if its paired difference over users is better by the margin: less is worth no setting of its own."""
    if len(other.metrics) < len(one.metrics):
        return one
    gain = difference(one, other, units)
    return other if gain.mean() > max(margin * gain.std() / math.sqrt(len(gain)), 1e-9) else one


def is_hopeless(one: Point, metrics: np.ndarray, margin: float = MARGIN) -> bool:
    """Whether others' metrics, of the first users of ``one`` alone, will hardly be :func:`better` with the rest.

    That is where the rest would have to bring what it brings to settings that are neither better nor worse in less
    than one of ten cases (stochastic curtailment).
    """
    n, share = len(metrics), len(metrics) / len(one.metrics)
    gain = ((metrics - one.metrics[:n]) / _units(one)).mean(1)
    deviation = max(gain.std(), 1e-12)
    z = gain.mean() / deviation * math.sqrt(n)
    return bool(margin - math.sqrt(share) * z > _HOPE * math.sqrt(1 - share))


def difference(one: Point, other: Point, units: np.ndarray | None = None) -> np.ndarray:
    """By how much the other is better [users], in all metrics together, each in ``units`` or those of its mean."""
    return ((other.metrics - one.metrics) / (_units(one) if units is None else units)).mean(1)


def _units(point: Point) -> np.ndarray:
    return np.maximum(point.metrics.mean(0), 1e-12)
