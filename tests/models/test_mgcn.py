"""MGCN on the micro set, against its equations in dense numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_cadmr.data.modality import Modality
from tests.micro import open_micro, write_micro

TRIPLES = Interaction(
    {"user_id": torch.tensor([1, 2, 3]), "item_id": torch.tensor([1, 3, 4]), "neg_item_id": torch.tensor([4, 1, 2])}
)


def numbers(model):
    """Parameters and fixed features by name, in double precision."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: tensor.detach().double().numpy() for name, tensor in tensors.items()}


def symmetric(A):
    degree = A.sum(1)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    return scale[:, None] * A * scale


def interactions(model):
    R = model.R.toarray().astype(float)
    n_users, n_items = R.shape
    return R, symmetric(np.block([[np.zeros((n_users, n_users)), R], [R.T, np.zeros((n_items, n_items))]]))


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
    return symmetric(S)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def linear(p, name, x):
    return x @ p[f"{name}.weight"].T + p.get(f"{name}.bias", 0)


def layers_mean(A, E, n):
    return sum(np.linalg.matrix_power(A, layer) @ E for layer in range(n + 1)) / (n + 1)


def log_loss(x):
    return np.log1p(np.exp(-x)).mean()


def info_nce(one, other, temperature):
    one, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (one, other))
    logits = one @ other.T / temperature
    return (np.log(np.exp(logits).sum(1)) - np.diag(logits)).mean()


def loss_of_views(side, C, n_users, contrast_weight, reg_weight, temperature):
    """BPR of the triples, contrast of side and behaviour, and the L2 term, as MGCN and SMORE have them."""
    u, i, j = [1, 2, 3], [n_users + 1, n_users + 3, n_users + 4], [n_users + 4, n_users + 1, n_users + 2]
    z = side + C
    bpr = log_loss((z[u] * z[i]).sum(1) - (z[u] * z[j]).sum(1))
    apart = info_nce(side[u], C[u], temperature) + info_nce(side[i], C[i], temperature)
    return bpr + contrast_weight * apart + reg_weight * (z[u + i + j] ** 2).sum() / 3 / 2


def views(session, k, n_ui_layers, n_item_layers):
    """The side and the behaviour of all users and items by MGCN's equations."""
    model, modalities = session.model, session.dataset.modalities()
    p, (_, A), n_users = numbers(model), interactions(model), model.n_users
    E = p["items.weight"]
    C = layers_mean(A, np.vstack([p["users.weight"], E]), n_ui_layers)
    V = []
    for name, modality in modalities.items():
        P = E * sigmoid(linear(p, f"W2.{name}.0", linear(p, f"W1.{name}", p[f"features.{name}.weight"])))
        smooth = np.linalg.matrix_power(item_graph(modality, k, weighted=True), n_item_layers) @ P
        V.append(np.vstack([A[:n_users, n_users:] @ smooth, smooth]))
    score = np.exp([np.tanh(linear(p, "q.0", v)) @ p["q.2.weight"].T for v in V])  # [M, n, 1]
    common = sum(a * v for a, v in zip(score / score.sum(0), V))
    special = [sigmoid(linear(p, f"W3.{name}.0", C)) * (v - common) for name, v in zip(modalities, V)]
    return (sum(special) + common) / (len(V) + 1), C


@pytest.mark.parametrize("n_item_layers", [1, 2])
def test_vectors_and_loss(tmp_path, n_item_layers):
    settings = {"neighbours": 2, "n_ui_layers": 3, "n_item_layers": n_item_layers, "embedding_size": 6}
    weights = {"contrast_weight": 0.3, "reg_weight": 0.2, "temperature": 0.4}
    session = open_micro(write_micro(tmp_path), "MGCN", **settings, **weights)
    side, C = views(session, 2, 3, n_item_layers)
    users, items = session.model.eval().forward()
    assert np.allclose(torch.cat([users, items]).detach().numpy(), side + C, atol=1e-6)
    loss = session.model.train().calculate_loss(TRIPLES)
    assert loss.item() == pytest.approx(loss_of_views(side, C, session.model.n_users, **weights), rel=1e-5)


def test_content_is_purified_by_behaviour(tmp_path):
    model = open_micro(write_micro(tmp_path), "MGCN").model
    with torch.no_grad():
        model.items.weight.zero_()
    assert model.forward()[1][2].any()  # out of users' vectors alone
    with torch.no_grad():
        model.users.weight.zero_()
    assert not torch.cat(model.forward()).any()  # whatever the features say
