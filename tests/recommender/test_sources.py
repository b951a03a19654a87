"""What a model is given more by: its checkpoint and data set, or the features and interactions of an export alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest

from recbole_cadmr.data import graph
from recbole_cadmr.data.graph import nearest_items
from recbole_cadmr.errors import UserError
from recbole_cadmr.recommender.export_sources import ClosedFormSource
from recbole_cadmr.recommender.load import load
from recbole_cadmr.recommender.recommender import Recommender
from tests.micro import IMAGE, TEXT
from tests.recommender.test_export import edit
from tests.recommender.test_updates import ADDED, LINEAR, scores, trained

NEW = {"ids": ["e", "f"], "vectors": {"text": [TEXT["e"], [0.5, 0.5, 0.1]], "image": [[0, 0], IMAGE["d"]]}}


DEGREES = {"neighbour_popularity": 0.3, "attention_damping": 0.2}


@pytest.mark.parametrize(
    "settings",
    [{}, {"two_hop": 0.2, "popularity_damping": 0.4}, {"attention": "fused", **DEGREES}, {"content_rows": 1.5}],
)
def test_both_give_the_same(tmp_path, settings):
    by_checkpoint = trained(tmp_path, "LinearCADMR", **{**LINEAR, **settings})
    own = by_checkpoint.engine.closed_form.settings
    alone = Recommender(replace(by_checkpoint.parts, source=ClosedFormSource("LinearCADMR", own)))
    for recommender in (by_checkpoint, alone):
        recommender.add_items(**NEW)
    assert alone.items == by_checkpoint.items == ["a", "b", "c", "d", "e", "f"]
    assert scores(alone) == pytest.approx(scores(by_checkpoint), abs=1e-6)
    for recommender in (by_checkpoint, alone):
        assert recommender.update(ADDED).refitted
    assert scores(alone) == pytest.approx(scores(by_checkpoint), abs=1e-6)
    first, second = (r.explain("fay", item="f").by_path() for r in (alone, by_checkpoint))
    assert first["contribution"].tolist() == pytest.approx(second["contribution"].tolist(), abs=1e-6)


@pytest.mark.parametrize("fit", ["exact", "sparse"])
def test_a_checkpoint_finds_nearest_items_only_for_what_needs_them(tmp_path, monkeypatch, fit):
    first = trained(tmp_path, "LinearCADMR", **{**LINEAR, "fit": fit})
    expected = scores(first), first.explain("ann", item="d").by_path()["contribution"].tolist()
    searched = []

    def search(modality, k):
        searched.append(modality.name)
        return nearest_items(modality, k)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    monkeypatch.setattr(graph, "nearest_items", search)
    opened = load(first.parts.source.file)
    assert scores(opened) == expected[0] and searched == []
    assert opened.explain("ann", item="d").by_path()["contribution"].tolist() == expected[1]
    assert searched == ["text", "image"]


def test_of_several_ridges_a_checkpoint_has_the_one_that_was_best(tmp_path):
    settings = {**LINEAR, "reg_weight": [0.5, 5.0]}
    several = trained(tmp_path / "several", "LinearCADMR", **settings)
    best = several.engine.closed_form.settings["reg_weight"]
    assert best in settings["reg_weight"]
    one = trained(tmp_path / "one", "LinearCADMR", **{**LINEAR, "reg_weight": best})
    paths = [r.explain("ann", item="d").by_path()["contribution"].tolist() for r in (several, one)]
    assert paths[0] == pytest.approx(paths[1], abs=1e-6)
    several.export(tmp_path / "export", neighbours=100)
    assert scores(load(tmp_path / "export")) == pytest.approx(scores(one), abs=1e-5)


def test_a_checkpoint_without_attention_needs_no_graph(tmp_path):
    first = trained(tmp_path, "LinearCADMR", **{**LINEAR, "attention": "none"})
    assert first.engine.closed_form.attention(first.engine.closed_form.settings) == ({}, {})
    assert first.explain("ann", item="d").by_path()["path"].tolist() == ["autoencoder"]


BEST = {"objective": "softmax", "attention_size": 4, "epochs": 2, "attention_trials": 1, "attention_weights": [0.3]}
FIT = {"adaptive_fits": 1, "reg_weight": 2.0}
MODELS = {
    "LinearCADMR": ("LinearCADMR", LINEAR),
    "low rank": ("LinearCADMR", {**LINEAR, "fit": "sparse"}),
    "fused": ("LinearCADMR", {**LINEAR, "attention": "fused"}),
    "best": ("CADMR", {**BEST, "linear_settings": FIT, "ensemble_size": 2}),
    "best, low rank": ("CADMR", {**BEST, "linear_settings": {**FIT, "fit": "sparse"}}),
    "best, components": ("CADMR", {**BEST, "linear_settings": FIT, "content_components": 2}),
    "VBPR": ("VBPR", {"epochs": 2, "embedding_size": 4}),
    "VBPR, trained": ("VBPR", {"epochs": 2, "embedding_size": 4, "trainable_features": True}),
    **{name: (name, {}) for name in ("CEASE", "AddEASE", "L3AE", "MMGF")},
}


@pytest.mark.parametrize("name", MODELS)
def test_an_export_takes_new_items_as_its_checkpoint_does(tmp_path, name):
    model, settings = MODELS[name]
    by_checkpoint = trained(tmp_path, model, **settings)
    by_checkpoint.export(tmp_path / "export", neighbours=100)
    alone = load(tmp_path / "export")
    before = scores(alone)
    assert before == pytest.approx(scores(by_checkpoint), abs=1e-5) and alone.takes_new_items
    for recommender in (by_checkpoint, alone):
        recommender.add_items(["e"], vectors={"text": [TEXT["e"]]}, titles=["the e"])
    alone.export(tmp_path / "again", neighbours=100)
    again = load(tmp_path / "again")
    for recommender in (by_checkpoint, alone, again):
        recommender.add_items(["f"], vectors={"text": [[0.5, 0.5, 0.125]], "image": [IMAGE["d"]]})
    expected = scores(by_checkpoint)
    for recommender in (alone, again):
        assert recommender.items == ["a", "b", "c", "d", "e", "f"] and recommender.titles == {"e": "the e"}
        assert scores(recommender) == pytest.approx(expected, abs=1e-5)
    assert len({score for (_, item), score in expected.items() if item in "ef"}) > 2
    assert "e" in set(again.similar_items("a", by="content")["item_id"])
    refits = model not in ("VBPR", "CADMR")
    assert [r.update(ADDED).refitted for r in (by_checkpoint, alone)] == [refits, refits]
    assert scores(alone) == pytest.approx(scores(by_checkpoint), abs=1e-5)
    if not refits:
        with pytest.raises(UserError, match=f"{model} is not fitted anew to single interactions: train it again"):
            alone.update(ADDED, refit=True)


@pytest.mark.parametrize(
    ("model", "settings", "reason"),
    [
        ("BPR", {"epochs": 1}, "it learns every item by itself"),
        (
            "CEASE",
            {"content_controls": {"shuffled": True}},
            "it was trained on content that content_controls changed",
        ),
        (
            "CADMR",
            {**BEST, "linear_settings": {**FIT, "attention": "fused"}},
            "an export does not hold the fused graph",
        ),
    ],
)
def test_an_export_that_cannot_says_why(tmp_path, model, settings, reason):
    trained(tmp_path, model, **settings).export(tmp_path / "export")
    alone = load(tmp_path / "export")
    assert not alone.takes_new_items
    with pytest.raises(UserError, match=f"^{model} takes no new items: {reason}"):
        alone.add_items(**NEW)
    with pytest.raises(UserError, match=f"{model} is not fitted anew to single interactions"):
        alone.update(ADDED, refit=True)
    assert alone.update(ADDED).new_pairs > 0


def test_an_export_of_the_first_version_is_read_and_takes_new_items(tmp_path):
    recommender = trained(tmp_path, "LinearCADMR", **LINEAR)
    recommender.export(tmp_path / "export", neighbours=100)
    card = json.loads((tmp_path / "export" / "card.json").read_text())
    source = card.pop("source")
    card["closed_form"] = {name: source[name] for name in ("settings", "neighbours")}
    edit(tmp_path / "export", "card.json", lambda _: json.dumps(card).encode())
    manifest = tmp_path / "export" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format_version": 2', '"format_version": 1'))
    alone = load(tmp_path / "export")
    for each in (recommender, alone):
        each.add_items(**NEW)
    assert scores(alone) == pytest.approx(scores(recommender), abs=1e-3)


def test_another_model_in_the_place_of_the_checkpoint_is_not_mixed_with_the_one_that_was_loaded(tmp_path):
    recommender = trained(tmp_path, "LinearCADMR", **LINEAR)
    before = scores(recommender)
    with recommender.parts.source.file.open("ab") as file:
        file.write(b" ")
    with pytest.raises(UserError, match="is no longer the model that was loaded; load it again"):
        recommender.add_items(**NEW)
    recommender.parts.source.file.unlink()
    with pytest.raises(UserError, match="is no longer the model that was loaded"):
        recommender.update(ADDED)
    assert scores(recommender) == before and recommender.update(ADDED, refit=False).new_pairs == 3


def test_an_export_from_before_a_setting_is_fitted_as_it_was(tmp_path):
    for model, settings in (("LinearCADMR", LINEAR), ("CADMR", {**BEST, "linear_settings": FIT})):
        now = trained(tmp_path / model, model, **settings)
        now.export(tmp_path / f"{model} export", neighbours=100)
        now = load(tmp_path / f"{model} export")
        source = now.parts.source
        closed_form, attention = getattr(source, "closed_form", source), getattr(source, "attention", None)

        def without(settings):
            return {name: value for name, value in settings.items() if name not in DEGREES}

        former = replace(closed_form, settings=without(closed_form.settings))
        if attention is not None:
            former = replace(
                source, closed_form=former, attention=replace(attention, settings=without(attention.settings))
            )
        before = Recommender(replace(now.parts, source=former))
        for recommender in (now, before):
            recommender.add_items(**NEW)
        assert scores(before) == scores(now)


def test_edited_settings_of_a_closed_form_are_refused(tmp_path):
    recommender = trained(tmp_path, "LinearCADMR", **LINEAR)
    own = recommender.engine.closed_form.settings
    without = {name: value for name, value in own.items() if name != "reg_weight"}
    for settings, said in (({**own, "reg_weight": "much"}, "reg_weight"), (without, "there is no setting reg_weight")):
        edited = Recommender(replace(recommender.parts, source=ClosedFormSource("LinearCADMR", settings)))
        with pytest.raises(UserError, match=f"the export was edited: {said}"):
            edited.add_items(**NEW)


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("VBPR", {"epochs": 2, "embedding_size": 4}),
        ("CEASE", {}),
        ("CADMR", {**BEST, "linear_settings": {"adaptive_fits": 1, "reg_weight": 2.0}}),
        ("CADMR", {**BEST, "linear_settings": {"adaptive_fits": 1, "reg_weight": 2.0, "fit": "sparse"}}),
    ],
)
def test_a_trained_model_recommends_new_items(tmp_path, model, settings):
    before = trained(tmp_path, model, **settings)
    after = Recommender(before.parts)
    assert after.takes_new_items and after.add_items(**NEW) == 2
    found = scores(after)
    lists = after.recommend(topk=6, leave_out="none", popular=False)
    assert set(lists["item_id"]) == {"a", "b", "c", "d", "e", "f"} and len(before.items) == 4
    if model == "VBPR":
        # b has no picture, and so the mean of those that there are.
        same = {pair: score for pair, score in scores(before).items() if pair[1] != "b" and pair in found}
        assert {pair: found[pair] for pair in same} == pytest.approx(same, abs=1e-6) and len(same) > 3
    else:
        history, _ = after.recommend_from_history(pd.DataFrame({"user_id": ["x"], "item_id": ["e"]}), topk=5)
        assert len(history) == 5
    if after.explains and after.takes_histories:
        explanation = after.explain("cid", item="f")
        score = lists[(lists["user_id"] == "cid") & (lists["item_id"] == "f")]["score"].item()
        assert explanation.score == pytest.approx(score, rel=1e-4, abs=1e-6)
    assert set(after.similar_items("e")["item_id"]) <= {"a", "b", "c", "d", "f"}
    assert after.similar_items("f", by="content", topk=1)["item_id"].item() in "abcde"
