"""Importance of settings: known answers, any kind of value, and when there is none."""

from __future__ import annotations

import math
import random

import numpy as np
import pandas as pd
import pytest

from recbole_cadmr.formatting import short, text_of
from recbole_cadmr.reports.search_importance import importance, key_of


def trials(n, seed=0):
    """Scores that ``learning_rate`` makes, best at 0.001, and ``layers`` by a little; ``noise`` makes nothing."""
    source = random.Random(seed)
    points = [
        {"learning_rate": 10 ** source.uniform(-5, -1), "layers": source.choice([[64], [64, 32]]),
         "noise": source.choice([None, True, "on", {"a": 1}]), "fixed": [1, 2]}
        for _ in range(n)
    ]  # fmt: skip
    scores = [-((math.log10(p["learning_rate"]) + 3) ** 2) + 0.8 * len(p["layers"]) for p in points]
    return pd.DataFrame(points), pd.Series(scores)


def test_the_setting_that_makes_the_score_has_the_greatest_share():
    found = importance(*trials(60))
    assert list(found.shares) == ["learning_rate", "layers", "noise"]
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.shares["learning_rate"] > 0.8 and found.shares["noise"] < 0.03
    assert found.shares["layers"] > found.shares["noise"]
    assert 0.85 < found.r_squared < 1


def test_scores_by_chance_are_not_predicted():
    points, _ = trials(60)
    source = random.Random(1)
    assert importance(points, pd.Series([source.random() for _ in range(60)])).r_squared < 0.1


def test_the_seed_and_nothing_else_decides():
    points, scores = trials(20)
    state = np.random.get_state()[1].copy()
    first = importance(points, scores, seed=3)
    assert importance(points, scores, seed=3) == first != importance(points, scores, seed=4)
    assert (np.random.get_state()[1] == state).all()


def test_nothing_is_said_of_too_little():
    points, scores = trials(8)
    assert importance(points, scores) is not None
    assert importance(points[:7], scores[:7]) is None
    assert importance(points, pd.Series([*scores[:7], math.nan])) is None
    assert importance(pd.DataFrame({"a": [[1]] * 9}), pd.Series(range(9))) is None  # no setting varies
    assert importance(points, pd.Series([0.5] * 8)) is None  # no score varies
    assert importance(pd.DataFrame(), pd.Series([], dtype=float)) is None
    assert importance(pd.DataFrame(index=range(9)), pd.Series(range(9))) is None


def test_values_of_any_kind_are_told_apart():
    values = [[64, 32], None, True, "x", {"a": 1}, 2] * 4
    found = importance(
        pd.DataFrame({"a": pd.Series(values, dtype=object)}), pd.Series([float(v is True) for v in values])
    )
    assert found.shares == {"a": 1.0} and found.r_squared > 0.9


def test_values_as_texts():
    assert [text_of(v) for v in (0.00123456, 1e-5, 100000, True, None, [1, 2], "a")] == [
        "0.001235", "1e-05", "100000", "True", "None", "[1, 2]", "a"]  # fmt: skip
    assert key_of({"b": 1, "a": 2}) == key_of({"a": 2, "b": 1}) and key_of(True) != key_of(1)
    assert short("brief", 16) == "brief" and short("a" * 30 + "end", 16) == "aaaaaaaa…aaaaend"
