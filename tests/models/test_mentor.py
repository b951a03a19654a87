"""MENTOR on the micro set, against its equations in dense numpy."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from tests.micro import open_micro, write_micro
from tests.oracles.baselines import TRIPLES, info_nce, interactions, item_graph, linear, log_loss, numbers

SETTINGS = {"neighbours": 2, "embedding_size": 6, "modality_weights": {"image": 0.25, "text": 0.75}}
USERS, ITEMS, NEGATIVE = [1, 2, 3], [1, 3, 4], [4, 1, 2]


def networks(session):
    """Users and items of every network, and of the modalities side by side, by name."""
    model = session.model
    p, (_, A), n_users = numbers(model), interactions(model), model.n_users
    modalities = session.dataset.modalities()
    S = sum({"image": 0.25, "text": 0.75}[name] * item_graph(m, 2, weighted=False) for name, m in modalities.items())
    sources = {name: (f"mlp.{name}", p[f"users.{name}"], p[f"features.{name}.weight"]) for name in modalities}
    sources["ids"] = ("id_mlp", p["id_users.weight"], p["items.weight"])
    tables = {}
    for name, (mlp, U, features) in sources.items():
        hidden = linear(p, f"{mlp}.0", features)
        X = np.vstack([U, linear(p, f"{mlp}.2", np.where(hidden > 0, hidden, 0.01 * hidden))])
        length = np.linalg.norm(X, axis=1, keepdims=True)
        X = np.divide(X, length, out=np.zeros_like(X), where=length > 0)
        N = X + A @ X + A @ A @ X
        tables[name] = N[:n_users], N[n_users:] + S @ N[n_users:]
    users = [p["w"][:, [m]] * tables[name][0] for m, name in enumerate(modalities)]
    tables["fused"] = np.hstack(users), np.hstack([tables[name][1] for name in modalities])
    return tables, p


def ranking_and_length(tables, p, reg_weight):
    users, items = tables["fused"]
    margin = (users[USERS] * (items[ITEMS] - items[NEGATIVE])).sum(1)
    squares = sum((p[f"users.{name}"][USERS] ** 2).mean() for name in ("text", "image")) + (p["w"] ** 2).mean()
    return log_loss(margin) / np.log(2) + reg_weight * squares


def test_vectors_and_loss(tmp_path):
    session = open_micro(write_micro(tmp_path), "MENTOR", **SETTINGS, align_weight=0.3, reg_weight=0.2)
    tables, p = networks(session)
    users, items = session.model.eval().forward()
    assert np.allclose(users.detach().numpy(), tables["fused"][0], atol=1e-6)
    assert np.allclose(items.detach().numpy(), tables["fused"][1], atol=1e-6)
    entries = {name: np.concatenate([x[1:].ravel() for x in pair]) for name, pair in tables.items()}  # no padding
    pairs = list(combinations(entries.values(), 2))
    assert len(pairs) == 6
    alignment = sum(abs(x.var(ddof=1) - y.var(ddof=1)) + abs(x.mean() - y.mean()) for x, y in pairs)
    expected = ranking_and_length(tables, p, 0.2) + 0.3 * alignment
    assert session.model.train().calculate_loss(TRIPLES).item() == pytest.approx(expected, rel=1e-5)


def test_loss_of_the_enhancement(tmp_path):
    weights = {"align_weight": 0.0, "reg_weight": 0.0, "noise_weight": 0.5, "mask_weight": 0.25, "temperature": 0.4}
    session = open_micro(write_micro(tmp_path), "MENTOR", **SETTINGS, **weights, noise=1e-9, dropout=0.0)
    tables, p = networks(session)
    users, items = (table[rows] for table, rows in zip(tables["fused"], (USERS, ITEMS)))
    away = 0
    for e in (users, items):
        told = linear(p, "P", e)
        cosine = (e * told).sum(1) / np.linalg.norm(e, axis=1) / np.linalg.norm(told, axis=1)
        away += (1 - cosine).mean()
    same = info_nce(users, users, 0.4) + info_nce(items, items, 0.4)  # with noise that is too small to matter
    expected = ranking_and_length(tables, p, 0.0) + 0.5 * same + 0.25 * away
    assert session.model.train().calculate_loss(TRIPLES).item() == pytest.approx(expected, rel=1e-5)


def test_noise_has_its_length_and_no_entry_changes_its_sign(tmp_path):
    model = open_micro(write_micro(tmp_path), "MENTOR", **SETTINGS, n_ui_layers=1, n_item_layers=0, noise=0.1).model
    X = torch.randn(model.n_users + model.n_items, 6)
    propagated = model._A.matmul(X)
    users, items = model._propagated(X, 0.1)  # no item graph: each item counts twice
    noisy = torch.cat([users, items / 2]) - X
    connected = propagated.any(1)
    assert torch.allclose((noisy - propagated).norm(dim=1)[connected], torch.tensor(0.1), atol=1e-6)
    assert torch.equal(noisy.sign()[connected], propagated.sign()[connected])


def test_users_without_train_interactions_get_no_gradient(tmp_path):
    model = open_micro(write_micro(tmp_path), "MENTOR", **SETTINGS, align_weight=1.0).model.train()
    model.calculate_loss(TRIPLES).backward()
    for U in model.users.values():
        assert torch.isfinite(U.grad).all() and not U.grad[[0, 5]].any()  # padding and eve
        assert U.grad[1:5].any(1).all()
