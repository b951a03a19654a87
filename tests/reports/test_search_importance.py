"""Importance of settings: known answers, any kind of value, and when there is none."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from recbole_cadmr.formatting import short
from recbole_cadmr.reports.search_axes import axis_of, key_of, text_of
from recbole_cadmr.reports.search_importance import importance

UNHASHABLE = [[64, 32], [128], {"a": 1}, None, True, False, "x", 2]


def trials(n, seed=0):
    """Scores that ``learning_rate`` makes, best at 0.001, and ``layers`` by a little; ``noise`` makes nothing."""
    source = random.Random(seed)
    points = [
        {"learning_rate": 10 ** source.uniform(-5, -1), "layers": source.choice([[64], [64, 32]]),
         "noise": source.choice([None, True, "on", {"a": 1}]), "fixed": [1, 2]}
        for _ in range(n)
    ]  # fmt: skip
    scores = [-((math.log10(p["learning_rate"]) + 3) ** 2) + 0.8 * len(p["layers"]) for p in points]
    return points, scores


def test_the_setting_that_makes_the_score_has_the_greatest_share():
    found = importance(*trials(60))
    assert list(found.shares) == ["learning_rate", "layers", "noise"]
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.shares["learning_rate"] > 0.8 and found.shares["noise"] < 0.03
    assert found.shares["layers"] > found.shares["noise"]
    assert 0.85 < found.r_squared < 1


def test_scores_by_chance_are_not_foretold():
    points, _ = trials(60)
    source = random.Random(1)
    assert importance(points, [source.random() for _ in points]).r_squared < 0.1


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
    assert importance(points, [*scores[:7], math.nan]) is None
    assert importance([{"a": [1]}] * 9, list(range(9))) is None  # no setting varies
    assert importance(points, [0.5] * 8) is None  # no score varies
    assert importance([], []) is None
    assert importance([{}] * 9, list(range(9))) is None


def test_a_setting_that_a_point_lacks_counts_as_none():
    points = [{"a": 1} if place % 2 else {} for place in range(12)]
    found = importance(points, [float(place % 2) for place in range(12)])
    assert found.shares == {"a": 1.0} and found.r_squared == pytest.approx(1)


def test_axes():
    log = axis_of([0.001, 0.1, 0.01])
    assert (log.kind, log.distinct) == ("log", [0.001, 0.01, 0.1]) and log.places == pytest.approx([-3, -1, -2])
    assert axis_of([1, 20]).kind == "linear" and axis_of([1, 20.5]).kind == "log"
    assert axis_of([0, 0.001, 10]).kind == "linear"
    assert axis_of([64, 64.0]).distinct == [64]
    mixed = axis_of([*UNHASHABLE, [64, 32]])
    assert mixed.kind == "choice" and mixed.places[0] == mixed.places[-1]
    assert mixed.distinct == [None, 2, "x", [128], [64, 32], False, True, {"a": 1}]
    turned = axis_of(UNHASHABLE[::-1])
    assert turned.places[::-1] == mixed.places[:-1] and turned.distinct == mixed.distinct


def test_values_as_texts():
    assert [text_of(v) for v in (0.00123456, 1e-5, 100000, True, None, [1, 2], "a")] == [
        "0.001235", "1e-05", "100000", "True", "None", "[1, 2]", "a"]  # fmt: skip
    assert key_of({"b": 1, "a": 2}) == key_of({"a": 2, "b": 1}) and key_of(True) != key_of(1)
    assert short("brief", 16) == "brief" and short("a" * 30 + "end", 16) == "aaaaaaaa…aaaaend"
