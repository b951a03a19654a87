"""What the equations of several baselines share, in dense numpy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import nn

from recbole_cadmr.data.modality import Modality
from recbole_cadmr.models.multimodal import MultimodalRecommender
from tests.oracles.graphs import both_ways, normalised

TRIPLES = Interaction(
    {"user_id": torch.tensor([1, 2, 3]), "item_id": torch.tensor([1, 3, 4]), "neg_item_id": torch.tensor([4, 1, 2])}
)


def numbers(model: nn.Module) -> dict[str, np.ndarray]:
    """Parameters and fixed features by name, in double precision."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: tensor.detach().double().numpy() for name, tensor in tensors.items()}


def interactions(model: MultimodalRecommender) -> tuple[np.ndarray, np.ndarray]:
    """The matrix of users and items, and the normalised graph of both."""
    R = model.R.toarray().astype(float)
    return R, normalised(both_ways(R))


def item_graph(modality: Modality, k: int, weighted: bool) -> np.ndarray:
    """An item and its k - 1 nearest others by cosine, as a normalised dense matrix."""
    X, present = modality.features.double().numpy(), modality.present.numpy()
    S = np.zeros((len(X), len(X)))
    for i in present.nonzero()[0]:
        others = [j for j in present.nonzero()[0] if j != i]
        cos = {j: X[i] @ X[j] / np.linalg.norm(X[i]) / np.linalg.norm(X[j]) for j in others}
        for j in sorted(others, key=lambda j: -cos[j])[: k - 1]:
            S[i, j] = cos[j] if weighted else 1
        S[i, i] = 1
    return normalised(S)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def linear(p: Mapping[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    """A linear layer by its name among the parameters."""
    return x @ p[f"{name}.weight"].T + p.get(f"{name}.bias", 0)


def layers_mean(A: np.ndarray, E: np.ndarray, n: int) -> np.ndarray:
    """The mean of the vectors after 0 to ``n`` propagations, as in LightGCN."""
    return sum(np.linalg.matrix_power(A, layer) @ E for layer in range(n + 1)) / (n + 1)


def log_loss(x: np.ndarray) -> float:
    return np.log1p(np.exp(-x)).mean()


def info_nce(one: np.ndarray, other: np.ndarray, temperature: float) -> float:
    """InfoNCE of the rows of two views, each the other rows' negative."""
    one, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (one, other))
    logits = one @ other.T / temperature
    return (np.log(np.exp(logits).sum(1)) - np.diag(logits)).mean()


def loss_of_views(
    side: np.ndarray, C: np.ndarray, n_users: int, contrast_weight: float, reg_weight: float, temperature: float
) -> float:
    """BPR of the triples, contrast of side and behaviour, and the L2 term, as MGCN and SMORE have them."""
    u, i, j = [1, 2, 3], [n_users + 1, n_users + 3, n_users + 4], [n_users + 4, n_users + 1, n_users + 2]
    z = side + C
    bpr = log_loss((z[u] * z[i]).sum(1) - (z[u] * z[j]).sum(1))
    apart = info_nce(side[u], C[u], temperature) + info_nce(side[i], C[i], temperature)
    return bpr + contrast_weight * apart + reg_weight * (z[u + i + j] ** 2).sum() / 3 / 2
