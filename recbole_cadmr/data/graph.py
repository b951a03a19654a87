"""Item graphs: the nearest neighbours of every item by its features."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from recbole_cadmr.data.modality import Modality
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import write_aside


@dataclass(frozen=True)
class ItemGraph:
    """The k nearest other items of every item, by RecBole's item ids.

    Attributes:
        idx: int64 [n_items, k], nearest first; 0 (the padding item) where there is no neighbour.
        cos: float32 [n_items, k], cosine of the two feature vectors; 0 where there is no neighbour.
    """

    idx: torch.Tensor
    cos: torch.Tensor


def read_graph(path: Path, n_rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The arrays of a graph file: ``idx`` (int64, a file row or -1 for none) and ``cos`` (float32), [n_rows, k] each.

    Raises:
        UserError: if the file is damaged, or does not hold a graph of ``n_rows`` rows.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            idx, cos = archive["idx"], archive["cos"]
    except Exception as error:  # zipfile, zlib and numpy each have their own errors for a damaged archive
        raise UserError(f"{path} is damaged or does not hold the arrays idx and cos") from error
    if idx.ndim != 2 or idx.shape != cos.shape or 0 in idx.shape or idx.dtype.kind not in "iu" or cos.dtype.kind != "f":
        raise UserError(f"{path} must hold idx (whole numbers) and cos (real numbers) of one 2-D shape")
    n_rows = len(idx) if n_rows is None else n_rows
    if len(idx) != n_rows:
        raise UserError(f"{path} has {len(idx)} rows, but there are {n_rows} items")
    if idx.min() < -1 or idx.max() >= n_rows:
        raise UserError(f"{path} names neighbours that are no items: idx must lie between -1 (none) and {n_rows - 1}")
    cos = cos.astype(np.float32)
    if not np.isfinite(cos).all():
        bad = int(np.flatnonzero(~np.isfinite(cos).all(axis=1))[0])
        raise UserError(f"{path} holds NaN or infinite numbers, first in row {bad}")
    return idx.astype(np.int64), cos


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


def cached_nearest_items(modality: Modality, k: int) -> ItemGraph:
    """:func:`nearest_items`, kept under a hash of the features in the user's cache folder.

    The folder is ``recbole_cadmr/graphs`` in ``$XDG_CACHE_HOME`` (``~/.cache``); where it cannot be written or a file
    in it is damaged, the graph is computed.
    """
    digest = hashlib.sha256(modality.features.numpy().tobytes())
    digest.update(modality.present.numpy().tobytes())
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = root / "recbole_cadmr" / "graphs" / f"{digest.hexdigest()}-{k}.npz"
    with suppress(UserError):
        if path.is_file():
            return ItemGraph(*map(torch.from_numpy, read_graph(path, len(modality.present))))
    graph = nearest_items(modality, k)
    with suppress(UserError), write_aside(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, idx=graph.idx.numpy(), cos=graph.cos.numpy())
    return graph
