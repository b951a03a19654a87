"""What a cut run needs to go on bit for bit: random states, optimisers, and what models keep in attributes."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import nn

Scalar = (bool, int, float, str, type(None))


def random_state() -> dict[str, Any]:
    """The states of Python's, numpy's and torch's random generators (of every GPU, too)."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, keys, position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what :func:`random_state` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([entry.cpu() for entry in state["cuda"]])


class AttributeWatch:
    """State that a model keeps in plain attributes, outside ``state_dict``.

    RecBole's models count steps in numbers (MultiVAE's annealing), cache tensors (NCL's clusters) and tally in place
    (Pop). What has changed since the watch began is kept: what was built from the data set is not written again with
    every epoch, and what came from the settings is built anew from these, which may be others by then.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._first = {key: (value, value._version) for key, value in self._tensors()}
        self._numbers = {key: value for key, _, _, value in self._attributes() if isinstance(value, Scalar)}

    def _attributes(self) -> list[tuple[str, nn.Module, str, Any]]:
        return [
            (f"{path}:{name}", module, name, value)
            for path, module in self._model.named_modules()
            for name, value in vars(module).items()
            if not name.startswith("_") and name != "training"
        ]

    def _tensors(self) -> list[tuple[str, torch.Tensor]]:
        return [(key, value) for key, _, _, value in self._attributes() if _is_dense(value)]

    def state(self) -> dict[str, Any]:
        """Numbers and tensors that changed, by ``module:attribute``."""
        kept: dict[str, Any] = {
            key: value
            for key, _, _, value in self._attributes()
            if isinstance(value, Scalar) and (key not in self._numbers or self._numbers[key] != value)
        }
        for key, value in self._tensors():
            first, version = self._first.get(key, (None, -1))
            if value is not first or value._version != version:
                kept[key] = value.detach().clone()
        return kept

    def load_state(self, state: dict[str, Any]) -> None:
        """Put back what was kept; numbers that were not are what they were when the watch began."""
        modules = dict(self._model.named_modules())
        for key, value in {**self._numbers, **state}.items():
            path, name = key.split(":")
            setattr(modules[path], name, value)


def _is_dense(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and not isinstance(value, nn.Parameter)
