"""Items like an item: by who has them, by their content, or as the model sees them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from recbole_cadmr.data.rows import RowBatch
from recbole_cadmr.errors import UserError
from recbole_cadmr.recommender.parts import Parts


def similar_items(parts: Parts, item: int, topk: int, by: str) -> pd.DataFrame:
    """The items most like that of a number; see ``Recommender.similar_items``."""
    ways = {"model": _by_model, "behaviour": _by_behaviour, "content": _by_content}
    if not isinstance(by, str) or by not in ways:
        raise UserError(f"by must be one of {', '.join(ways)}, not {by!r:.100}")
    if isinstance(topk, (bool, np.bool_)) or not isinstance(topk, (int, np.integer)) or topk < 1:
        raise UserError(f"topk must be a whole number from 1 on, not {topk!r}")
    scores = np.array(ways[by](parts, item), dtype=np.float64)
    scores[[0, item]] = 0.0
    alike = np.flatnonzero((scores != 0) & (scores > -np.inf))  # -inf: of items that the model can say nothing about
    best = alike[np.argsort(-scores[alike], kind="stable")[:topk]]
    columns = parts.catalogue.item_ids[best], np.arange(1, len(best) + 1), scores[best]
    return pd.DataFrame(dict(zip(["item_id", "rank", "score"], columns)))


def _by_behaviour(parts: Parts, item: int) -> np.ndarray:
    """Cosines [n_items] of the items' columns in what the model scores users by."""
    rows = parts.histories.known
    users = parts.histories.users_of(item)
    _, items = rows.entries(torch.from_numpy(users))
    together = np.bincount(items.numpy(), minlength=parts.catalogue.n_items)
    degree = parts.histories.popularity.numpy().astype(np.float64)
    return together / np.sqrt(np.maximum(degree * degree[item], 1))


def _by_content(parts: Parts, item: int) -> np.ndarray:
    """Means [n_items] of the cosines over the modalities that the item has, weighted as the model weighs these.

    The cosine with an item that lacks a modality is 0.
    """
    modalities = parts.catalogue.modalities
    has = [name for name, modality in modalities.items() if modality.present[item]]
    if not has:
        raise UserError(f"nothing is known about the content of the item '{parts.catalogue.item_ids[item]}'")
    weights = {name: parts.engine.modality_weights.get(name, 0.0) for name in has}
    if not any(weights.values()):
        weights = dict.fromkeys(has, 1.0)
    scores = torch.zeros(parts.catalogue.n_items)
    for name, weight in weights.items():
        features = modalities[name].features
        scores += weight / sum(weights.values()) * F.cosine_similarity(features, features[item : item + 1], dim=1)
    return scores.clamp_(min=0).numpy()


def _by_model(parts: Parts, item: int) -> np.ndarray:
    """What the model scores [n_items] for somebody who has this item alone, or cosines of its vectors."""
    engine = parts.engine
    if engine.takes_histories:
        row = RowBatch(torch.zeros(1).long(), torch.tensor([item]), torch.ones(1), 1, engine.n_items)
        return engine.scores(row)[0].numpy()
    vectors = engine.item_vectors()
    if vectors is None:
        raise UserError(f"{engine.name} does not compare items with each other; ask by 'behaviour' or 'content'")
    return (vectors @ vectors[item]).clamp_(min=0).numpy()
