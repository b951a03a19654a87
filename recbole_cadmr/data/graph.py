"""Item graphs: the nearest neighbours of every item by its features."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from recbole_cadmr.data.modality import Modality


@dataclass(frozen=True)
class ItemGraph:
    """The k nearest other items of every item, by RecBole's item ids.

    Attributes:
        idx: int64 [n_items, k], nearest first; 0 (the padding item) where there is no neighbour.
        cos: float32 [n_items, k], cosine of the two feature vectors; 0 where there is no neighbour.
    """

    idx: torch.Tensor
    cos: torch.Tensor


def align_graph(idx: torch.Tensor, cos: torch.Tensor, own: torch.Tensor, ids: torch.Tensor, n_items: int) -> ItemGraph:
    """A graph of file rows as a graph of items.

    Args:
        idx: [n_rows, k] file row of each neighbour, -1 for none.
        cos: [n_rows, k].
        own: [n_rows] item id of each file row, 0 for rows that the data set does not hold.
        ids: the rows of ``own`` that are not 0.
        n_items: items of the data set, the padding item included.
    """
    neighbours = torch.where(idx >= 0, own[idx.clamp(min=0)], 0)[ids]
    items = own[ids]
    # The item itself is removed by its id: duplicates of it can stand before it in the row.
    kept = (neighbours > 0) & (neighbours != items[:, None])
    score = torch.where(kept, cos[ids], -torch.inf)
    order = score.argsort(dim=1, descending=True, stable=True)
    neighbours, score = neighbours.gather(1, order), score.gather(1, order)
    kept = kept.gather(1, order)
    k = max(int(kept.sum(1).max()), 1) if len(ids) else 1
    graph_idx = torch.zeros(n_items, k, dtype=torch.long)
    graph_cos = torch.zeros(n_items, k)
    graph_idx[items] = torch.where(kept, neighbours, 0)[:, :k]
    graph_cos[items] = torch.where(kept, score, 0.0)[:, :k]
    return ItemGraph(graph_idx, graph_cos)


def nearest_items(modality: Modality, k: int, block: int = 1024) -> ItemGraph:
    """The exact graph of the ``k`` nearest items by cosine, computed in blocks of ``block`` items.

    Items without the modality have no neighbours and are nobody's neighbour. Memory: block x n_items floats.
    """
    n_items = len(modality.present)
    items = modality.present.nonzero().squeeze(1)
    unit = torch.nn.functional.normalize(modality.features[items], dim=1)
    k = min(k, max(len(items) - 1, 1))
    idx = torch.zeros(n_items, k, dtype=torch.long)
    cos = torch.zeros(n_items, k)
    if len(items) < 2:
        return ItemGraph(idx, cos)
    for start in range(0, len(items), block):
        rows = torch.arange(start, min(start + block, len(items)))
        similarity = unit[rows] @ unit.T
        similarity[torch.arange(len(rows)), rows] = -torch.inf
        best = similarity.topk(k, dim=1)
        idx[items[rows]], cos[items[rows]] = items[best.indices], best.values
    return ItemGraph(idx, cos)
