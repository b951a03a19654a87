"""Paired tests: the right direction, and corrected for how many are made."""

from __future__ import annotations

import numpy as np
import pandas as pd
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
    weak, strong = base - 0.1 + 0.05 * rng.standard_normal(400), base + 0.05 * rng.random(400)
    return pd.DataFrame({"weak": weak, "strong": strong, "same": base})


def test_each_model_is_compared_with_the_best_of_the_others(users):
    compared = compare(users)
    assert compared["other"].to_dict() == {"weak": "strong", "strong": "same", "same": "strong"}
    assert compared.at["strong", "difference"] == pytest.approx((users["strong"] - users["same"]).mean())
    assert compared["better"].to_dict() == {"strong": True, "weak": False, "same": False}
    weak = compared.loc["weak"]
    assert weak["difference"] < 0 and weak["p"] < 1e-6  # significantly worse is not better


def test_p_values_are_of_a_paired_test_over_users(users):
    p_values = compare(users[["strong", "same"]])["p"]
    alone = stats.ttest_1samp(users["strong"] - users["same"], 0.0).pvalue
    assert p_values["strong"] == p_values["same"] == pytest.approx(alone)  # one comparison, nothing to correct
    assert stats.ttest_ind(users["strong"], users["same"]).pvalue > 0.05 > alone  # an unpaired test does not see it


def test_the_signed_rank_test_stands_beside_it_and_is_corrected_alike(users):
    compared = compare(users)
    alone = [stats.wilcoxon(users["strong"], users[name]).pvalue for name in ("weak", "same")]
    assert compared.loc[["weak", "same"], "wilcoxon"].tolist() == pytest.approx(holm(alone))
    assert compared.at["strong", "wilcoxon"] == max(holm(alone))
    outlier = pd.DataFrame({"a": np.r_[100.0, np.full(29, -0.1)], "b": np.zeros(30)})
    assert compare(outlier).at["a", "p"] > 0.05 > compare(outlier).at["a", "wilcoxon"]  # one user is not all
    few = pd.DataFrame({"a": np.r_[np.ones(9), np.zeros(40)], "b": np.zeros(49)})  # nine users differ
    assert compare(few).at["a", "wilcoxon"] == 1.0


def test_chance_is_seldom_called_a_difference():
    rng = np.random.default_rng(1)
    called = [compare(pd.DataFrame({n: rng.random(50) for n in "ab"}))["better"].any() for _ in range(400)]
    assert np.mean(called) < 0.08


def test_the_best_is_better_than_every_other_or_has_no_star():
    rng = np.random.default_rng(2)
    best = rng.random(300)
    second = best - 0.01 - 0.001 * rng.random(300)  # surely behind, by little
    noise = 2 * rng.random(300)
    third = best - 0.02 + noise - noise.mean()  # further behind, and noisy
    compared = compare(pd.DataFrame({"best": best, "second": second, "third": third}))
    assert compared.at["best", "other"] == "second"
    assert compared.at["second", "p"] < 1e-6 < 0.05 < compared.at["third", "p"] == compared.at["best", "p"]
    assert not compared["better"].any()


def test_where_there_is_no_test_nothing_is_significant():
    def p(**columns):
        return compare(pd.DataFrame(columns)).at["a", "p"]

    assert p(a=np.ones(50), b=np.ones(50)) == 1.0 and compare(pd.DataFrame({"a": np.ones(3)})).empty
    assert p(a=np.ones(50), b=np.zeros(50)) == 1.0  # a difference without variance
    assert p(a=np.arange(9.0), b=np.arange(9.0) - np.eye(9)[0]) == 1.0  # nine users
