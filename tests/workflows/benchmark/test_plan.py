"""What a benchmark runs, and what it says of a mistake."""

from __future__ import annotations

from importlib.resources import files

import pytest

from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import UserError
from recbole_cadmr.models.registry import MODELS
from recbole_cadmr.workflows.benchmark.plan import cells_of, contenders, seeds_of
from recbole_cadmr.workflows.search import best_of, random_settings, read_space

RECBOLES = ("Pop", "ItemKNN", "BPR", "LightGCN", "SGL", "MultiVAE", "RecVAE", "MacridVAE", "EASE", "SLIMElastic")


@pytest.mark.parametrize(("text", "seeds"), [("3", [1, 2, 3]), ("7,", [7]), ("5, 2020", [5, 2020])])
def test_seeds(text, seeds):
    assert seeds_of(text) == seeds


@pytest.mark.parametrize("text", ["", "0", ",", "-1", "one", "1,1", "2020"])
def test_seeds_that_are_none(text):
    with pytest.raises(UserError, match="--seeds"):
        seeds_of(text)


def test_settings_reach_the_models_that_have_them():
    found = contenders(["BPR", "LightGCN"], ["synthetic"], {"n_layers": 3, "epochs": 7, "BPR.learning_rate": 0.01})
    assert dict(found[0].settings) == {"epochs": 7, "learning_rate": 0.01}
    assert dict(found[1].settings) == {"n_layers": 3, "epochs": 7}


def test_settings_of_one_preset():
    given = {"CADMR@best.epochs": 3, "CADMR.learning_rate": 0.1}
    found = contenders(["CADMR", "CADMR@best"], ["synthetic"], given)
    assert dict(found[0].settings) == {"learning_rate": 0.1}
    assert dict(found[1].settings) == {"learning_rate": 0.1, "epochs": 3}


def test_cells_differ_by_what_was_given_and_by_nothing_else():
    (one,), (same,), (other,) = (contenders(["BPR"], ["synthetic"], s) for s in ({}, {}, {"epochs": 3}))
    assert one.cell(1).name == same.cell(1).name
    assert len({one.cell(1).name, one.cell(2).name, other.cell(1).name}) == 3
    assert one.cell(1, epochs=300).name == one.cell(1).name  # the default said aloud
    assert [cell.settings["seed"] for cell in cells_of(one, [4, 5])] == [4, 5]


@pytest.mark.parametrize("model", ["EASE", "ItemKNN", "LinearCADMR"])
def test_what_is_deterministic_runs_once(model):
    once, twice = contenders([model, "Pop"], ["synthetic"], {})
    assert (len(cells_of(once, [4, 5])), len(cells_of(twice, [4, 5]))) == (1, 2)


@pytest.mark.parametrize(
    ("models", "datasets", "settings", "words"),
    [
        (["FREEDON"], ["synthetic"], {}, "did you mean FREEDOM"),
        (["BPR"], ["sinthetic"], {}, "did you mean synthetic"),
        (["BPR@best"], ["synthetic"], {}, "no preset 'best'"),
        (["BPR"], ["synthetic"], {"metrics": ["Recal"]}, "did you mean recall"),
        (["BPR"], ["synthetic"], {"learning_rat": 1}, "did you mean learning_rate"),
        (["BPR"], ["synthetic"], {"LightGCN.n_layers": 1}, "none of the models of this benchmark"),
        (["BPR"], ["synthetic"], {"BPR.n_layer": 1}, "there is no setting 'n_layer'"),
        (["BPR", "BPR"], ["synthetic"], {}, "named twice"),
        ([], ["synthetic"], {}, "at least one model"),
        (["Pop@"], ["synthetic"], {}, "names no preset"),
        (["CADMR", "CADMR@paper"], ["synthetic"], {}, "are the same model with the same settings"),
        (["BPR"], ["synthetic"], {"dataset": "micro"}, "use --datasets"),
        (["BPR"], ["synthetic"], {"BPR.seed": 7}, "use --seeds"),
        (["BPR"], ["synthetic"], {"metrics": ["Recall", "ItemCoverage"]}, "measures Recall, NDCG"),
    ],
)
def test_mistakes_are_named(models, datasets, settings, words):
    with pytest.raises(UserError, match=words):
        contenders(models, datasets, settings)


def test_a_search_begins_with_the_defaults_and_repeats_nothing():
    space = {"a": [1, 2, 3], "b": [1, 2]}
    tried = random_settings(space, 5, "key")
    assert tried[0] == {} and len({tuple(point.items()) for point in tried}) == 5
    assert random_settings(space, 3, "key") == tried[:3] and random_settings(space, 5, "other") != tried
    assert len(random_settings(space, 100, "key")) == 7 and random_settings({}, 4, "key") == [{}]
    without = random_settings(space, 100, "key", {"a": 2, "b": 1, "c": 0})
    assert len(without) == 6 and {"a": 2, "b": 1} not in without
    wide = {str(i): [0, 1, 2, 3] for i in range(12)}
    assert random_settings(wide, 4, "key") == random_settings(wide, 9, "key")[:4]


def test_the_best_trial_is_the_first_of_the_highest_on_validation():
    scores = {"a": 0.1, "b": 0.3, "c": 0.3, "d": None}
    assert best_of([({"x": name}, {"best_valid_score": score}) for name, score in scores.items()]) == {"x": "b"}


@pytest.mark.parametrize("model", [*MODELS, *RECBOLES[1:]])
def test_every_choice_of_every_space_is_allowed(model):
    names = [entry.name.split(".") for entry in (files("recbole_cadmr.properties") / "space").iterdir()]
    presets = [None, *(name[1] for name in names if name[0] == model and len(name) == 3)]
    for preset in presets:
        space = read_space(model, preset)
        assert len(space) >= 1
        for name, choices in space.items():
            assert len(choices) > 1
            for value in choices:
                given = {name: value, **({"preset": preset} if preset else {})}
                assert Config(model, "synthetic", settings=given)[name] == value
