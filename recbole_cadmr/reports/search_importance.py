"""How much each setting that was searched explains of the scores of the trials."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

_FEWEST = 8  # trials that a forest is grown from
_TREES, _SHUFFLES = 200, 20


@dataclass(frozen=True)
class Importance:
    """What a forest says of the settings.

    Attributes:
        shares: by setting, the greatest first; they sum to 1.
        r_squared: how well the forest predicts trials that it was not grown from: 1 perfectly, 0 no better than
            their mean does, below 0 worse. Shares of a forest that predicts nothing say nothing.
    """

    shares: dict[str, float]
    r_squared: float


def importance(settings: pd.DataFrame, scores: pd.Series, seed: int = 0) -> Importance | None:
    """How much worse a random forest predicts the scores when a setting's values are shuffled among the trials.

    Breiman, "Random Forests", Machine Learning 45 (2001). A pair of settings that vary together share what they
    explain between them, and what was never tried has no say. (Optuna's fANOVA does not say how far to trust it.)

    Args:
        settings: a row a trial, a column a setting.
        scores: of each trial; trials whose score is no finite number are left out.

    Returns:
        None if fewer than 8 trials have a score, or if settings or scores do not vary.
    """
    is_scored = np.isfinite(scores.to_numpy(float))
    y = scores.to_numpy(float)[is_scored]
    X = settings.loc[is_scored].apply(_codes)
    X = X.loc[:, X.nunique() > 1]
    if len(y) < _FEWEST or X.empty or not np.ptp(y):
        return None
    forest = RandomForestRegressor(n_estimators=_TREES, oob_score=True, random_state=seed).fit(X.to_numpy(), y)
    drops = permutation_importance(forest, X.to_numpy(), y, n_repeats=_SHUFFLES, random_state=seed).importances_mean
    drops = np.maximum(drops, 0)
    if not drops.sum():
        return None
    shares = pd.Series(drops / drops.sum(), X.columns).sort_values(ascending=False, kind="stable")
    return Importance(shares.to_dict(), float(forest.oob_score_))


def _codes(column: pd.Series) -> pd.Series:
    """Numbers as they are, choices by their place in the order of their texts."""
    if column.map(is_number).all():
        return column.astype(float)
    return pd.Series(pd.factorize(column.map(key_of), sort=True)[0], column.index)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; a bool is a choice."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def key_of(value: Any) -> str:
    """The same text for the same value; lists and mappings have no hash."""
    return json.dumps(float(value) if is_number(value) else value, sort_keys=True, default=str)
