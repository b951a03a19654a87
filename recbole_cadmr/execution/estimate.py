"""What a cell will take, before it is run: seconds and memory."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from recbole_cadmr.config.config import Config
from recbole_cadmr.config.yaml_text import read_yaml
from recbole_cadmr.data.atomic import read_table
from recbole_cadmr.errors import UserError
from recbole_cadmr.memory import free_for_another

# A process with torch and RecBole loaded, and the scores, hits and lists of an evaluation.
_PROCESS = 700 * 2**20
# Matrices item by item that a fit holds at its peak.
_DENSE = {"EASE": 6, "ADMMSLIM": 8, "SLIMElastic": 2, "ItemKNN": 8, "NCEPLRec": 2, "LinearCADMR": 5, "CADMR@best": 7}
_SPARSE_INSTEAD = ("LinearCADMR", "CADMR@best")  # which have a sparse fit where the dense one has no room
_COPIES = 6  # of the trained numbers: the parameter, its gradient, two moments, and what is computed on the way


def sizes(config: Config) -> dict[str, int]:
    """Users, items and interactions in the files of a data set, before any filter; zeros if they cannot be read."""
    parts = config["benchmark_filename"]
    names = [f"{config['dataset']}.{part}.inter" for part in parts] if parts else [f"{config['dataset']}.inter"]
    users: set[str] = set()
    items: set[str] = set()
    interactions = 0
    try:
        for name in names:
            table = read_table(config.data_folder / name, config["field_separator"], config["encoding"] or "utf-8")
            table.columns = [str(column).partition(":")[0] for column in table.columns]
            users.update(table[config["USER_ID_FIELD"]])
            items.update(table[config["ITEM_ID_FIELD"]])
            interactions += len(table)
    except (OSError, KeyError, UserError):  # the cells will say what is wrong
        return {"users": 0, "items": 0, "interactions": 0}
    return {"users": len(users), "items": len(items), "interactions": interactions}


def memory_bytes(config: Config, counts: Mapping[str, int]) -> int:
    """Memory that a cell needs at its peak, roughly: process, features, free vectors, and matrices item by item."""
    model, preset = config["model"], config["preset"]
    name = f"{model}@{preset}" if f"{model}@{preset}" in _DENSE else model
    features = sum(file.stat().st_size for file in _feature_files(config))
    vectors = 4 * (counts["users"] + counts["items"]) * int(config["embedding_size"] or 64) * _COPIES * 4
    dense = 4 * counts["items"] ** 2 * _DENSE.get(name, 0)
    if name in _SPARSE_INSTEAD and dense > free_for_another() / 2:
        dense = 0
    return int(_PROCESS + features * _COPIES + vectors + dense)


def _feature_files(config: Config) -> Iterable[Any]:
    names = config["modalities"] or [] if config["model_is_multimodal"] else []
    return [file for name in names if (file := config.data_folder / f"{config['dataset']}.{name}.npy").is_file()]


class Seconds:
    """Seconds that cells take: as measured in this benchmark, or else from figures on Amazon Baby.

    ``properties/costs.yaml`` holds these, measured on one core with default settings: ``seconds`` in all, over how many
    ``epochs``, and the ``power`` of the number of interactions that they grow with.
    """

    def __init__(self) -> None:
        self._costs = read_yaml(files("recbole_cadmr.properties") / "costs.yaml")
        self._baby = self._costs.pop("interactions")
        self._measured: dict[tuple[str, str], list[float]] = {}

    def measured(self, label: str, dataset: str, seconds: float) -> None:
        """Take note of a finished cell."""
        self._measured.setdefault((label, dataset), []).append(seconds)

    def of(self, label: str, dataset: str, interactions: int, epochs: Any) -> float | None:
        """Seconds of a cell; None for a model that nothing is known about."""
        if (label, dataset) in self._measured:
            return statistics.mean(self._measured[label, dataset])
        cost = self._costs.get(label, self._costs.get(label.partition("@")[0]))
        if cost is None:
            return None
        share = min(1.0, epochs / cost["epochs"]) if cost["epochs"] and isinstance(epochs, int) else 1.0
        return cost["seconds"] * share * (interactions / self._baby) ** cost["power"]
