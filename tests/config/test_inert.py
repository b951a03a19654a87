"""Settings that have no effect beside others are named, and they have none."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import UserError
from recbole_cadmr.models.registry import MODELS
from recbole_cadmr.models.vbpr import VBPR
from recbole_cadmr.runs.train import train
from tests.micro import PAIRS, open_checkpoint, write_micro

TC = {"tc_scope": "both", "tc_phase": "both"}
ROWS = {"pretrain_epochs": 7, "pretrain_learning_rate": 0.5, "autoencoder_hidden_sizes": [3], "row_dropout_prob": 0.7}
SOFTMAX = {"content_scale": 1.0, "held_out_share": 0.7, "attention_weights": [0.5], "ensemble_size": 2}
ATTENTION = {"gate": "none", "residual": False, "n_heads": 1, "attention_dropout_prob": 0.9, "gate_init": 2.0}
CONTENT = {"enhancement": 3.0, "two_hop": 0.4, "attention_damping": 0.3, "modality_weights": [1.0, 2.0]}
# The model, the settings that decide, and what has no effect beside these.
CASES = [
    (
        "CADMR",
        {"objective": "softmax"},
        {**ROWS, **TC, **ATTENTION, "fusion": "sum", "latent_size": 8, "tc_shrinkage": 0.5},
    ),
    ("CADMR", {"objective": "squared"}, SOFTMAX),
    ("CADMR", {}, {"attention_neighbours": 3}),
    ("CADMR", {"attention": "none"}, {**TC, **ATTENTION, "n_heads": 3, "attention_project": "parallel"}),
    ("CADMR", {"attention": "item"}, {"attention_dropout_prob": 0.9}),
    ("CADMR", {"gate": "none"}, {"gate_init": 2.0}),
    ("CADMR", {"tc_weight": 0.0}, {**TC, "tc_estimator": "covariance"}),
    ("CADMR", {"objective": "multinomial"}, {"positive_weight": 3.0}),
    ("LinearCADMR", {"attention": "none", "adaptive_fits": 1}, CONTENT),
    ("CADMR", {"pretrain_epochs": 0}, {"tc_phase": "both", "pretrain_learning_rate": 0.5, "pretrain_stopping_step": 1}),
    ("LinearCADMR", {"fit": "exact"}, {"sparse_rank": 2, "sparse_neighbours": 1}),
]


@pytest.mark.parametrize(("model", "deciding", "others"), CASES)
def test_what_has_no_effect_is_said_and_has_none(model, deciding, others, tmp_path, capsys):
    folder = write_micro(tmp_path)
    base = {**PAIRS, "epochs": 2, "stopping_step": 0, "data_path": str(folder)}
    base |= {"pretrain_epochs": 2, "gate_init": 0.5} if model == "CADMR" else {}
    base = {name: value for name, value in (base | deciding).items() if name not in others}
    scores, said = [], []
    for number, more in enumerate(({}, others)):
        run = train(model, "micro", settings=base | more, output=tmp_path / str(number))
        session = open_checkpoint(run.folder / "model.pt")
        with torch.no_grad():
            scores.append(session.model.full_sort_predict(Interaction({"user_id": torch.arange(6)})))
        said.append(sum("no effect" in line for line in capsys.readouterr().out.splitlines()))
    assert torch.equal(*scores)
    (sentence,) = Config(model, "micro", settings=base | others).without_effect()
    names, why = sentence.split(" has no effect " if len(others) == 1 else " have no effect ")
    assert set(names.split(", ")) == set(others)
    name, value = next(iter(deciding.items()), ("attention", "cross"))
    assert why == f"where {name} is {value}"
    assert said == [0, 1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"preset": "content", "attention": "none"}, []),  # the preset's gate_init
        (
            {"preset": "content", "attention": "none", "gate_init": 0.5},
            ["gate_init has no effect where attention is none"],
        ),
        ({"tc_weight": 0.0, "tc_scope": "both", "settings_schedule": {2: {"tc_weight": 0.5}}}, []),
        ({"settings_schedule": {2: {"tc_weight": 0.0}, 3: {"tc_scope": "both"}}}, []),  # 0.5 to begin with
        (
            {"tc_weight": 0.0, "settings_schedule": {3: {"tc_scope": "both"}}},
            ["tc_scope has no effect where tc_weight is 0.0"],
        ),
        (
            {"preset": "best", "linear_settings": {"attention": "none", "two_hop": 0.5, "reg_weight": 7.0}},
            ["linear_settings: two_hop has no effect where attention is none"],
        ),
        ({"attention_project": "parallel"}, []),
    ],
)
def test_what_is_said_of_presets_schedules_and_other_models_settings(settings, said):
    assert Config("CADMR", "synthetic", settings=settings).without_effect() == said


def test_what_decides_on_an_effect_is_a_setting_with_such_a_value():
    for model in MODELS:
        declarations = Config(model, "synthetic").declarations
        for setting in declarations.values():
            for other, values in setting.inert_where.items():
                for value in values if isinstance(values, list) else [values]:
                    declarations[other].check(value, setting.name)


class Mine(VBPR):
    """A model that says of a setting what it does not have."""

    settings: ClassVar = {"width": {"default": 3, "inert_where": {"deepth": 0}}}


def test_a_model_of_ones_own_names_a_setting_as_what_decides():
    with pytest.raises(UserError, match="width of Mine is inert_where deepth, which is no setting"):
        Config(Mine, "synthetic")
