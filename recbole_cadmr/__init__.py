"""CADMR and multimodal recommendation in RecBole.

From a notebook::

    import recbole_cadmr

    run = recbole_cadmr.train("CADMR", "baby", epochs=50)
    run.result["test_result"]["recall@20"]
    recbole_cadmr.evaluate(run.checkpoint, topk=[10, 100])
    recommender = recbole_cadmr.load(run.checkpoint)
    recommender.recommend(["17", "42"], topk=10)
    recbole_cadmr.run_benchmark(["CADMR@best", "LightGCN"], ["baby"], seeds=3, output="comparison")
    folder = recbole_cadmr.prepare("files", inter="sales.csv", items="items.csv", name="shop")
    recbole_cadmr.train("LinearCADMR", folder)

RecBole's own functions work with these models and with ``Config``, once the package is imported: docs/recbole_tools.md.
"""

from __future__ import annotations

import os
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

# Read when torch is first imported: waiting threads that spin take a third of two cores from those that work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from recbole_cadmr.compat import workarounds
from recbole_cadmr.errors import UserError
from recbole_cadmr.recbole_api.install import install_hooks

if TYPE_CHECKING:
    from recbole_cadmr.benchmark.benchmark import benchmark as run_benchmark
    from recbole_cadmr.cli.prepare import prepare
    from recbole_cadmr.config.config import Config
    from recbole_cadmr.data.dataset import MultimodalDataset as Dataset
    from recbole_cadmr.recommender.load import load, recommend
    from recbole_cadmr.runs.evaluate import evaluate
    from recbole_cadmr.runs.final import train_final
    from recbole_cadmr.runs.train import Run, resume, train
    from recbole_cadmr.tuning.tune import tune

__all__ = [
    "Config",
    "Dataset",
    "Run",
    "UserError",
    "__version__",
    "evaluate",
    "load",
    "prepare",
    "recommend",
    "resume",
    "run_benchmark",
    "train",
    "train_final",
    "tune",
]
__version__ = "0.1.0"

workarounds.apply()
install_hooks()

_ENTRY_POINTS = {
    "Config": "config.config:Config",
    "Dataset": "data.dataset:MultimodalDataset",
    "Run": "runs.train:Run",
    "evaluate": "runs.evaluate:evaluate",
    "load": "recommender.load:load",
    "prepare": "cli.prepare:prepare",
    "recommend": "recommender.load:recommend",
    "resume": "runs.train:resume",
    "run_benchmark": "benchmark.benchmark:benchmark",  # `benchmark` is the room
    "train": "runs.train:train",
    "train_final": "runs.final:train_final",
    "tune": "tuning.tune:tune",
}


def __getattr__(name: str) -> Any:
    """Import a workflow when it is first asked for, so that a room can be used without all the others."""
    if name in _ENTRY_POINTS:
        return resolve_name(f"recbole_cadmr.{_ENTRY_POINTS[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What there is to complete: the public names, before any has been imported, too, and not what this module uses."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
