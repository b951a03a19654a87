"""MGCN on the micro set, against its equations in dense numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.micro import open_micro, write_micro
from tests.oracles.baselines import (
    TRIPLES,
    interactions,
    item_graph,
    layers_mean,
    linear,
    loss_of_views,
    numbers,
    sigmoid,
)


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
