"""A closed form that is fitted by the order of interactions: by hand, after an update, from an export."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import recbole_cadmr
from recbole_cadmr.errors import UserError
from recbole_cadmr.recommender.load import load
from recbole_cadmr.recommender.recommender import Recommender
from tests.micro import PAIRS, TRAIN, train_matrix, write_micro
from tests.oracles.linear import ordered_columns

TIMES = [5.0, 3.0, 1.0, 2.0, 7.0, 9.0, 8.0, 1.0]  # of TRAIN: ann chose b and then a, cid a, d and then c
PLACES = {"ann": "ba", "bob": "bc", "cid": "adc", "dot": "d"}
LATER = pd.DataFrame([("ann", "d"), ("fay", "a"), ("fay", "c"), ("dot", "a")], columns=["user_id", "item_id"])
PLAIN = {
    **{"adaptive_fits": 1, "reg_weight": 2.0, "fit_dtype": "float64", "direction": 0.5, "attention": "none"},
    **{"row_scaling": 0.0, "item_scaling": 0.0, "popularity_damping": 0.0},
}


def trained(folder, train=TRAIN, times=TIMES, model="LinearCADMR", **settings):
    write_micro(folder, train=train, times=times)
    how = {**PAIRS, "data_path": str(folder), **PLAIN, **settings}
    return load(recbole_cadmr.train(model, "micro", output=folder / "run", settings=how).checkpoint)


def scores(recommender):
    lists = recommender.recommend(topk=len(recommender.items), leave_out="none", popular=False)
    return {(user, item): score for user, item, score in lists[["user_id", "item_id", "score"]].itertuples(index=False)}


@pytest.mark.parametrize("fit", ["exact", "sparse"])
def test_scores_are_those_of_regressions_on_what_came_before(tmp_path, fit):
    R, places = train_matrix()[1:, 1:], np.zeros((5, 4))
    for user, chosen in zip(range(4), PLACES.values()):
        for place, item in enumerate(chosen):
            places[user, "abcd".index(item)] = place / max(np.sqrt(len(chosen) - 1), 1)
    expected = R @ ordered_columns(R, 0.5 * places, 2.0)
    recommender = trained(tmp_path, fit=fit)
    found = scores(recommender)
    for user, name in enumerate(PLACES):
        for item, letter in enumerate("abcd"):
            assert found[name, letter] == pytest.approx(expected[user, item], abs=1e-6)
            if R[user].any():
                assert recommender.explain(name, item=letter).score == pytest.approx(expected[user, item], abs=1e-6)


@pytest.mark.parametrize("settings", [{}, {"fit": "sparse"}, {"attention": "graph", "attention_neighbours": 2}])
def test_what_comes_later_stands_behind_in_checkpoint_export_and_fresh_fit(tmp_path, settings):
    recommender = trained(tmp_path / "one", **settings)
    recommender.export(tmp_path / "export")
    exported = load(tmp_path / "export")
    joined, times = [*TRAIN, *LATER.agg(" ".join, axis=1)], [*TIMES, *[20.0] * len(LATER)]
    fresh = scores(trained(tmp_path / "two", joined, times, **settings))
    for one in (recommender, exported):
        updated = Recommender(one.parts)
        assert updated.update(LATER).refitted
        found = scores(updated)
        assert found == pytest.approx({pair: fresh[pair] for pair in found}, abs=1e-5)
    updated.export(tmp_path / "again")
    again = load(tmp_path / "again")
    assert again.update(pd.DataFrame({"user_id": ["eve"], "item_id": ["b"]})).refitted
    assert scores(again)["fay", "b"] == pytest.approx(fresh["fay", "b"], abs=0.5)


def test_without_a_column_of_times_it_is_refused(tmp_path):
    write_micro(tmp_path)
    how = {**PAIRS, "data_path": str(tmp_path), **PLAIN}
    with pytest.raises(UserError, match="direction counts by the order .* no column timestamp of micro is loaded"):
        recbole_cadmr.train("LinearCADMR", "micro", output=tmp_path / "run", settings=how)


def test_an_export_without_its_order_is_fitted_no_more(tmp_path):
    recommender = trained(tmp_path)
    parts = recommender.parts
    lost = Recommender(parts.__class__(**{**vars(parts), "histories": parts.histories.__class__(
        **{**{name: getattr(parts.histories, name) for name in ("parts", "added", "fitted", "sequences")}}
    )}))
    lost.export(tmp_path / "export")
    with pytest.raises(UserError, match="direction counts by the order of interactions, which is not known"):
        load(tmp_path / "export").update(LATER)
