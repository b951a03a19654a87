"""CADMR and multimodal recommendation in RecBole.

From a notebook::

    import recbole_cadmr

    run = recbole_cadmr.train("CADMR", "baby", settings={"epochs": 50})
    run.result["test_result"]["recall@20"]
    recbole_cadmr.evaluate(run.checkpoint, topk=[10, 100])
    recommender = recbole_cadmr.load(run.checkpoint)
    recommender.recommend(["17", "42"], topk=10)
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

# Read when torch is first imported: waiting threads that spin take a third of two cores from those that work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from recbole_cadmr import compat
from recbole_cadmr.errors import UserError

if TYPE_CHECKING:
    from recbole_cadmr.recommender.recommender import load, recommend
    from recbole_cadmr.runs.evaluate import evaluate
    from recbole_cadmr.runs.final import train_final
    from recbole_cadmr.runs.train import Run, resume, train

__all__ = ["Run", "UserError", "evaluate", "load", "recommend", "resume", "train", "train_final"]

compat.apply()

_ENTRY_POINTS = {
    "Run": "runs.train",
    "evaluate": "runs.evaluate",
    "load": "recommender.recommender",
    "recommend": "recommender.recommender",
    "resume": "runs.train",
    "train": "runs.train",
    "train_final": "runs.final",
}


def __getattr__(name: str) -> Any:
    """Import a workflow when it is first asked for, so that a room can be used without all the others."""
    if name in _ENTRY_POINTS:
        return getattr(importlib.import_module(f"recbole_cadmr.{_ENTRY_POINTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
