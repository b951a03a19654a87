"""What RecBole's models refuse is one sentence, and scores that are no numbers are never measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import recbole
import torch

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.config.config import Config
from recbole_cadmr.config.yaml_text import read_yaml
from recbole_cadmr.errors import ModelError, UserError
from recbole_cadmr.models.registry import model_names
from recbole_cadmr.training.callbacks import TrainingCallback
from recbole_cadmr.training.refusals import are_finite
from tests.micro import open_micro, write_micro

PROPERTIES = Path(recbole.__file__).parent / "properties" / "model"
BRIEF = {"topk": [1, 2], "valid_metric": "Recall@2", "epochs": 1, "show_progress": False, "state": "ERROR"}


@pytest.mark.parametrize(
    ("model", "name", "value", "sentence"),
    [
        ("LINE", "order", 3, "must be one of 1, 2, not 3"),
        ("SGL", "drop_ratio", 2, "must be below 1, not 2"),
        ("EASE", "reg_weight", 0, "must be above 0, not 0"),
        ("ItemKNN", "k", 1.5, "must be a whole number, not 1.5"),
        ("DiffRec", "noise_schedule", "foo", "must be one of linear, linear-var, cosine, binomial, not 'foo'"),
        ("NNCF", "neigh_num", 0, "must be at least 1, not 0"),
        ("LightGCN", "n_layers", 1.5, "must be a whole number, not 1.5"),
        ("SLIMElastic", "alpha", -1, "must be at least 0, not -1"),
        ("MultiVAE", "mlp_hidden_size", [-1], "must be at least 1, not -1"),
        ("SimpleX", "aggregator", "foo", "must be one of mean, user_attention, self_attention, not 'foo'"),
        ("CDAE", "loss_type", "foo", "must be one of BCE, MSE, not 'foo'"),
        ("AsymKNN", "alpha", 2, "must be at most 1, not 2"),
        ("NAIS", "algorithm", "foo", "must be one of prod, concat, not 'foo'"),
        ("BPR", "embedding_size", -3, "must be at least 1, not -3"),
    ],
)
def test_settings_of_recboles_models_are_checked(model, name, value, sentence):
    with pytest.raises(UserError) as error:
        Config(model, settings={name: value})
    assert str(error.value) == f"settings: {name} {sentence}"


@pytest.mark.parametrize("model", [name for name in model_names() if (PROPERTIES / f"{name}.yaml").is_file()])
def test_defaults_of_recboles_models_are_allowed(model):
    defaults = read_yaml(PROPERTIES / f"{model}.yaml")
    assert Config(model, settings=defaults).changed == Config(model).changed


def test_what_a_model_refuses_is_quoted_with_its_settings(tmp_path):
    write_micro(tmp_path)
    with pytest.raises(ModelError) as error:
        recbole_cadmr.train("DGCF", "micro", output=tmp_path / "run",
                            settings={**BRIEF, "data_path": str(tmp_path), "n_factors": 3})  # fmt: skip
    said = "cannot build DGCF on micro with epochs=1, n_factors=3: AssertionError: assert self.embedding_size % "
    assert str(error.value) == f"{said}self.n_factors == 0"
    assert not (tmp_path / "run").exists()


def test_a_fault_of_our_own_models_keeps_its_traceback(tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_cadmr.models.vbpr.VBPR.calculate_loss", lambda *_: 1 / 0)
    write_micro(tmp_path)
    with pytest.raises(ZeroDivisionError):
        recbole_cadmr.train("VBPR", "micro", settings={**BRIEF, "data_path": str(tmp_path)})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("model", ["BPR", "VBPR"])
def test_scores_that_are_no_numbers_are_not_measured(tmp_path, model, value):
    session = open_micro(write_micro(tmp_path), model)
    assert session.trainer.evaluate(session.test_data, load_best_model=False)
    with torch.no_grad():
        next(p for p in session.model.parameters() if p.dim() == 2)[-1] = value
    with pytest.raises(ModelError, match=f"{model} gives scores that are NaN or infinite"):
        session.trainer.evaluate(session.test_data, load_best_model=False)
    with pytest.raises(ModelError, match="NaN or infinite"):
        session.trainer._save_checkpoint(0)


def test_who_has_no_history_is_named_as_the_cause(tmp_path):
    session = open_micro(write_micro(tmp_path), "FISM", alpha=0.5)  # eve has no train interaction: 0 ** -0.5 times 0
    with pytest.raises(ModelError, match="FISM gives scores .* to 1 of 2 users at once; .* unless alpha=0"):
        session.trainer.evaluate(session.test_data, load_best_model=False)
    assert open_micro(tmp_path, "FISM").trainer.evaluate(session.test_data, load_best_model=False)


def test_nothing_is_left_of_a_run_that_comes_to_no_model(tmp_path):
    write_micro(tmp_path)
    command = ["train", "--dataset=micro", f"--data_path={tmp_path}", f"--output={tmp_path / 'run'}", "--topk=[1,2]",
               "--valid_metric=Recall@2", "--epochs=3", "--show_progress=False"]  # fmt: skip
    for given in (["--model=BPR", "--learning_rate=1e38"], ["--model=LinearCADMR", "--reg_weight=1e300"],
                  ["--model=NAIS", "--reg_weights=[1]"], ["--model=NCL"]):  # fmt: skip
        assert main([*command, *given]) == 2
        assert not (tmp_path / "run").exists()


def test_what_a_callback_raises_is_not_recboles(tmp_path):
    class Failing(TrainingCallback):
        def on_validation(self, trainer, validation):
            validation["seconds"] = 1 / 0

    settings = {**BRIEF, "data_path": str(write_micro(tmp_path))}
    with pytest.raises(ZeroDivisionError):
        recbole_cadmr.train("BPR", "micro", settings=settings, callbacks=[Failing()])


def test_layers_without_end_are_refused():
    for model, name in (("MMGCN", "n_layers"), ("LightGCN", "n_layers"), ("FREEDOM", "n_item_layers")):
        with pytest.raises(UserError, match=f"{name} must be at most 1000, not 1000000000"):
            Config(model, settings={name: 10**9})


def test_a_learning_rate_beyond_all_bounds(tmp_path):
    write_micro(tmp_path)
    with pytest.raises(ModelError, match="lower learning_rate"):
        recbole_cadmr.train("BPR", "micro", settings={**BRIEF, "data_path": str(tmp_path), "learning_rate": 1e38})


def test_an_inverse_that_was_not_computed(monkeypatch, tmp_path):
    write_micro(tmp_path)
    open_micro(tmp_path, "EASE")
    # What numpy returns where it had no memory to compute: an array that nothing was written to.
    monkeypatch.setattr(np.linalg, "inv", lambda a: np.zeros_like(a))
    with pytest.raises(MemoryError, match="numpy had no memory to invert a matrix of 5 rows"):
        open_micro(tmp_path, "EASE")


@pytest.mark.parametrize(
    ("values", "finite"),
    [
        ([1.0, -2.0], True),
        ([], True),
        ([1.0, float("nan")], False),
        ([float("-inf"), 0], False),
        ([3e38, 3e38], True),
        ([float("inf"), float("-inf")], False),
    ],
)
def test_are_finite(values, finite):
    assert are_finite(torch.tensor(values)) is finite
