"""The memory that a run needs, before it is run."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from recbole_cadmr.config.config import Config
from recbole_cadmr.data.atomic import read_table
from recbole_cadmr.errors import UserError
from recbole_cadmr.memory import free_for_another
from recbole_cadmr.models.contract import traits
from recbole_cadmr.training.held_out import ENTRIES

# A process with torch and RecBole loaded, and the scores, hits and lists of an evaluation.
_PROCESS = 700 * 2**20
_COPIES = 6  # of the trained numbers: the parameter, its gradient, two moments, and what is computed on the way
_LOOKS = 3  # scores of validation users that a closed form holds while it chooses: two parts, and working space


def users_and_items(config: Config) -> tuple[int, int]:
    """How many there are in the files of a data set, before any filter; zeros if they cannot be read."""
    try:
        users, items = _ids(config)
    except (OSError, KeyError, UserError):  # the runs will say what is wrong
        return 0, 0
    return len(users), len(items)


def most_items(config: Config) -> int:
    """Items of a data set before any filter, with those of its table that nobody chose; 0 if it cannot be read."""
    column, table = f"{config['ITEM_ID_FIELD']}:token", config.data_folder / f"{config['dataset']}.item"
    try:
        items = _ids(config)[1]
        if table.is_file():
            items |= set(_read(config, table, [column])[column])
    except (OSError, KeyError, UserError):
        return 0
    return len(items)


def _ids(config: Config) -> tuple[set[str], set[str]]:
    """The users and the items of the interactions."""
    ids: dict[str, set[str]] = {f"{config[field]}:token": set() for field in ("USER_ID_FIELD", "ITEM_ID_FIELD")}
    for part in config["benchmark_filename"] or [None]:
        file = config.data_folder / ".".join(filter(None, (config["dataset"], part, "inter")))
        table = _read(config, file, ids)
        for column, values in ids.items():
            values.update(table[column].unique())
    users, items = ids.values()
    return users, items


def _read(config: Config, file: Path, columns: Collection[str]) -> pd.DataFrame:
    return read_table(file, config["field_separator"], config["encoding"] or "utf-8", columns, columns)


def memory_bytes(config: Config, users: int, items: int) -> int:
    """Memory that a run needs at its peak, roughly: process, features, free vectors, and matrices items by items."""
    model = traits(config.model_class)
    names = (config["modalities"] or []) if model.multimodal else []
    paths = (config.data_folder / f"{config['dataset']}.{name}.npy" for name in names)
    features = sum(path.stat().st_size for path in paths if path.is_file())
    vectors = 4 * (users + items) * int(config.final_config_dict.get("embedding_size") or 64) * _COPIES * 4
    dense = 4 * items**2 * model.item_matrices
    if model.fits_sparse and dense > free_for_another() / 2:
        dense = 0
    looked_at = 4 * int(min(users * items, ENTRIES)) * _LOOKS if model.fits_sparse else 0
    return int(_PROCESS + features * _COPIES + vectors + dense + looked_at)
