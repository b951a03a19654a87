"""How much each setting that was searched explains of the scores of the trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from recbole_cadmr.reports.search_axes import axis_of

_FEWEST = 8  # trials that a forest is grown from
_TREES, _SHUFFLES = 200, 20


@dataclass(frozen=True)
class Importance:
    """What a forest says of the settings.

    Attributes:
        shares: by setting, the greatest first; they sum to 1.
        r_squared: how well the forest foretells trials that it was not grown from: 1 perfectly, 0 no better than
            their mean does, below 0 worse. Shares of a forest that foretells nothing say nothing.
    """

    shares: dict[str, float]
    r_squared: float


def importance(points: Sequence[Mapping[str, Any]], scores: Sequence[float], seed: int = 0) -> Importance | None:
    """How much worse a random forest foretells the scores when a setting's values are shuffled among the trials.

    Breiman, "Random Forests", Machine Learning 45 (2001). A pair of settings that vary together share what they
    explain between them, and what was never tried has no say.

    Args:
        points: the settings of each trial; a setting that a point lacks counts as None.
        scores: of each trial; trials whose score is no finite number are left out.

    Returns:
        None if fewer than 8 trials have a score, or if settings or scores do not vary.
    """
    known = [(point, score) for point, score in zip(points, scores) if math.isfinite(score)]
    names = list(dict.fromkeys(name for point, _ in known for name in point))
    axes = {name: axis_of([point.get(name) for point, _ in known]) for name in names}
    places = {name: axis.places for name, axis in axes.items() if len(axis.distinct) > 1}
    y = np.array([score for _, score in known])
    if len(known) < _FEWEST or not places or not np.ptp(y):
        return None
    X = np.array(list(places.values())).T  # [trials, settings]
    forest = RandomForestRegressor(n_estimators=_TREES, oob_score=True, random_state=seed).fit(X, y)
    drops = permutation_importance(forest, X, y, n_repeats=_SHUFFLES, random_state=seed).importances_mean
    drops = np.maximum(drops, 0)
    if not drops.sum():
        return None
    shares = dict(zip(places, (drops / drops.sum()).tolist()))
    return Importance(dict(sorted(shares.items(), key=lambda item: -item[1])), float(forest.oob_score_))
