"""Effects, intervals and orders against known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recbole_cadmr.study.answer import order_table
from recbole_cadmr.study.correlations import correlations_of
from recbole_cadmr.study.effects import correct, effects_of, flipped, interval, orders_of
from recbole_cadmr.study.known_factors import agreement

COLUMNS = ["dataset", "variant", "departure", "seed", "stratum", "figure", "value"]


def data_of(values):
    """Data of one figure: values by variant and departure, a list over seeds."""
    rows = [
        ("set", variant, departure, seed, "", "ndcg@10", value)
        for (variant, departure), by_seed in values.items()
        for seed, value in enumerate(by_seed, 1)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_the_interval_is_that_of_the_paired_t_test():
    one, other = np.array([0.31, 0.33, 0.36, 0.30]), np.array([0.30, 0.31, 0.33, 0.31])
    expected = stats.ttest_rel(one, other)
    found = interval(one - other)
    assert found["p"] == pytest.approx(expected.pvalue)
    assert (found["low"], found["high"]) == pytest.approx(tuple(expected.confidence_interval()))
    assert np.isnan(interval(np.array([0.1]))["p"]) and np.isnan(interval(np.array([0.1, 0.1]))["low"])


def test_what_is_left_by_rounding_is_no_difference():
    noise = np.array([1e-17, -3e-17, 2e-17])
    assert interval(noise)["difference"] == 0 and np.isnan(interval(noise)["p"])
    assert np.isnan(interval(0.1 + 1e4 * noise)["p"])
    values = {("a", ""): [0.25, 0.25], ("b", ""): [0.25 + 1e-16, 0.25], ("c", ""): [0.5, 0.5]}
    values |= {(name, "x"): [0.3 - k * 1e-16, 0.3] for k, name in enumerate("ab")} | {("c", "x"): [0.5, 0.5]}
    data = data_of(values)
    assert orders_of(data, "ndcg@10", {}).set_index("departure")["tau"].tolist() == pytest.approx([1, 1])
    assert flipped(data.groupby(["variant", "departure"])["value"].mean()) == (0, 3, 0.0)


def test_effects_are_paired_by_seed_and_corrected_over_all():
    data = data_of({
        ("base", ""): [0.1, 0.2, 0.3],
        ("other", ""): [0.11, 0.23, 0.32],
        ("fixed", ""): [0.15],
        ("base", "leak"): [0.5, 0.7, 0.9],
    })  # fmt: skip
    effects = effects_of(data, ["ndcg@10"], [("other", "base"), ("fixed", "base")], {("set", "fixed"): Path()})
    correct(effects, "ndcg@10", correlations_of(data, [], {}))
    assert effects["difference"].tolist() == pytest.approx([0.02, -0.05, 0.5])
    assert effects["n"].tolist() == [3, 3, 3] and set(effects["unit"]) == {"seeds"}
    raw = [interval(np.array(d))["p"] for d in ([0.01, 0.03, 0.02], [0.05, -0.05, -0.15], [0.4, 0.5, 0.6])]
    order = np.argsort(raw)
    holm = np.maximum.accumulate([min(1, raw[i] * (3 - rank)) for rank, i in enumerate(order)])
    assert effects["p"].to_numpy()[order] == pytest.approx(holm)
    assert (effects["base_departure"] == "").all() and effects["departure"].tolist() == ["", "", "leak"]


def test_orders_are_compared_by_kendalls_tau():
    data = data_of({
        ("a", ""): [0.1, 0.1], ("b", ""): [0.2, 0.2], ("c", ""): [0.3, 0.3],
        ("a", "turned"): [0.3, 0.3], ("b", "turned"): [0.2, 0.2], ("c", "turned"): [0.1, 0.1],
        ("a", "one swap"): [0.2, 0.1], ("b", "one swap"): [0.1, 0.2], ("c", "one swap"): [0.3, 0.3],
    })  # fmt: skip
    orders = orders_of(data, "ndcg@10", {}).set_index("departure")
    assert orders["tau"].to_dict() == pytest.approx({"turned": -1, "one swap": (1 / 3 + 1) / 2, "another seed": 1})
    shown = order_table(orders.reset_index()).set_index("order under")["Kendall's tau"]
    assert shown.to_dict() == {"turned": "−1.000", "one swap": "0.667", "another seed": "1.000"}
    means = data.groupby(["variant", "departure"])["value"].mean()
    assert flipped(means) == (3, 3, pytest.approx(2 / 3))
    assert flipped(means.drop("turned", level="departure")) == (0, 3, 0.0)  # 0.15 and 0.15 are no other order


def test_where_all_models_tie_there_is_no_order():
    tie, values = [0.2, 0.2], {("a", ""): [0.1, 0.1], ("b", ""): [0.2, 0.2], ("c", ""): [0.3, 0.3]}
    data = data_of(
        values | {(name, "all"): tie for name in "abc"} | {(name, "one"): [0.2, v] for name, v in zip("abc", (1, 2, 3))}
    )
    orders = orders_of(data, "ndcg@10", {}).set_index("departure")
    assert np.isnan(orders.at["all", "tau"]) and orders.at["all", "n"] == 0
    assert orders.at["one", "tau"] == 1 and orders.at["one", "n"] == 1  # of the seed that has an order
    shown = order_table(orders.reset_index()).set_index("order under")
    assert shown.at["all", "Kendall's tau"] == "none, as all models tie" and shown.at["one", "Kendall's tau"] == "1.000"


def test_latents_that_are_the_factors_explain_and_disentangle_them():
    factors = np.random.default_rng(0).normal(size=(400, 4))
    explained, disentangled = agreement(3 * factors, factors)
    assert explained > 0.99 and disentangled > 0.95
    mixed = factors @ np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    assert agreement(mixed, factors)[0] > 0.99 and agreement(mixed, factors)[1] < 0.7
    noise = np.random.default_rng(2).normal(size=(400, 4))
    assert agreement(noise, factors)[0] < 0.1


def test_a_run_that_failed_is_no_run_that_stands_for_all_seeds():
    values = {("a", ""): [0.1, 0.2], ("b", ""): [0.3, 0.4], ("c", ""): [0.5]}
    effects = effects_of(data_of(values), ["ndcg@10"], [("a", "c"), ("b", "a")], {})
    assert effects["n"].tolist() == [1, 2]  # of c there is one seed, as that of the other failed
    assert orders_of(data_of(values), "ndcg@10", {}).empty
    assert len(orders_of(data_of(values), "ndcg@10", {("set", "c"): Path()})) == 1
