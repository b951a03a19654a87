"""The vectors of users and items whose inner products are a model's scores, for other programs.

The folder holds them twice, in the order of the ids: as ``.npy`` with the ids as JSON, and as parquet.

- ``users.npy``, ``items.npy``: float32 [n, width]; ``user_ids.json``, ``item_ids.json``: a list of texts each;
- ``item_bias.npy``: float32 [n], of a model that adds a number to all scores of an item;
- ``users.parquet``: ``user_id, vector``; ``items.parquet``: ``item_id, vector, train_interactions`` and maybe ``bias``;
- ``embeddings.json``: of which model they are, and how a score is made of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import scipy.sparse as sp
import torch

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import folder_aside, json_text
from recbole_cadmr.recommender.attention_engine import AttentionEngine
from recbole_cadmr.recommender.engine import Engine
from recbole_cadmr.recommender.parts import Parts
from recbole_cadmr.recommender.vectors_engine import VectorsEngine
from recbole_cadmr.recommender.weights_engine import WeightsEngine

CARD = "embeddings.json"
_OF_WEIGHTS = (
    "{} scores by weights of items by items, which are no embeddings of users and items; of models of the package, "
    "export writes them as neighbours.parquet"
)


def write_embeddings(parts: Parts, folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Write the vectors into a new folder, whole or not at all, those of items without train interactions included.

    Returns:
        The card.

    Raises:
        UserError: if the model's scores are no inner products of such vectors, or ``folder`` is in use.
    """
    catalogue, train = parts.catalogue, next(iter(parts.histories.parts.values()))
    vectors, learns_cold = _vectors(parts.engine, train)
    bias = torch.zeros(catalogue.n_items) if vectors.item_bias is None else vectors.item_bias.detach()
    known = np.flatnonzero(torch.isfinite(bias).numpy())[1:]  # not the padding item, nor what is never recommended
    degree = np.zeros(catalogue.n_items, dtype=np.int64)
    degree[: train.shape[1]] = np.asarray((train > 0).sum(0)).ravel()
    users = vectors.vectors_of_users.detach().numpy()[1:]
    items = vectors.vectors_of_items.detach().numpy()[known]
    more = {"train_interactions": degree[known]}
    if bias[known].any():
        more["bias"] = bias.numpy()[known]
    n_cold = int((degree[known] == 0).sum())
    card = {
        "model": parts.engine.name,
        "dataset": parts.card["dataset"],
        "version": parts.card["version"],
        "users": len(users),
        "items": len(items),
        "width": users.shape[1],
        "cold_items": n_cold,
        "cold_items_are_learnt": learns_cold if n_cold else None,  # else they are as the training began
        "left_out": int(catalogue.n_items - 1 - len(known)),
        "score": "users @ items.T" + (" + item_bias" if "bias" in more else ""),
    }
    with folder_aside(Path(folder)) as aside:
        _write(aside, "user", catalogue.user_ids[1:].tolist(), users, {})
        _write(aside, "item", catalogue.item_ids[known].tolist(), items, more)
        if "bias" in more:
            np.save(aside / "item_bias.npy", more["bias"], allow_pickle=False)
        (aside / CARD).write_text(json_text(card, indent=1) + "\n", encoding="utf-8")
    return card


def _write(folder: Path, what: str, ids: list[str], rows: np.ndarray, more: Mapping[str, np.ndarray]) -> None:
    """The vectors [n, width] of users or items, in both forms."""
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    np.save(folder / f"{what}s.npy", rows, allow_pickle=False)
    (folder / f"{what}_ids.json").write_text(json.dumps(ids), encoding="utf-8")
    vector = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    columns = {f"{what}_id": pa.array(ids, pa.string()), "vector": vector, **more}
    pa.parquet.write_table(pa.table(columns), folder / f"{what}s.parquet", compression="zstd")


def _vectors(engine: Engine, train: sp.csr_matrix) -> tuple[VectorsEngine, bool | None]:
    """The vectors behind the scores, and whether those of items without train interactions are learnt, if known."""
    if isinstance(engine, VectorsEngine):
        return engine, None
    if isinstance(engine, (WeightsEngine, AttentionEngine)):
        raise UserError(_OF_WEIGHTS.format(engine.name))
    from recbole_cadmr.models.contract import traits
    from recbole_cadmr.recommender.inner_products import vectors_of
    from recbole_cadmr.recommender.model_engine import ModelEngine

    found = vectors_of(engine) if isinstance(engine, ModelEngine) else None
    if found is None or not isinstance(engine, ModelEngine):
        raise UserError(
            f"{engine.name} has no embeddings to export: its scores are no inner products of vectors of users and items"
        )
    of_users = found.vectors_of_users.detach()
    if of_users.shape == train.shape and np.array_equal(of_users != 0, train.toarray() != 0):  # rows times weights
        raise UserError(_OF_WEIGHTS.format(engine.name))
    return found, traits(type(engine.model)).scores_cold_items
