"""What the yaml of models says beside settings: presets, and published results."""

from __future__ import annotations

import pytest

from recbole_cadmr.config.config import Config
from recbole_cadmr.config.model_yaml import Published, declared_settings, find_preset, published
from recbole_cadmr.errors import UserError
from recbole_cadmr.models.registry import MODELS, get_model

BABY, SPORTS = [118551, 20559, 21682], [218409, 37899, 40029]


@pytest.mark.parametrize(
    ("model", "preset", "dataset", "interactions", "expected"),
    [
        ("FREEDOM", None, "baby", BABY, {"recall@10": 0.0627, "recall@20": 0.0992, "ndcg@10": 0.0330,
                                         "ndcg@20": 0.0424}),
        ("LightGCN", None, "sports", SPORTS, {"recall@10": 0.0569, "recall@20": 0.0864, "ndcg@10": 0.0311,
                                              "ndcg@20": 0.0387}),
        ("GRCN", "published", "baby", tuple(BABY), {"recall@10": 0.0539, "recall@20": 0.0833, "ndcg@10": 0.0288,
                                                    "ndcg@20": 0.0363}),
        ("CADMR", None, "sports", SPORTS, {"ndcg@10": 0.1719}),
        ("CADMR", "best", "baby", BABY, None),
        ("GRCN", None, "baby", BABY, None),  # routed as the paper has it, which nothing was published of
        ("LinearCADMR", None, "baby", BABY, None),
        ("Pop", None, "baby", BABY, None),
        ("FREEDOM", None, "baby", [118552, 20559, 21681], None),  # another split
        ("FREEDOM", None, "tiktok", [1, 2, 3], None),
    ],
)  # fmt: skip
def test_what_was_published_is_of_a_model_a_preset_and_a_split(model, preset, dataset, interactions, expected):
    results = published(model, preset, dataset, interactions)
    assert (results and results.metrics) == expected
    assert results is None or (isinstance(results, Published) and len(results.source) > 20)


def test_a_preset_holds_settings_beside_what_is_said_of_them():
    preset = find_preset("CADMR", None)
    assert preset is not None and (preset.name, preset.file, preset.search) == ("paper", "CADMR.paper.yaml", None)
    assert preset.settings.keys() == {"epochs", "train_batch_size", "learning_rate", "stopping_step", "weight_decay"}
    assert find_preset("BPR", None) is None
    assert not {"search", "published"} & Config("CADMR", settings={"preset": "best"}).final_config_dict.keys()
    with pytest.raises(UserError, match="CADMR has no preset 'bst'; it has best, content, paper"):
        find_preset("CADMR", "bst")


def test_a_models_own_entry_adds_to_the_general_one():
    own = declared_settings("SLMRec", ["multimodal"], None)["learning_rate"]
    assert (own.default, own.exclusive_minimum, own.types) == (0.01, 0, ("float",))
    ease, ncl = (declared_settings(name, (), {"reg_weight": 1.0}) for name in ("EASE", "NCL"))
    assert (ease["reg_weight"].minimum, ease["reg_weight"].exclusive_minimum) == (None, 0)
    assert ncl["reg_weight"].minimum == 0 and "anneal_cap" not in ncl


def test_a_model_is_found_by_its_yaml_and_its_module():
    assert {"CADMR", "LinearCADMR", "VBPR", "SLMRec"} <= MODELS.keys()
    assert not {"SoftmaxCADMR", "NeuMF", "CADMR.best"} & MODELS.keys()
    assert all(get_model(name).__name__ == name for name in MODELS)
