"""MMHCL on the micro set, against its equations in dense numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_cadmr.errors import UserError
from tests.micro import TRAIN, open_micro, write_micro
from tests.oracles.baselines import TRIPLES, interactions, item_graph, layers_mean, log_loss, numbers
from tests.oracles.graphs import normalised

SETTINGS = {"neighbours": 2, "embedding_size": 6, "n_user_layers": 2, "n_item_layers": 1, "temperature": 0.4}
WARM = [row for row in TRAIN if not row.endswith(" c")]  # c has no train interaction
APART = [row for row in TRAIN if row != "cid d"]  # dot has an item that nobody else has


def unit(X):
    length = np.linalg.norm(X, axis=1, keepdims=True)
    return np.divide(X, length, out=np.zeros_like(X), where=length > 0)


def orders(session):
    """Z and the second order, of users and of items each."""
    p, (R, A) = numbers(session.model), interactions(session.model)
    W_users = R @ R.T - np.diag((R @ R.T).diagonal())
    W_users = W_users / np.maximum(W_users.sum(1, keepdims=True), 1)
    S = np.hstack([item_graph(m, 2, weighted=False) > 0 for m in session.dataset.modalities().values()]).astype(float)
    second = [W_users @ W_users @ p["hyper_users.weight"], normalised(S @ S.T) @ p["hyper_items.weight"]]
    first = layers_mean(A, np.vstack([p["users.weight"], p["items.weight"]]), 2)
    return [C + unit(C2) for C, C2 in zip(np.split(first, [len(R)]), second)], second


def contrasts(one, other, known):
    """Of each that is known, the cross-entropy of telling its second order among all rows but its own."""
    one, other = unit(one[known]), unit(other[known])
    same, across = np.exp(one @ one.T / 0.4), np.exp(one @ other.T / 0.4)
    return -np.log(across.diagonal() / (across.sum(1) + same.sum(1) - same.diagonal()))


@pytest.mark.parametrize(("train", "equal_users"), [(TRAIN, True), (TRAIN, False), (WARM, True), (APART, True)])
def test_vectors_and_loss(tmp_path, train, equal_users):
    weights = {"user_contrast_weight": 0.3, "item_contrast_weight": 0.7, "reg_weight": 0.2, "equal_users": equal_users}
    session = open_micro(write_micro(tmp_path, train=train), "MMHCL", **SETTINGS, **weights)
    Z, second = orders(session)
    for ours, expected in zip(session.model.eval().forward(), Z):
        assert np.allclose(ours.detach().numpy(), expected, atol=1e-6)
    R, _ = interactions(session.model)
    apart = sum(w * contrasts(*of, R.any(ax)).mean() for w, ax, *of in zip((0.3, 0.7), (1, 0), Z, second))
    u, i, j = Z[0][[1, 2, 3]], Z[1][[1, 3, 4]], Z[1][[4, 1, 2]]
    squares = (u**2).sum(1) / 2 + (i**2).sum(1) / 2 + (j**2).sum(1) / 2
    each = np.log1p(np.exp((u * (j - i)).sum(1))) + 0.2 * squares
    owned = R.sum(1)
    weight = owned[1:5].mean() / owned[[1, 2, 3]] if equal_users else 1
    expected = (weight * each).mean() + apart
    assert session.model.train().calculate_loss(TRIPLES).item() == pytest.approx(expected, rel=1e-5)


def test_over_an_epoch_every_user_counts_the_same(tmp_path):
    model = open_micro(write_micro(tmp_path), "MMHCL", **SETTINGS).model
    user = torch.from_numpy(model.R.nonzero()[0])
    assert torch.zeros(6).index_add(0, user, model._weight[user]).tolist() == pytest.approx([0, 2, 2, 2, 2, 0])


def test_a_step_contrasts_as_many_as_it_should(tmp_path):
    alone = {"user_contrast_weight": 1.0, "item_contrast_weight": 0.0, "reg_weight": 0.0, "equal_users": False}
    session = open_micro(write_micro(tmp_path), "MMHCL", **SETTINGS, **alone, contrast_rows=1)
    (Z, second), model = orders(session), session.model.train()
    u, i, j = Z[0][[1, 2, 3]], Z[1][[1, 3, 4]], Z[1][[4, 1, 2]]
    ranking = log_loss((u * i).sum(1) - (u * j).sum(1))
    terms = contrasts(Z[0], second[0], [1, 2, 3, 4])
    drawn = np.array([model.calculate_loss(TRIPLES).item() - ranking for _ in range(100)])
    assert np.abs(drawn[:, None] - terms).min(1) == pytest.approx(0, abs=1e-5)  # each is one of the users' ...
    assert np.abs(drawn[:, None] - terms).min(0) == pytest.approx(0, abs=1e-5)  # ... and each user's comes
    model.contrast_rows = 4
    assert model.calculate_loss(TRIPLES).item() == pytest.approx(ranking + terms.mean(), rel=1e-5)


def test_who_has_no_train_interactions_gets_no_gradient(tmp_path):
    model = open_micro(write_micro(tmp_path, train=APART), "MMHCL", **SETTINGS).model.train()
    model.calculate_loss(TRIPLES).backward()
    grads = model.users.weight.grad, model.hyper_users.weight.grad
    assert all(torch.isfinite(grad).all() and not grad[[0, 5]].any() for grad in grads)  # padding and eve
    assert grads[0][1:5].any(1).all() and grads[1][1:4].any(1).all() and not grads[1][4].any()  # dot shares no item


def test_features_are_never_trained(tmp_path):
    with pytest.raises(UserError, match="trainable_features"):
        open_micro(write_micro(tmp_path), "MMHCL", trainable_features=True)
