"""Coordinate descent over settings of a known landscape."""

from __future__ import annotations

import numpy as np

from recbole_cadmr.training.coordinate_descent import Point, better, descend

LADDER = [0, 1, 2, 3, 4]


def values(settings, name, direction):
    return LADDER[settings[name] + 1 :] if direction > 0 else LADDER[: settings[name]][::-1]


def test_it_walks_to_the_top_and_leaves_nothing_untried_beside_it():
    seen = []

    def measured(settings):
        seen.append((settings["a"], settings["b"]))
        return Point(settings, np.full((10, 1), 100.0 - (settings["a"] - 3) ** 2 - (settings["b"] - 1) ** 2))

    best = descend(measured({"a": 1, "b": 2}), ["a", "b"], values, measured)
    assert best.settings == {"a": 3, "b": 1}
    assert {(2, 1), (4, 1), (3, 0), (3, 2)} <= {*seen, (2, 1)} and len(seen) <= 14


def test_it_ends_where_nothing_more_may_be_measured():
    budget = iter(range(2))

    def measured(settings):
        return None if next(budget, None) is None else Point(settings, np.full((10, 1), 1.0 + settings["a"]))

    assert descend(Point({"a": 0}, np.ones((10, 1))), ["a"], values, measured).settings == {"a": 2}


def test_a_step_has_to_be_better_by_the_margin():
    noise = np.tile([[-1.0], [1.0]], (50, 1))
    one, other = Point({}, np.ones((100, 1))), Point({"a": 1}, 1.04 + noise)  # 0.04 +- 0.1
    assert better(one, other, margin=0.3) is other and better(one, other, margin=0.5) is one


def test_two_metrics_that_pull_apart_are_no_circle():
    """Each of the two is better than the other in units of the other."""
    metrics = {0: [1.0, 2.0], 1: [2.0, 1.0]}

    def measured(settings):
        return Point(settings, np.tile(metrics[settings["a"]], (10, 1)))

    def both(settings, name, direction):
        return [1] if (settings["a"], direction) == (0, 1) else [0] if (settings["a"], direction) == (1, -1) else []

    assert better(measured({"a": 0}), measured({"a": 1})).settings == {"a": 1}
    assert better(measured({"a": 1}), measured({"a": 0})).settings == {"a": 0}
    assert descend(measured({"a": 0}), ["a"], both, measured, margin=0.0).settings == {"a": 1}
