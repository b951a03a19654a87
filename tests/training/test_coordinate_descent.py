"""Coordinate descent over settings of a known landscape."""

from __future__ import annotations

import numpy as np

from recbole_cadmr.training.coordinate_descent import Point, better, descend, is_hopeless

LADDER = [0, 1, 2, 3, 4]


def values(settings, name, direction):
    return LADDER[settings[name] + 1 :] if direction > 0 else LADDER[: settings[name]][::-1]


def test_it_walks_to_the_top_and_leaves_nothing_untried_beside_it():
    seen = []

    def measured(settings, best=None):
        seen.append((settings["a"], settings["b"]))
        return Point(settings, np.full((10, 1), 100.0 - (settings["a"] - 3) ** 2 - (settings["b"] - 1) ** 2))

    best = descend(measured({"a": 1, "b": 2}), ["a", "b"], values, measured)
    assert best.settings == {"a": 3, "b": 1}
    assert {(2, 1), (4, 1), (3, 0), (3, 2)} <= {*seen, (2, 1)} and len(seen) <= 14


def test_it_ends_where_nothing_more_may_be_measured():
    budget = iter(range(2))

    def measured(settings, best=None):
        return None if next(budget, None) is None else Point(settings, np.full((10, 1), 1.0 + settings["a"]))

    assert descend(Point({"a": 0}, np.ones((10, 1))), ["a"], values, measured).settings == {"a": 2}


def test_a_step_has_to_be_better_by_the_margin():
    noise = np.tile([[-1.0], [1.0]], (50, 1))
    one, other = Point({}, np.ones((100, 1))), Point({"a": 1}, 1.04 + noise)  # 0.04 +- 0.1
    assert better(one, other, margin=0.3) is other and better(one, other, margin=0.5) is one


def test_two_metrics_that_pull_apart_are_no_circle():
    """Each of the two is better than the other in units of the other."""
    metrics = {0: [1.0, 2.0], 1: [2.0, 1.0]}

    def measured(settings, best=None):
        return Point(settings, np.tile(metrics[settings["a"]], (10, 1)))

    def both(settings, name, direction):
        return [1] if (settings["a"], direction) == (0, 1) else [0] if (settings["a"], direction) == (1, -1) else []

    assert better(measured({"a": 0}), measured({"a": 1})).settings == {"a": 1}
    assert better(measured({"a": 1}), measured({"a": 0})).settings == {"a": 0}
    assert descend(measured({"a": 0}), ["a"], both, measured, margin=0.0).settings == {"a": 1}


def test_a_measurement_is_given_up_where_the_rest_will_hardly_bring_what_is_missing():
    """Of settings that are no better one in ten gets from the bound to a margin; see Lan, Simon and Halperin, 1982."""
    rng = np.random.default_rng(0)
    one = Point({}, np.ones((1600, 1)))
    cases = [rng.normal(size=(1600, 1)) for _ in range(4000)]
    given_up = [metrics for metrics in cases if is_hopeless(one, 1 + metrics[:400])]
    late = [better(one, Point({}, 1 + metrics)) is not one for metrics in given_up]
    assert 300 < len(given_up) < 600 and np.mean(late) < 0.1
    assert not any(is_hopeless(one, 1.15 + metrics[:400]) for metrics in cases)
    assert sum(is_hopeless(one, 0.8 + metrics[:400]) for metrics in cases) > 0.99 * len(cases)


def test_what_was_given_up_is_not_better():
    one = Point({}, np.ones((100, 1)))
    assert better(one, Point({"a": 1}, np.full((50, 1), 2.0))) is one
