"""Whether the difference between two models is more than chance: paired over users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Comparison:
    """A model against the best of the others.

    Attributes:
        other: the best of the others.
        difference: mean over users of the model's metric less the other's; above 0 the model is better.
        p: two-sided p value of the paired t-test over users, Holm-corrected over all models of the table.
    """

    other: str
    difference: float
    p: float

    @property
    def better(self) -> bool:
        """Whether the model is better than all others beyond chance (p < .05)."""
        return self.difference > 0 and self.p < 0.05


def compare(by_user: Mapping[str, np.ndarray]) -> dict[str, Comparison]:
    """Every model against the best other one; more is better.

    Args:
        by_user: a metric of the same users in the same order, a mean over seeds: float64 [T] by model.

    Two-sided, as which of two is ahead is read off the same figures. {} for fewer than two models.
    """
    if len(by_user) < 2:
        return {}
    best, second = sorted(by_user, key=lambda name: -by_user[name].mean())[:2]
    others = {name: second if name == best else best for name in by_user}
    p_values = [_paired_p(by_user[name], by_user[other]) for name, other in others.items()]
    return {
        name: Comparison(other, float((by_user[name] - by_user[other]).mean()), p)
        for (name, other), p in zip(others.items(), holm(p_values))
    }


def _paired_p(one: np.ndarray, other: np.ndarray) -> float:
    difference = one - other
    if np.ptp(difference) == 0:  # no variance: the test has no answer
        return 0.0 if difference.any() else 1.0
    return float(stats.ttest_rel(one, other).pvalue)


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down correction of p values, in their order."""
    order = np.argsort(p_values)
    stepped = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected.tolist()
