"""Fixed attention of items to items by content, as sparse matrices without the padding item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_cadmr.data.graph import ItemGraph, nearest_items
from recbole_cadmr.data.modality import Modality
from recbole_cadmr.data.rows import binary
from recbole_cadmr.errors import UserError

FUSED = "fused"  # the part of an attention that is of no modality alone
# Settings of an attention.
OF_ATTENTION = (
    *("attention", "modality_weights", "attention_temperature", "attention_neighbours"),
    *("attention_damping", "neighbour_popularity"),
)
_BLOCK = 4096  # users looked at together


class Content(Protocol):
    """Where the content of items is read, such as a data set."""

    @property
    def modality_names(self) -> list[str]:
        """Modalities with features."""

    def modality(self, name: str) -> Modality:
        """Features of one modality."""

    def nearest_items(self, name: str, k: int) -> ItemGraph:
        """The ``k`` nearest other items of every item by one modality."""


class GraphAttention:
    """A [I, I], the attention of items to their most similar ones, for one setting after the other.

    A is the sum of its parts: those of the modalities by name, times their weights, or one of all, ``fused``.
    Interactions count on both of its sides: ``degree_j^neighbour_popularity`` as the prior of a neighbour j, and
    ``degree_i^-attention_damping`` as the weight of item i's row, 1 for a geometric mean of degrees.

    Args:
        content: of the items.
        R: training rows, which tell the degrees, and the weights if ``modality_weights`` gives none.
    """

    def __init__(self, content: Content, R: sp.csr_matrix) -> None:
        self._content, self._R = content, R
        self._alignment: dict[int, dict[str, float]] = {}  # weights that follow from R, by neighbours

    def __call__(self, settings: Mapping[str, Any]) -> tuple[dict[str, sp.csr_matrix], dict[str, float]]:
        """The parts of A, none for no attention, and the weight of each modality.

        Args:
            settings: values of the settings in ``properties/model/LinearCADMR.yaml``.

        Raises:
            UserError: if ``modality_weights`` does not hold one weight a modality.
        """
        k, temperature = settings["attention_neighbours"], settings["attention_temperature"]
        if settings["attention"] == "none":
            return {}, {}
        log_degree = np.log(item_degree(self._R))
        prior = torch.from_numpy(settings["neighbour_popularity"] * log_degree)
        damping = sp.diags(np.exp(settings["attention_damping"] * (log_degree.mean() - log_degree)).astype(np.float32))

        def attention(graph: ItemGraph) -> sp.csr_matrix:
            return (damping @ softmax_attention(graph, k, temperature, prior)).tocsr()

        names = self._content.modality_names
        graphs = {name: self._content.nearest_items(name, k) for name in names}
        weights = self._weights(graphs, k, settings["modality_weights"])
        if settings["attention"] == "fused":
            whole = fused([self._content.modality(name) for name in names], list(weights.values()))
            return {FUSED: attention(nearest_items(whole, k))}, weights
        return {name: (weights[name] * attention(graph)).tocsr() for name, graph in graphs.items()}, weights

    def _weights(self, graphs: Mapping[str, ItemGraph], k: int, weights: Any) -> dict[str, float]:
        if weights is None:
            if k not in self._alignment:
                near = {name: graph.idx[1:, :k] for name, graph in graphs.items()}
                nearest = {name: binary(_at_neighbours(torch.ones(idx.shape), idx)) for name, idx in near.items()}
                self._alignment[k] = alignment_weights(self._R, nearest)
            return self._alignment[k]
        if len(weights) != len(graphs) or sum(weights) <= 0:
            raise UserError(
                f"modality_weights must hold one weight for each of {', '.join(graphs)}, not all 0; it is {weights}"
            )
        return {name: weight / sum(weights) for name, weight in zip(graphs, weights)}


def item_degree(R: sp.csr_matrix) -> np.ndarray:
    """Interactions of each item [I], 1 at least."""
    return np.maximum(np.asarray(R.sum(0)).ravel(), 1.0)


def softmax_attention(graph: ItemGraph, k: int, temperature: float, prior: Tensor | None = None) -> sp.csr_matrix:
    """A [I, I]: each row a softmax of ``cos / temperature`` over the item's ``k`` nearest; empty without neighbours.

    Args:
        prior: [I], what is added to the logits of each neighbour.
    """
    idx, cos = graph.idx[1:, :k], graph.cos[1:, :k].double()
    logits = cos / temperature if prior is None else cos / temperature + prior[(idx - 1).clamp(min=0)]
    score = logits.masked_fill(idx == 0, torch.finfo(cos.dtype).min)
    return _at_neighbours(score.softmax(1), idx)


def _at_neighbours(weight: Tensor, idx: Tensor) -> sp.csr_matrix:
    """``weight`` [I, k] at the neighbours ``idx`` [I, k] by id, 0 for none: float32 [I, I]."""
    item, place = (idx > 0).nonzero(as_tuple=True)
    entries = weight[item, place].numpy(), (item.numpy(), idx[item, place].numpy() - 1)
    return sp.csr_matrix(entries, shape=(len(idx), len(idx))).astype(np.float32)


def two_hops(A: sp.csr_matrix, weight: float, second: sp.csr_matrix | None = None) -> sp.csr_matrix:
    """``A + weight A second`` without the diagonal that the second hop brings; it is by A, too, if not given."""
    if not weight:
        return A
    square = (A @ (A if second is None else second)).tolil()
    square.setdiag(0)
    return (A + weight * square.tocsr()).tocsr().astype(A.dtype)


def alignment_weights(R: sp.csr_matrix, nearest: Mapping[str, sp.csr_matrix]) -> dict[str, float]:
    """How much the neighbours of each modality are chosen together; squared, and adding up to 1.

    Chosen together is measured by the mean cosine of two neighbours' columns in R [U, I], the training rows alone.
    Equal weights if no neighbours ever are.

    Args:
        nearest: by modality, 1 where an item has a neighbour [I, I].
    """
    unit = (R @ sp.diags(item_degree(R) ** -0.5)).tocsr()
    of_edges = dict.fromkeys(nearest, 0.0)
    for start in range(0, unit.shape[0], _BLOCK):
        rows = unit[start : start + _BLOCK].astype(np.float64)
        for name, edges in nearest.items():  # the sum of all x E x', and not of pairs of items with a user in common
            of_edges[name] += float((rows @ edges).multiply(rows).sum())
    squared = {name: (of_edges[name] / max(edges.nnz, 1)) ** 2 for name, edges in nearest.items()}
    total = sum(squared.values())
    return {name: value / total if total else 1 / len(squared) for name, value in squared.items()}


def fused(modalities: Sequence[Modality], weights: Sequence[float], shrinkage: float = 0.1) -> Modality:
    """All modalities as one, decorrelated within each, so that no group of like dimensions outweighs the others.

    Features are centred, whitened by their shrunk covariance (whose Total Correlation is then 0 in the Gaussian
    sense), set to length 1 and weighted, so that a cosine of the whole is the weighted mean of cosines. Items that
    lack a modality have zeros in its place.
    """
    parts = []
    for modality, weight in zip(modalities, weights):
        x = modality.features[modality.present].double()
        x = x - x.mean(0)
        covariance = x.T @ x / max(len(x) - 1, 1)
        mean_variance = covariance.diagonal().mean().clamp(min=1e-12)
        values, vectors = torch.linalg.eigh(covariance)
        shrunk = (1 - shrinkage) * values.clamp(min=0) + shrinkage * mean_variance
        whitened = torch.zeros(modality.features.shape)
        whitened[modality.present] = (F.normalize(x @ vectors / shrunk.sqrt(), dim=1) * weight**0.5).float()
        parts.append(whitened)
    present = torch.stack([modality.present for modality in modalities]).any(0)
    return Modality("fused", torch.cat(parts, 1), present)
