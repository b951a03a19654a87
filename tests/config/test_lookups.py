"""A setting that is asked for by a mistyped name raises; code asks for settings that there are."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
import recbole
import recbole.trainer.trainer

import recbole_cadmr
from recbole_cadmr.config.config import _ABSENT, Config
from recbole_cadmr.config.model_yaml import own_settings
from recbole_cadmr.models.registry import MODELS, get_model, model_names

RECBOLE = Path(recbole.__file__).parent
# What RecBole's code does for a general recommender; the rest of it is for models of other kinds.
SHARED = ["data/dataset/dataset.py", "data/dataloader/abstract_dataloader.py", "data/dataloader/general_dataloader.py",
          "data/dataloader/user_dataloader.py", "data/utils.py", "sampler/sampler.py", "evaluator", "utils",
          "quick_start/quick_start.py"]  # fmt: skip
OURS = Path(recbole_cadmr.__file__).parent


def asked(tree: ast.AST) -> set[str]:
    """Every ``config["name"]`` in a piece of code."""
    return {
        node.slice.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
        and getattr(node.value, "id", getattr(node.value, "attr", "")) == "config"
    }


def asked_in(*files: Path) -> set[str]:
    return set().union(*(asked(ast.parse(file.read_text(encoding="utf-8"))) for file in files))


def test_a_mistyped_name_raises_and_names_the_nearest():
    config = Config("BPR")
    assert config["learning_rate"] == 0.001 and all(config[name] is None for name in _ABSENT)
    with pytest.raises(KeyError, match="'learnin_rate' is no setting of BPR; did you mean learning_rate?"):
        config["learnin_rate"]
    with pytest.raises(KeyError, match="'n_layers' is no setting of BPR"):
        config["n_layers"]
    assert "n_layers" not in config


@pytest.mark.parametrize("model", model_names())
def test_a_model_asks_for_settings_that_it_has(model):
    if model == "RaCT":  # which is refused
        return
    model_class = get_model(model)
    names = asked_in(*(Path(inspect.getfile(base)) for base in model_class.__mro__ if "general_recommender" in
                       base.__module__ or base.__module__.startswith("recbole_cadmr.models")))  # fmt: skip
    config = Config(model)
    if model == "RecVAE":
        names |= asked(ast.parse(inspect.getsource(recbole.trainer.trainer.RecVAETrainer)))
    assert names - config.final_config_dict.keys() <= {"norm"}


def test_recboles_shared_code_asks_for_what_every_model_has():
    files = [file for name in SHARED for file in ([RECBOLE / name] if name.endswith(".py") else
             sorted((RECBOLE / name).rglob("*.py")))]  # fmt: skip
    trainer = ast.parse((RECBOLE / "trainer" / "trainer.py").read_text())
    bases = {"AbstractTrainer", "Trainer", "TraditionalTrainer"}
    names = asked_in(*files).union(*(asked(n) for n in trainer.body if getattr(n, "name", "") in bases))
    assert len(names) > 50
    assert names - Config("BPR").final_config_dict.keys() == {*_ABSENT} - {"norm"}


def test_this_package_asks_for_what_is_declared():
    declared = set(Config("BPR").final_config_dict).union(*(own_settings(model) for model in MODELS))
    declared |= {name for model in ("VBPR", "MGCN", "FISM") for name in Config(model).final_config_dict}
    names = asked_in(*OURS.rglob("*.py"))
    assert len(names) > 100 and names - declared == set()
