"""Networks of torchvision with weights from a seed."""

from __future__ import annotations

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
