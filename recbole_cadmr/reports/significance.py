"""Whether the difference between two models is more than chance: paired over users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

_LEAST_USERS = 10


@dataclass(frozen=True)
class Comparison:
    """A model against the best of the others.

    Attributes:
        other: the best of the others.
        difference: mean over users of the model's metric less the other's; above 0 the model is better.
        p: two-sided p value of the paired t-test over users, Holm-corrected over the tests of the best model against
            each other one. The best model's own is the largest of these: of its being better than every other.
    """

    other: str
    difference: float
    p: float

    @property
    def better(self) -> bool:
        """Whether the model is better than every other beyond chance (p < .05)."""
        return self.difference > 0 and self.p < 0.05


def compare(by_user: Mapping[str, np.ndarray]) -> dict[str, Comparison]:
    """The best model against every other; more is better.

    Args:
        by_user: a metric of the same users in the same order, a mean over seeds: float64 [T] by model.

    Two-sided, as which of two is ahead is read off the same figures. {} for fewer than two models.
    """
    if len(by_user) < 2:
        return {}
    best, *others = sorted(by_user, key=lambda name: -by_user[name].mean())
    p_values = holm([_paired_p(by_user[best], by_user[other]) for other in others])
    gaps = [float((by_user[other] - by_user[best]).mean()) for other in others]
    compared = {other: Comparison(best, gap, p) for other, gap, p in zip(others, gaps, p_values)}
    return {best: Comparison(others[0], -gaps[0], max(p_values)), **compared}


def _paired_p(one: np.ndarray, other: np.ndarray) -> float:
    """1 where there is no test: too few users, or a difference without variance."""
    if len(one) < _LEAST_USERS or np.ptp(one - other) == 0:
        return 1.0
    return float(stats.ttest_rel(one, other).pvalue)


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down correction of p values, in their order."""
    order = np.argsort(p_values)
    stepped = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected.tolist()
