"""What a benchmark runs, and what it says of a mistake."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from recbole_cadmr.benchmark.cells import Cells
from recbole_cadmr.benchmark.plan import model_specs, seeds_of
from recbole_cadmr.errors import UserError

RECBOLES = ("Pop", "ItemKNN", "BPR", "LightGCN", "SGL", "MultiVAE", "RecVAE", "MacridVAE", "EASE", "SLIMElastic")


@pytest.mark.parametrize(("text", "seeds"), [("3", [1, 2, 3]), ("7,", [7]), ("5, 2020", [5, 2020])])
def test_seeds(text, seeds):
    assert seeds_of(text) == seeds


@pytest.mark.parametrize("text", ["", "0", ",", "-1", "one", "1,1", "2020"])
def test_seeds_that_are_none(text):
    with pytest.raises(UserError, match="--seeds"):
        seeds_of(text)


def test_settings_reach_the_models_that_have_them():
    found = model_specs(["BPR", "LightGCN"], ["synthetic"], {"n_layers": 3, "epochs": 7, "BPR.learning_rate": 0.01})
    assert dict(found[0].settings) == {"epochs": 7, "learning_rate": 0.01}
    assert dict(found[1].settings) == {"n_layers": 3, "epochs": 7}


@pytest.mark.parametrize(
    ("models", "settings", "is_said"),
    [
        (["LinearCADMR", "EASE"], {"reg_weight": 60.0}, True),
        (["LinearCADMR", "EASE"], {"LinearCADMR.reg_weight": 60.0, "EASE.reg_weight": 9.0}, False),
        (["LinearCADMR"], {"reg_weight": 60.0}, False),
    ],
)
def test_a_setting_for_all_that_reaches_a_model_by_a_new_name_is_said(capsys, models, settings, is_said):
    model_specs(models, ["synthetic"], settings)
    assert (
        "--reg_weight reaches LinearCADMR, too, where it was called regularisation" in capsys.readouterr().out
    ) == is_said


def test_settings_of_one_preset():
    given = {"CADMR@best.epochs": 3, "CADMR.learning_rate": 0.1}
    found = model_specs(["CADMR", "CADMR@best"], ["synthetic"], given)
    assert dict(found[0].settings) == {"learning_rate": 0.1}
    assert dict(found[1].settings) == {"learning_rate": 0.1, "epochs": 3}


def test_cells_differ_by_what_was_given_and_by_nothing_else():
    (one,), (same,), (other,) = (model_specs(["BPR"], ["synthetic"], s) for s in ({}, {}, {"epochs": 3}))
    default = replace(one, settings={"epochs": 300})  # said aloud
    make = Cells(Path("out"), [4, 5])
    first, second = make.of(one)
    assert first.folder == make.of(same)[0].folder == make.of(default)[0].folder
    assert len({first.folder, second.folder, make.of(other)[0].folder}) == 3
    assert (first.all_settings["seed"], second.all_settings["seed"]) == (4, 5)


@pytest.mark.parametrize("text", ["9" * 5000, "9" * 5000 + ",", "99999999999999999999", "4294967296,", "-1,", "x", ""])
def test_seeds_beyond_any_machine_are_one_sentence(text):
    with pytest.raises(UserError) as error:
        seeds_of(text)
    assert len(str(error.value)) < 250


def test_seeds_are_those_that_numpy_takes():
    assert seeds_of("3") == [1, 2, 3] and seeds_of("7,4294967295") == [7, 2**32 - 1]


@pytest.mark.parametrize("model", ["EASE", "ItemKNN", "LinearCADMR"])
def test_what_is_deterministic_runs_once(model):
    once, twice = model_specs([model, "Pop"], ["synthetic"], {})
    cells = Cells(Path(), [4, 5])
    assert (len(cells.of(once)), len(cells.of(twice))) == (1, 2)


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
        model_specs(models, datasets, settings)
