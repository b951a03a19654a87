"""GRCN on a data set that fits on a screen, against its formulas written out with dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from tests.micro import open_micro, train_matrix, write_micro

TRIPLES = Interaction(
    {"user_id": torch.tensor([1, 2, 3]), "item_id": torch.tensor([1, 2, 4]), "neg_item_id": torch.tensor([3, 4, 2])}
)
SETTINGS = {"embedding_size": 3, "content_size": 4}


def array(tensor):
    return tensor.detach().numpy().astype(np.float64)


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def attention(score, edges):
    """Softmax over the edges of each row, 0 elsewhere."""
    weight = np.exp(score) * edges
    return weight / np.maximum(weight.sum(1, keepdims=True), 1e-12)


def vectors(model, routings, confidence):
    R, users, items, w_users, w_items = train_matrix(), [], [], [], []
    for m, name in enumerate(("text", "image")):
        x = array(model.features[name].weight) @ array(model.W[name].weight).T + array(model.W[name].bias)
        p, f = unit(array(model.preferences[name])), unit(np.where(x > 0, x, 0.01 * x))
        for _ in range(routings):
            p = unit(p + attention(p @ f.T, R) @ f)
        a, b = attention(p @ f.T, R), attention(f @ p.T, R.T)
        users.append(p + a @ f)
        items.append(f + b @ p)
        w_users.append(a * confidence[6:, m])  # by the confidence of the node a message comes from
        w_items.append(b * confidence[:6, m])
    w_user, w_item = (np.maximum(np.maximum(*w), 0) for w in (w_users, w_items))
    e_user, e_item = unit(array(model.users.weight)), unit(array(model.items.weight))
    one_user, one_item = w_user @ e_item, w_item @ e_user
    x_user, x_item = e_user + one_user + w_user @ one_item, e_item + one_item + w_item @ one_user
    return np.concatenate([x_user, *users], 1), np.concatenate([x_item, *items], 1)


@pytest.fixture(params=[{}, {"preset": "published"}], ids=["routed", "published"])
def opened(request, tmp_path):
    """A model with confidences of both signs, and its vectors."""
    model = open_micro(write_micro(tmp_path), "GRCN", **SETTINGS, **request.param, reg_weight=0.5).model
    confidence = np.random.default_rng(1).normal(size=(11, 2))
    model.confidence.data = torch.tensor(confidence, dtype=torch.float32)
    return model, vectors(model, 0 if request.param else 3, confidence)


def test_vectors(opened):
    model, expected = opened
    for given, rows in zip(model.forward(), expected):
        assert array(given) == pytest.approx(rows, abs=1e-5)


def test_loss_is_bpr_and_mean_squares(opened):
    model, (users, items) = opened
    u, i, j = users[[1, 2, 3]], items[[1, 2, 4]], items[[3, 4, 2]]
    bpr = np.log1p(np.exp((u * j).sum(1) - (u * i).sum(1))).mean()
    tables = (model.users.weight, *model.preferences.values())
    squares = sum((array(rows)[[1, 2, 3]] ** 2).mean() for rows in tables)
    squares += (array(model.items.weight)[[1, 2, 4, 3, 4, 2]] ** 2).mean()
    assert model.calculate_loss(TRIPLES).item() == pytest.approx(bpr + 0.5 * squares, abs=1e-5)


def test_edges_without_confidence_are_pruned(opened):
    model, _ = opened
    model.confidence.data.abs_().neg_()
    users, items = model.forward()
    assert array(users)[:, :3] == pytest.approx(unit(array(model.users.weight)))  # nothing of ids is propagated
    assert array(items)[:, :3] == pytest.approx(unit(array(model.items.weight)), abs=1e-6)
