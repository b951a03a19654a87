"""Paired tests: the right direction, and corrected for how many are made."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from recbole_cadmr.reports.significance import compare, holm


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == [0.02]


@pytest.fixture
def users():
    rng = np.random.default_rng(0)
    base = rng.random(400)
    return {"weak": base - 0.1 + 0.05 * rng.standard_normal(400), "strong": base + 0.05 * rng.random(400), "same": base}


def test_each_model_is_held_against_the_best_of_the_others(users):
    found = compare(users)
    assert {name: entry.other for name, entry in found.items()} == {
        "weak": "strong",
        "strong": "same",
        "same": "strong",
    }
    assert found["strong"].difference == pytest.approx((users["strong"] - users["same"]).mean())
    assert found["strong"].better and not found["weak"].better and not found["same"].better
    assert found["weak"].difference < 0 and found["weak"].p < 1e-6  # worse beyond chance is not better


def test_p_values_are_of_a_paired_test_over_users(users):
    found = compare({name: users[name] for name in ("strong", "same")})
    alone = stats.ttest_1samp(users["strong"] - users["same"], 0.0).pvalue
    assert found["strong"].p == found["same"].p == pytest.approx(alone)  # one comparison, nothing to correct
    assert stats.ttest_ind(users["strong"], users["same"]).pvalue > 0.05 > found["strong"].p  # unpaired would not tell


def test_chance_is_seldom_called_a_difference():
    rng = np.random.default_rng(1)
    called = [any(c.better for c in compare({n: rng.random(50) for n in "ab"}).values()) for _ in range(400)]
    assert np.mean(called) < 0.08


def test_the_best_is_better_than_every_other_or_has_no_star():
    rng = np.random.default_rng(2)
    best = rng.random(300)
    second = best - 0.01 - 0.001 * rng.random(300)  # surely behind, by little
    noise = 2 * rng.random(300)
    third = best - 0.02 + noise - noise.mean()  # further behind, and noisy
    found = compare({"best": best, "second": second, "third": third})
    assert found["best"].other == "second" and found["second"].p < 1e-6 < 0.05 < found["third"].p
    assert found["best"].p == found["third"].p and not found["best"].better


def test_where_there_is_no_test_nothing_is_significant():
    assert compare({"a": np.ones(50), "b": np.ones(50)})["a"].p == 1.0 and compare({"a": np.ones(3)}) == {}
    assert compare({"a": np.ones(50), "b": np.zeros(50)})["a"].p == 1.0  # a difference without variance
    assert compare({"a": np.arange(9.0), "b": np.arange(9.0) - np.eye(9)[0]})["a"].p == 1.0  # nine users
