"""Hooks in RecBole's modules, whenever these are imported."""

from __future__ import annotations

import importlib.util

import recbole.config

from recbole_cadmr.compat import on_import
from recbole_cadmr.config.config import Config


def test_hooks_are_put_into_a_module_of_recboles_that_is_imported_later():
    spec = on_import._Finder().find_spec("recbole.config.configurator", recbole.config.__path__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.Config is not recbole.config.Config and "get_model" in spec.loader.get_source(module.__name__)
    assert type(module.Config(model="RP3beta", dataset="synthetic")) is Config
    assert type(module.Config(model="BPR", dataset="ml-100k")) is module.Config
    assert importlib.util.find_spec("recbole.model.general_recommender.freedom") is not None
    assert importlib.util.find_spec("recbole.model.general_recommender.base") is None  # no model
