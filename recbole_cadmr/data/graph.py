"""Item graphs: the nearest neighbours of every item by its features."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from recbole_cadmr.arrays import read_arrays
from recbole_cadmr.data.modality import Modality
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import cache_folder, write_aside
from recbole_cadmr.neighbours import nearest_rows

NEAREST = 20  # items looked for, if fewer are asked for: a search asks for more and more
_NUMBERS = 2**24  # cosines held at once


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

    A row whose cosines are all 0 or NaN was made from a vector of zeros: it neither has nor is a neighbour.

    Raises:
        UserError: if the file is damaged, or does not hold a graph of ``n_rows`` rows.
    """
    idx, cos = read_arrays(path, "idx", "cos")
    if idx.ndim != 2 or idx.shape != cos.shape or 0 in idx.shape or idx.dtype.kind not in "iu" or cos.dtype.kind != "f":
        raise UserError(f"{path} must hold idx (whole numbers) and cos (real numbers) of one 2-D shape")
    n_rows = len(idx) if n_rows is None else n_rows
    if len(idx) != n_rows:
        raise UserError(f"{path} has {len(idx)} rows, but there are {n_rows} items")
    if idx.min() < -1 or idx.max() >= n_rows:
        raise UserError(f"{path} names neighbours that are no items: idx must lie between -1 (none) and {n_rows - 1}")
    idx, cos = idx.astype(np.int64), cos.astype(np.float32)
    named, weightless = idx >= 0, np.isnan(cos) | (cos == 0)
    zeros = named.any(axis=1) & (weightless | ~named).all(axis=1)
    idx, cos = without_rows(idx, cos, zeros)
    if not np.isfinite(cos).all():
        bad = int(np.flatnonzero(~np.isfinite(cos).all(axis=1))[0])
        raise UserError(f"{path} holds NaN or infinite numbers, first in row {bad}")
    return idx, cos


def without_rows(idx: np.ndarray, cos: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same graph in which the rows marked in ``missing`` [n_rows] neither have nor are neighbours."""
    none = (idx < 0) | missing[idx] | missing[:, None]
    return np.where(none, -1, idx), np.where(none, np.float32(0), cos)


def rows_of(idx: np.ndarray, cos: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The graph among the file rows ``kept`` (sorted)."""
    gone = np.ones(len(idx), dtype=bool)
    gone[kept] = False
    idx, cos = without_rows(idx, cos, gone)
    place = np.cumsum(~gone) - 1
    return np.where(idx < 0, -1, place[idx])[kept], cos[kept]


def align_graph(idx: torch.Tensor, cos: torch.Tensor, own: torch.Tensor, n_items: int) -> ItemGraph:
    """A graph of file rows as a graph of items.

    Args:
        idx: [n_rows, k] file row of each neighbour, -1 for none.
        cos: [n_rows, k].
        own: [n_rows] item id of each file row, 0 for rows that the data set does not hold.
        n_items: items of the data set, the padding item included.
    """
    ids = own.nonzero().squeeze(1)
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


def nearest_items(modality: Modality, k: int) -> ItemGraph:
    """The graph of the ``k`` nearest items by cosine: exact up to 100,000 items, approximate beyond.

    Items without the modality neither have nor are neighbours. Memory: a copy of the features, and what
    :func:`nearest_rows` says.
    """
    n_items = len(modality.present)
    items = modality.present.nonzero().squeeze(1)
    k = min(k, max(len(items) - 1, 1))
    graph = ItemGraph(torch.zeros(n_items, k, dtype=torch.long), torch.zeros(n_items, k))
    if len(items) > 1:
        unit = modality.features[items]
        modality.release()
        # In place, as there may be gigabytes; by a power of two first, so that no square leaves float32.
        largest = torch.linalg.vector_norm(unit, torch.inf, dim=1, keepdim=True)
        unit *= torch.ldexp(torch.ones_like(largest), -torch.frexp(largest).exponent)
        unit /= unit.norm(dim=1, keepdim=True).clamp_(min=1e-12)
        idx, graph.cos[items] = nearest_rows(unit, k)
        graph.idx[items] = items[idx]
    return graph


def with_items(graph: ItemGraph, modality: Modality) -> ItemGraph:
    """The graph with the last items of a modality, which it does not have: as if it had been made with them.

    They get as many neighbours as the others, among all items, and become neighbours of those that they are near to.
    """
    n_known, k = graph.idx.shape
    idx, cos = (
        torch.cat([part, part.new_zeros(len(modality.present) - n_known, k)]) for part in (graph.idx, graph.cos)
    )
    new = n_known + modality.present[n_known:].nonzero().squeeze(1)
    if not len(new):
        return ItemGraph(idx, cos)
    unit = F.normalize(modality.features.float(), dim=1)
    for block in torch.arange(n_known).split(max(_NUMBERS // len(new), 1)):
        near = (unit[block] @ unit[new].T).masked_fill(~modality.present[block, None], -torch.inf)
        others = torch.where(graph.idx[block] > 0, graph.cos[block], -torch.inf)
        idx[block], cos[block] = _largest(
            torch.cat([graph.idx[block], new.expand(len(block), -1)], 1), others, near, k=k
        )
    for block in new.split(max(_NUMBERS // len(unit), 1)):
        near = (unit[block] @ unit.T).masked_fill(~modality.present, -torch.inf)
        near[torch.arange(len(block)), block] = -torch.inf
        everything = torch.arange(len(unit)).expand(len(block), -1)
        idx[block], cos[block] = _largest(everything, near, k=k)
    return ItemGraph(idx, cos)


def _largest(idx: torch.Tensor, *cosines: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``k`` places of largest cosine in each row; 0 for none."""
    cos, order = torch.cat(cosines, 1).sort(dim=1, descending=True, stable=True)
    cos, order = cos[:, :k], order[:, :k]
    none = cos == -torch.inf
    return idx.gather(1, order).masked_fill(none, 0), cos.masked_fill(none, 0.0)


def known_or_nearest(graph: ItemGraph | None, modality: Modality, k: int) -> ItemGraph:
    """The ``k`` nearest items by a graph that is known, if it has as many, or as :func:`cached_nearest_items`."""
    if graph is None or graph.idx.shape[1] < min(k, int(modality.present.sum()) - 1):
        return cached_nearest_items(modality, max(k, NEAREST))
    return graph


def cached_nearest_items(modality: Modality, k: int) -> ItemGraph:
    """:func:`nearest_items`, kept in the user's cache folder.

    A file there is used only if it is what was written for these features: it bears a hash of them and of the graph.
    Where it is not, or cannot be written, the graph is computed.
    """
    inputs = _digest(modality.features.numpy(), modality.present.numpy())
    modality.release()
    path = cache_folder() / "graphs" / f"{inputs}-{k}.npz"
    with suppress(UserError):
        idx, cos, mark = read_arrays(path, "idx", "cos", "mark")
        if mark.tobytes() == _mark(inputs, idx, cos).tobytes():
            return ItemGraph(torch.from_numpy(idx), torch.from_numpy(cos))
    graph = nearest_items(modality, k)
    idx, cos = graph.idx.numpy(), graph.cos.numpy()
    with suppress(UserError), write_aside(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, idx=idx, cos=cos, mark=_mark(inputs, idx, cos))
    return graph


def _mark(inputs: str, idx: np.ndarray, cos: np.ndarray) -> np.ndarray:
    return np.frombuffer(f"{inputs} {_digest(idx, cos)}".encode(), dtype=np.uint8)


def _digest(*arrays: np.ndarray) -> str:
    """One hash of what arrays are and hold."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
