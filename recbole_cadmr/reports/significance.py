"""Whether the difference between two models is statistically significant: paired over users."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

_LEAST_USERS = 10
_LEVEL = 0.05


def compare(by_user: pd.DataFrame) -> pd.DataFrame:
    """The best model against every other; more is better.

    Two-sided, as which of two is ahead is read off the same results.

    Args:
        by_user: a metric of each user, a mean over seeds; a column a model.

    Returns:
        By model: ``other``, the best of the others; ``difference``, mean over users of the model's metric less the
        other's; ``p``, two-sided, of the paired t-test over users, Holm-corrected over the tests of the best model
        against each other one (the best model's own is the largest of these: of its being better than every other);
        ``wilcoxon``, the same of the signed-rank test, which asks less of the distribution and leaves out users of
        whom both models have the same; ``better``, whether the model is significantly better than every other, by the
        t-test. Empty for fewer than two models.
    """
    columns = {name: by_user[name].to_numpy() for name in by_user}
    best, *others = sorted(columns, key=lambda name: -columns[name].mean())
    compared = pd.DataFrame(
        {
            "other": best,
            "difference": [float((columns[other] - columns[best]).mean()) for other in others],
            "p": holm([_paired_p(columns[best], columns[other]) for other in others]),
            "wilcoxon": holm([_signed_rank_p(columns[best], columns[other]) for other in others]),
        },
        index=others,
    )
    if others:
        of_best = {"other": others[0], "difference": -compared["difference"].iloc[0]}
        of_best |= {test: compared[test].max() for test in ("p", "wilcoxon")}
        compared = pd.concat([pd.DataFrame(of_best, index=[best]), compared])
    return compared.assign(better=(compared["difference"] > 0) & (compared["p"] < _LEVEL))


def _paired_p(one: np.ndarray, other: np.ndarray) -> float:
    """1 where there is no test: too few users, or a difference without variance."""
    if len(one) < _LEAST_USERS or np.ptp(one - other) == 0:
        return 1.0
    return float(stats.ttest_rel(one, other).pvalue)


def _signed_rank_p(one: np.ndarray, other: np.ndarray) -> float:
    """1 where there is no test: too few users of whom the two differ."""
    if np.count_nonzero(one != other) < _LEAST_USERS:
        return 1.0
    return float(stats.wilcoxon(one, other).pvalue)


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down correction of p values, in their order."""
    ascending = pd.Series(p_values, dtype=float).sort_values()
    return (ascending * np.arange(len(ascending), 0, -1)).cummax().clip(upper=1.0).sort_index().tolist()
