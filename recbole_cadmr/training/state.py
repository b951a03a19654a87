"""What it takes to resume a run bit for bit: random states, optimisers, and what models keep in attributes."""

from __future__ import annotations

import hashlib
import math
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import psutil
import scipy.sparse as sp
import torch
import torch.distributed as dist
from torch import nn

from recbole_cadmr.files import json_text
from recbole_cadmr.training.contents import CpuSeconds, ResumeContent, Validation

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


def set_random_state(state: Mapping[str, Any]) -> None:
    """Restore what :func:`random_state` returned; ValueError, TypeError or RuntimeError if it is something else."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([entry.cpu() for entry in state["cuda"]])


def history_hash(history: Iterable[Validation]) -> str:
    """A hash of validations that is the same after a way through ``history.jsonl``."""
    return hashlib.sha256("\n".join(map(json_text, history)).encode()).hexdigest()


def check_progress(state: ResumeContent, history: Sequence[Validation], metric: str, bigger: bool) -> None:
    """Raise ValueError unless epochs and best score of a ``resume.pt`` and the validations before it agree.

    Args:
        metric, bigger: what validations are compared by, and whether more of it is better.
    """
    kept, epoch = state["trainer"], state["epoch"]
    done = kept["train_loss_dict"]
    if len(done) != epoch or not all(0 <= number < epoch for number in done):
        raise ValueError(f"it begins with epoch {epoch} after {len(done)} epochs")
    if len(history) < kept.get("n_validations", 0):
        raise ValueError(f"{len(history)} of its {kept['n_validations']} validations are left in history.jsonl")
    for entry in history:
        if entry["epoch"] >= epoch > 0 or entry["valid_score"] != entry["valid_result"].get(metric):
            raise ValueError(f"its validation of epoch {entry['epoch']} is not what was measured")
    scores = [s for entry in history if entry["phase"] == state["phase"] and (s := entry["valid_score"]) is not None]
    choose, without = (max, -math.inf) if bigger else (min, math.inf)
    if kept["best_valid_score"] != choose(scores, default=without):
        raise ValueError("its best validation score is that of no validation")
    if "history_hash" in kept and kept["history_hash"] != history_hash(history):
        raise ValueError("the validations in history.jsonl are not those that it counts")


class AttributeWatch:
    """State that a model keeps in plain attributes, outside ``state_dict``.

    RecBole's models count steps in numbers (MultiVAE's annealing), cache tensors (NCL's clusters) and tally in place
    (Pop). What has changed since the watch began is kept: what was built from the data set is not written again with
    every epoch, and what came from the settings is built again from these, which may have changed by then.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._first = {key: (value, value._version) for key, value in self._attributes() if _is_dense(value)}
        self._numbers = {key: value for key, value in self._attributes() if isinstance(value, Scalar)}

    def _attributes(self) -> list[tuple[str, Any]]:
        return [
            (f"{path}:{name}", value)
            for path, module in self._model.named_modules()
            for name, value in vars(module).items()
            if not name.startswith("_") and name != "training"
        ]

    def state(self) -> dict[str, Any]:
        """Numbers and tensors that changed, by ``module:attribute``."""
        kept: dict[str, Any] = {}
        for key, value in self._attributes():
            if isinstance(value, Scalar) and (key not in self._numbers or self._numbers[key] != value):
                kept[key] = value
            elif _is_dense(value):
                first, version = self._first.get(key, (None, -1))
                if value is not first or value._version != version:
                    kept[key] = value.detach().clone()
        return kept

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Put back what was kept; numbers that were not are what they were when the watch began.

        Raises:
            ValueError: if ``state`` names what is no data of the model's, such as a method, or data of another kind.
        """
        modules = dict(self._model.named_modules())
        for key, value in {**self._numbers, **state}.items():
            path, _, name = key.partition(":")
            module = modules.get(path)
            if module is None or not name.isidentifier() or name.startswith("_") or name == "training":
                raise ValueError(f"the model has no attribute {key!r}")
            # What is not there may come, since some models make attributes in training; what the class has may not.
            if hasattr(module, name) and name not in {**vars(module), **module._buffers}:
                raise ValueError(f"{key!r} is no data of the model")
            put_back(module, name, value, getattr(module, name, None))


def put_back(module: nn.Module, name: str, value: Any, own: Any) -> None:
    """Set an attribute of a module, which holds ``own`` now, to data that it held before.

    Raises:
        ValueError: if that is no data, or of another kind. (None may become anything and back: models fill caches.)
    """
    alike = _kind(value) == _kind(own) and getattr(value, "shape", ()) == getattr(own, "shape", ())
    if None in (_kind(value), _kind(own)) or not (alike or value is None or own is None):
        raise ValueError(f"{name} of the model is {type(own).__name__}, not {type(value).__name__}")
    setattr(module, name, value)


def _kind(value: Any) -> Any:
    """What kind of data a value is, as one or two types; None if it is none."""
    kinds = (type(None), bool, (int, float), str, torch.Tensor, np.ndarray, sp.spmatrix, dict)
    return next((kind for kind in kinds if isinstance(value, kind)), None)


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """As ``optimizer.load_state_dict``, which takes tensors of any shape and fails on them in the next step.

    Raises:
        ValueError: if the state is not that of an optimiser of these parameters.
    """
    groups = state["param_groups"]
    own = [p for group in optimizer.param_groups for p in group["params"]]
    for place, entry in state["state"].items():
        for name, value in entry.items():
            if not 0 <= place < len(own) or not isinstance(value, (torch.Tensor, int, float, type(None))):
                raise ValueError(f"the optimiser has no {name} of parameter {place}")
            if isinstance(value, torch.Tensor) and value.numel() != 1 and value.shape != own[place].shape:
                raise ValueError(f"{name} of the optimiser has the shape {tuple(value.shape)}")
    for before, group in zip(groups, optimizer.param_groups):
        for name, value in group.items():
            if name != "params" and name in before and not _same_option(before[name], value):
                raise ValueError(f"{name} of the optimiser cannot be {before[name]!r}")
    optimizer.load_state_dict(dict(state))


def _same_option(value: Any, own: Any) -> bool:
    if isinstance(own, tuple):
        return isinstance(value, (list, tuple)) and len(value) == len(own) and all(map(_same_option, value, own))
    return _kind(value) == _kind(own)


def _is_dense(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and not isinstance(value, nn.Parameter)


def cpu_now() -> CpuSeconds:
    """Seconds of processors that this process has used since it began, and those that share its training."""
    times = os.times()
    children = times.children_user + times.children_system
    if dist.is_available() and dist.is_initialized():  # by processes that outlive the training
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                children += sum(process.cpu_times()[:4])
    return {"process": times.user + times.system, "children": children}
