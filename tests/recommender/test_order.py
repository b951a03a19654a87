"""A closed form that goes by the order of interactions: by hand, after an update, from an export."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import recbole_cadmr
from recbole_cadmr.errors import UserError
from recbole_cadmr.recommender.load import load
from recbole_cadmr.recommender.recommender import Recommender
from tests.micro import PAIRS, TRAIN, train_matrix, write_micro
from tests.oracles.linear import ordered_columns

TIMES = [5.0, 3.0, 1.0, 2.0, 7.0, 9.0, 8.0, 1.0]  # of TRAIN
PLACES = {"ann": "ba", "bob": "bc", "cid": "adc", "dot": "d"}  # what is chosen in which order
LATER = pd.DataFrame([("ann", "d"), ("fay", "a"), ("fay", "c"), ("dot", "a")], columns=["user_id", "item_id"])
ORDERED = {"direction": 0.5, "recency": 0.5}
PLAIN = {
    "adaptive_fits": 1,
    "reg_weight": 2.0,
    "fit_dtype": "float64",
    "attention": "none",
    **dict.fromkeys(("row_scaling", "item_scaling", "popularity_damping"), 0.0),
}


def trained(folder, train=TRAIN, times=TIMES, **settings):
    write_micro(folder, train=train, times=times)
    how = {**PAIRS, "data_path": str(folder), **PLAIN, **settings}
    return load(recbole_cadmr.train("LinearCADMR", "micro", output=folder / "run", settings=how).checkpoint)


def best(folder, train=TRAIN, times=TIMES):
    """The model with an attention beside the closed form."""
    write_micro(folder, train=train, times=times)
    linear = {**PLAIN, **ORDERED, "attention": "graph", "attention_neighbours": 2}
    how = {**PAIRS, "data_path": str(folder), "linear_settings": linear, "epochs": 2, "attention_size": 4, "seed": 3}
    how |= {"attention_trials": 1, "attention_weights": [0.3], "train_batch_size": 4}
    run = recbole_cadmr.train("CADMR", "micro", preset="best", output=folder / "run", settings=how)
    return load(run.checkpoint)


def scores(recommender):
    lists = recommender.recommend(topk=len(recommender.items), leave_out="none", popular=False)
    return {(user, item): score for user, item, score in lists[["user_id", "item_id", "score"]].itertuples(index=False)}


@pytest.mark.parametrize("fit", ["exact", "sparse"])
def test_scores_are_those_of_regressions_on_what_came_before(tmp_path, fit):
    R, places, counts = train_matrix()[1:, 1:], np.zeros((5, 4)), np.zeros((5, 4))
    for user, chosen in enumerate(PLACES.values()):
        for place, item in enumerate(chosen):
            places[user, "abcd".index(item)] = place / max(np.sqrt(len(chosen) - 1), 1)
            counts[user, "abcd".index(item)] = (len(chosen) - place) ** -0.5
        counts[user] *= len(chosen) / counts[user].sum()
    expected = counts @ ordered_columns(R, 0.5 * places, 2.0)
    recommender = trained(tmp_path, **ORDERED, fit=fit)
    recommender.export(tmp_path / "export", neighbours=100)
    for one in (recommender, load(tmp_path / "export")):
        found = scores(one)
        for user, name in enumerate(PLACES):
            for item, letter in enumerate("abcd"):
                assert found[name, letter] == pytest.approx(expected[user, item], abs=1e-6)
                assert one.explain(name, item=letter).score == pytest.approx(expected[user, item], abs=1e-6)


@pytest.mark.parametrize("settings", [{}, {"fit": "sparse"}, {"attention": "graph", "attention_neighbours": 2}])
def test_what_comes_later_stands_behind_in_checkpoint_export_and_fresh_fit(tmp_path, settings):
    recommender = trained(tmp_path / "one", **ORDERED, **settings)
    recommender.export(tmp_path / "export")
    joined, times = [*TRAIN, *LATER.agg(" ".join, axis=1)], [*TIMES, *[20.0] * len(LATER)]
    fresh = scores(trained(tmp_path / "two", joined, times, **ORDERED, **settings))
    for one in (recommender, load(tmp_path / "export")):
        updated = Recommender(one.parts)
        assert updated.update(LATER).refitted
        found = scores(updated)
        assert found == pytest.approx({pair: fresh[pair] for pair in found}, abs=1e-5)
        assert updated.explain("fay", item="b").score == pytest.approx(fresh["fay", "b"], abs=1e-5)
        updated.export(tmp_path / f"again{one is recommender}")
        again = load(tmp_path / f"again{one is recommender}")
        assert scores(again) == pytest.approx(found, abs=1e-5)
        more = pd.DataFrame({"user_id": ["eve", "fay"], "item_id": ["b", "d"]})
        assert again.update(more).refitted and updated.update(more).refitted
        assert scores(again) == pytest.approx(scores(updated), abs=1e-5)


def test_an_attention_beside_it_counts_what_is_recent_for_more_too(tmp_path):
    recommender = best(tmp_path)
    found = scores(recommender)
    for name, chosen in PLACES.items():
        for letter in "abcd":
            assert recommender.explain(name, item=letter).score == pytest.approx(found[name, letter], abs=1e-5)
        # The same items as a history without an order count alike.
        history = pd.DataFrame({"user_id": name, "item_id": list(chosen)})
        lists, _ = recommender.recommend_from_history(history)
        alike = [found[name, item] == pytest.approx(score, abs=1e-6) for item, score in zip(lists.item_id, lists.score)]
        assert all(alike) == (len(chosen) == 1)
    recommender.export(tmp_path / "export")
    exported = load(tmp_path / "export")
    assert scores(exported) == pytest.approx(found, abs=1e-5)
    assert exported.explain("cid", item="b").score == pytest.approx(found["cid", "b"], abs=1e-5)


@pytest.mark.parametrize("name", ["direction", "recency"])
@pytest.mark.parametrize(("times", "field"), [(None, "timestamp"), (TIMES, "order")])
def test_without_a_column_of_times_it_is_refused(tmp_path, name, times, field):
    write_micro(tmp_path, times=times)
    for file in tmp_path.glob("micro/*.inter"):  # texts are no times
        file.write_text(file.read_text().replace("order:float", "order:token"))
    how = {**PAIRS, "data_path": str(tmp_path), **PLAIN, name: 0.5}
    with pytest.raises(UserError, match=f"{name} counts by the order .* no column {field} of numbers of micro is"):
        recbole_cadmr.train("LinearCADMR", "micro", output=tmp_path / "run", settings=how)


@pytest.mark.parametrize("recency", [0.0, 0.5])
def test_an_export_that_lost_its_order_is_refused(tmp_path, recency):
    parts = trained(tmp_path, direction=0.5, recency=recency).parts
    lost = Recommender(replace(parts, histories=replace(parts.histories, order=None)))
    lost.export(tmp_path / "export")
    if recency:
        with pytest.raises(UserError, match="is damaged or was edited"):
            load(tmp_path / "export")
        return
    with pytest.raises(UserError, match="direction and recency count by the order of interactions, which is not known"):
        load(tmp_path / "export").update(LATER)
