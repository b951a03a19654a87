"""The package's own spaces: one for every model that has something to search, of settings and values that it takes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import recbole_cadmr.properties
from recbole_cadmr.config.config import Config
from recbole_cadmr.config.model_yaml import search_space
from recbole_cadmr.errors import UserError
from recbole_cadmr.models.registry import MODELS, model_names
from recbole_cadmr.tuning.space import check_space, read_space, space_left
from tests.micro import open_micro, write_micro

PRESETS = sorted(file.stem for file in (Path(recbole_cadmr.properties.__file__).parent / "model").glob("*.*.yaml"))
SEARCHED = [name for name in model_names() if name not in ("Pop", "Random", "RaCT")]
LEAST = {"topk": [1, 2], "valid_metric": "Recall@2", "epochs": 1, "show_progress": False, "use_gpu": False}


def split(name):
    """``MODEL.PRESET`` as the two; None for no preset."""
    model, _, preset = name.partition(".")
    return model, preset or None


@pytest.mark.parametrize("name", [*SEARCHED, *PRESETS])
def test_every_model_and_preset_has_a_space_of_what_it_takes(name):
    model, preset = split(name)
    space, config = read_space(model, preset), Config(model, settings={"preset": preset})
    check_space(space, config, name)
    size = math.prod(len(dimension.choices) or math.inf for dimension in space.values())
    assert size >= 3
    for setting, dimension in space.items():
        assert all(dimension.choices.count(value) == 1 for value in dimension.choices)
        if model not in MODELS and dimension.choices:  # RecBole's defaults are among what is tried
            assert config[setting] in dimension.choices


@pytest.mark.parametrize(
    ("model", "preset", "expected"),
    [
        ("BPR", None, {"learning_rate": [0.0005, 0.001, 0.002, 0.005], "embedding_size": [64, 128],
                       "weight_decay": [0.0, 0.000001, 0.00001]}),
        ("GRCN", "published", {"reg_weight": [0.1, 0.01, 0.001, 0.0001, 0.00001],
                               "learning_rate": [0.0001, 0.001, 0.01, 0.1, 1.0]}),
        ("CADMR", "content", {"learning_rate": [0.0003, 0.001, 0.003], "row_dropout_prob": [0.0, 0.2, 0.5],
                              "tc_weight": [0.0, 0.01, 0.1, 0.5], "gate_init": [0.0, 0.1, 0.5]}),
        ("CADMR", "best", {"learning_rate": [0.001, 0.002, 0.004], "attention_temperature": [0.1, 0.15, 0.2],
                           "held_out_share": [0.3, 0.5, 0.7], "content_scale": [0.5, 1.0, 2.0]}),
        ("Pop", None, {}),
    ],
)  # fmt: skip
def test_a_space_is_the_presets_own_or_else_the_models_in_the_order_of_the_file(model, preset, expected):
    assert list(search_space(model, preset).items()) == list(expected.items())


@pytest.mark.parametrize("end", [0, -1])
@pytest.mark.parametrize("model", ["DMF", "SimpleX", "BM3", "LGMRec"])
def test_the_ends_of_a_space_make_a_model(tmp_path, model, end):
    point = {name: dimension.values[end] for name, dimension in read_space(model).items()}
    session = open_micro(write_micro(tmp_path), model, **LEAST, **point)
    assert {name: session.config[name] for name in point} == point
    assert all(parameter.isfinite().all() for parameter in session.model.parameters())
    assert session.model.calculate_loss(next(iter(session.train_data))) is not None


def test_what_has_no_effect_is_not_searched(caplog):
    config = Config("LinearCADMR", "synthetic", settings={"attention": "none"})
    assert list(space_left(config, None, ["attention"])) == ["reg_weight"]
    assert "not searched: enhancement has no effect where attention is none" in caplog.text
    both = space_left(config, {"attention": ["none", "graph"], "enhancement": [0.5, 1.5]}, [])
    assert list(both) == ["attention", "enhancement"]  # the one may let the other have an effect
    with pytest.raises(
        UserError, match="the space: enhancement has no effect where attention is none; leave it out of"
    ):
        space_left(config, {"reg_weight": [1.0, 2.0], "enhancement": [0.5, 1.5]}, ["attention"])
