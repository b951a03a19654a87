"""FREEDOM on four users and four items, against its formulas written out with dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.micro import IMAGE, TEXT, TRIPLES, open_micro, train_matrix, write_micro
from tests.oracles.graphs import both_ways, nearest, normalised


def bpr_of(u, i, j):
    return np.log1p(np.exp((u * j).sum(1) - (u * i).sum(1))).mean()


def array(tensor):
    return tensor.detach().numpy().astype(np.float64)


def vectors(model, A):
    S = 0.9 * normalised(nearest(TEXT, 2) != 0) + 0.1 * normalised(nearest(IMAGE, 2) != 0)
    E = np.concatenate([array(model.users.weight), array(model.items.weight)])
    layers = (E + A @ E + A @ A @ E) / 3
    return layers[:6], layers[6:] + S @ E[6:]


@pytest.fixture
def model(tmp_path):
    return open_micro(write_micro(tmp_path), "FREEDOM", neighbours=2, edge_dropout=0.5, reg_weight=0.3).model


def test_vectors_are_light_gcn_and_the_frozen_item_graph(model):
    with torch.no_grad():
        users, items = model.eval().forward()
    expected_users, expected_items = vectors(model, normalised(both_ways(train_matrix())))
    np.testing.assert_allclose(users.numpy(), expected_users, atol=1e-6)
    np.testing.assert_allclose(items.numpy(), expected_items, atol=1e-6)


def test_the_loss_is_bpr_on_the_edges_of_the_epoch_and_on_the_features(model):
    model.before_epoch()
    A = array(model._A_kept.matmul(torch.eye(11)))
    users, items = vectors(model, A)
    u, i, j = users[[1, 2, 3]], [1, 2, 4], [3, 4, 2]
    expected = bpr_of(u, items[i], items[j])
    for name, table in model.features.items():
        map_ = model.projections[name]
        x = array(table()) @ array(map_.weight).T + array(map_.bias)
        expected += 0.3 * bpr_of(u, x[i], x[j])
    assert float(model.train().calculate_loss(TRIPLES).detach()) == pytest.approx(expected, rel=1e-5)


def test_an_epoch_keeps_half_of_the_edges_and_normalises_them_anew(model):
    R = train_matrix()
    seen = set()
    for _ in range(20):
        model.before_epoch()
        A = array(model._A_kept.matmul(torch.eye(11)))
        kept = A[:6, 6:] > 0
        seen.add(kept.tobytes())
        assert kept.sum() == 4 and not (kept & (R == 0)).any()
        np.testing.assert_allclose(A, normalised(both_ways(kept.astype(float))), atol=1e-6)
    assert len(seen) > 5  # another half each time
    np.testing.assert_allclose(array(model._A.matmul(torch.eye(11))), normalised(both_ways(R)), atol=1e-6)


def test_edges_are_kept_by_one_over_the_root_of_their_degrees(tmp_path):
    model = open_micro(write_micro(tmp_path), "FREEDOM", edge_dropout=0.99).model
    torch.manual_seed(1)
    count = np.zeros((6, 5))
    for _ in range(700):
        model.before_epoch()  # one edge of eight
        count += array(model._A_kept.matmul(torch.eye(11)))[:6, 6:]
    share = normalised(both_ways(train_matrix()))[:6, 6:]
    np.testing.assert_allclose(count / 700, share / share.sum(), atol=0.035)
    assert count[4, 4] == pytest.approx(700 * 2**-0.5 / share.sum(), rel=0.1)  # dot's only edge, twice as likely as
    assert count[4, 4] > 1.4 * count[3, 1:].max()  # any of cid's three


def test_without_dropout_training_sees_every_edge(tmp_path):
    model = open_micro(write_micro(tmp_path), "FREEDOM", edge_dropout=0.0).model
    model.before_epoch()
    assert model._A_kept is model._A
