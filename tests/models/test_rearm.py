"""REARM on the micro set, against its equations in dense numpy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_cadmr.layers.propagation import co_occurrence
from tests.micro import IMAGE, TEXT, open_micro, write_micro
from tests.oracles.baselines import TRIPLES, info_nce, interactions, layers_mean, linear, log_loss, numbers
from tests.oracles.graphs import nearest

NAMES = ["text", "image"]
SETTINGS = {
    "embedding_size": 4,
    "neighbours": 2,
    "user_neighbours": 2,
    "n_item_layers": 2,
    "rank": 2,
    "self_dropout": 0.0,
    "cross_dropout": 0.0,
    "item_modality_weights": {"text": 0.75, "image": 0.25},
    "user_modality_weights": {"text": 0.4, "image": 0.6},
}


def unit(X):
    length = np.linalg.norm(X, axis=-1, keepdims=True)
    return np.divide(X, length, out=np.zeros_like(X), where=length > 0)


def softmax(X, axis):
    weight = np.exp(X - X.max(axis, keepdims=True))
    return weight / weight.sum(axis, keepdims=True)


def shared(R, k):
    """The k rows that share most with each row, by a softmax of how many."""
    W = np.zeros((len(R), len(R)))
    for i, row in enumerate(R):
        others = [j for j in range(len(R)) if j != i and row @ R[j]]
        others = sorted(others, key=lambda j: (-(row @ R[j]), j))[:k]
        if others:
            W[i, others] = softmax(np.array([row @ R[j] for j in others]), 0)
    return W


def by_cosine(X, known):
    """Each that is known and its nearest other: cosines, over the two that they are."""
    W = np.zeros((len(X), len(X)))
    for i in known:
        j = max((j for j in known if j != i), key=lambda j: unit(X[i]) @ unit(X[j]))
        W[i, i], W[i, j] = 0.5, unit(X[i]) @ unit(X[j]) / 2
    return W


def attention(p, name, query, X):
    weight, bias = p[f"{name}.attention.in_proj_weight"][:, 0], p[f"{name}.attention.in_proj_bias"]
    q, k, v = (w * x + b for w, x, b in zip(weight, (query, X, X), bias))
    found = (softmax(q[:, :, None] * k[:, None, :], 2) * v[:, None, :]).sum(2)
    return found * p[f"{name}.attention.out_proj.weight"].item() + p[f"{name}.attention.out_proj.bias"].item()


def prelu(p, X, name="prelu"):
    return np.where(X > 0, X, p[f"{name}.weight"].item() * X)


def settled(p, X):
    centred = X - X.mean(1, keepdims=True)
    norm = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
    return prelu(p, norm * p["norm.weight"] + p["norm.bias"])


def meta(p, name, ids, content):
    K = linear(p, f"{name}.K", content)
    W1, W2 = (
        unit(linear(p, f"{name}.{mlp}.2", prelu(p, linear(p, f"{name}.{mlp}.0", K), f"{name}.{mlp}.1")))
        for mlp in ("mlp1", "mlp2")
    )
    W1, W2 = W1.reshape(-1, 4, 2), W2.reshape(-1, 2, 4)
    inner = np.einsum("nd,ndr->nr", ids, softmax(W1 + W1[1:].mean(0), 1))
    return np.einsum("nr,nrd->nd", inner, softmax(W2 + W2[1:].mean(0), 1))


def views(model):
    """C, the N_m, and the vectors, of users and items."""
    p, (R, A) = numbers(model), interactions(model)
    F = [p[f"features.{name}.weight"] for name in NAMES]
    P = [R @ f / np.maximum(R.sum(1, keepdims=True), 1) for f in F]
    for name, interests in zip(NAMES, P):
        assert np.allclose(p[f"interests.{name}.weight"], interests, atol=1e-6)
    by_content = sum(w * half(nearest(features, 2)) for w, features in ((0.75, TEXT), (0.25, IMAGE)))
    by_interest = sum(w * by_cosine(x, [1, 2, 3, 4]) for w, x in zip((0.4, 0.6), P))
    W_items = 0.2 * shared(R.T, 2) + 0.8 * by_content
    W_users = 0.4 * shared(R, 2) + 0.6 * by_interest
    items = np.hstack([p["items.weight"], *(linear(p, f"T_items.{n}", f) for n, f in zip(NAMES, F))])
    users = np.hstack([p["users.weight"], *(linear(p, f"T_users.{n}", x) for n, x in zip(NAMES, P))])
    e, *x = np.split(unit(W_items @ W_items @ items), 3, 1)
    u, *y = np.split(unit(W_users @ users), 3, 1)
    x = [settled(p, x_m + attention(p, f"self_attention.{n}", x_m, x_m)) for n, x_m in zip(NAMES, x)]
    found = [attention(p, f"cross_attention.{n}", other, x_m) for n, x_m, other in zip(NAMES, x, x[::-1])]
    x = [settled(p, x_m + f) for x_m, f in zip(x, found)]
    C = layers_mean(A, np.vstack([u, e]), 4)
    N = [layers_mean(A, np.vstack([prelu(p, y_m), x_m]), 4) for y_m, x_m in zip(y, x)]
    n = len(R)
    Y = [meta(p, f"meta_{w}", C[s], np.hstack(N)[s]) for w, s in (("users", slice(n)), ("items", slice(n, None)))]
    return C, N, np.hstack([C + prelu(p, part) for part in (*N, np.vstack(Y))])


def half(S):
    """Cosines over the two that each has."""
    assert set((S != 0).sum(1)) == {0, 2}
    return S / 2


def crossed(X, Y):
    X, Y = (unit(x - x.mean(0)) for x in (X, Y))
    return ((X.T @ Y) ** 2).mean()


def test_vectors_and_loss(tmp_path):
    weights = {"contrast_weight": 0.3, "orthogonal_weight": 0.7, "temperature": 0.5}
    model = open_micro(write_micro(tmp_path), "REARM", **SETTINGS, **weights).model
    _, N, z = views(model)
    assert np.allclose(torch.cat(model.eval().forward()).detach().numpy(), z, atol=1e-5)
    u, i, j = [1, 2, 3], [7, 9, 10], [10, 7, 8]
    image, text = N[1], N[0]
    apart = sum(info_nce(image[rows], text[rows], 0.5) for rows in (u, [7, 8, 9, 10]))
    products = sum(crossed(image[rows], text[rows]) for rows in (u, i))
    expected = log_loss((z[u] * (z[i] - z[j])).sum(1)) + 0.3 * apart + 0.7 * products
    assert model.train().calculate_loss(TRIPLES).item() == pytest.approx(expected, rel=1e-4)


def test_co_occurrence_in_blocks():
    rng = np.random.default_rng(0)
    R = (rng.random((7, 9)) < 0.4).astype(np.float32)
    R[3] = 0
    for k in (1, 2, 6):
        ours = co_occurrence(sp.csr_matrix(R), k, block=2).toarray()
        assert np.allclose(ours, shared(R, k), atol=1e-6) and not ours[3].any() and not ours.diagonal().any()


def test_features_and_interests_are_trained_or_both_left(tmp_path):
    for trained in (True, False):
        model = open_micro(write_micro(tmp_path / str(trained)), "REARM", **SETTINGS, trainable_features=trained).model
        assert any(name.startswith("features.") for name, _ in model.named_parameters()) == trained
        assert any(name.startswith("interests.") for name, _ in model.named_parameters()) == trained
        assert not any(name.startswith("interests.") for name in model.state_dict()) or trained


def test_dropout_of_attention_is_for_training_alone(tmp_path):
    settings = {**SETTINGS, "self_dropout": 0.9}
    model = open_micro(write_micro(tmp_path), "REARM", **settings).model.train()
    one, other = (torch.cat(model.forward()) for _ in range(2))
    assert not torch.allclose(one, other)
    one, other = (torch.cat(model.eval().forward()) for _ in range(2))
    assert torch.equal(one, other)
