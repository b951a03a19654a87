"""BM3 on four users and four items, against its formulas written out with dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_cadmr.models import bm3
from tests.micro import TRIPLES, open_micro, train_matrix, write_micro
from tests.oracles.graphs import both_ways, normalised

USER, ITEM = [1, 2, 3], [1, 2, 4]


@pytest.fixture
def model(tmp_path):
    settings = {"n_layers": 2, "dropout": 0.25, "cl_weight": 0.7, "reg_weight": 0.4}
    return open_micro(write_micro(tmp_path), "BM3", **settings).model


def tables(model):
    A = torch.from_numpy(normalised(both_ways(train_matrix()))).float()
    E = torch.cat([model.users.weight, model.items.weight])
    layers = (E + A @ E + A @ A @ E) / 3
    return layers[:6], layers[6:] + model.items.weight


def shifted(x, p):
    """In the place of dropout, something that a test can repeat."""
    return x.roll(1, 1) + p


def distance(P, x, target):
    x = x @ P.weight.T + P.bias
    return 1 - ((x * target).sum(1) / (x.norm(dim=1) * target.norm(dim=1))).mean()


def expected_loss(model):
    users, items = tables(model)
    u, i, P = users[USER], items[ITEM], model.P
    target_u, target_i = shifted(u, 0.25).detach(), shifted(i, 0.25).detach()
    loss = distance(P, u, target_i) + distance(P, i, target_u)
    for name, map_ in model.projections.items():
        f = model.features[name]()[ITEM] @ map_.weight.T + map_.bias
        loss = loss + 0.7 * (distance(P, f, target_i) + distance(P, f, shifted(f, 0.25).detach()))
    return loss + 0.4 * (users.square().sum() ** 0.5 + items.square().sum() ** 0.5) / 5


def test_scores_are_products_of_predicted_vectors(model):
    with torch.no_grad():
        users, items = (x @ model.P.weight.T + model.P.bias for x in tables(model))
        scores = model.eval().full_sort_predict(TRIPLES)
    np.testing.assert_allclose(scores.numpy(), (users[USER] @ items.T).numpy(), atol=1e-6)


def test_the_loss_and_its_gradients_are_those_of_the_formula(model, monkeypatch):
    monkeypatch.setattr(bm3.F, "dropout", shifted)
    loss, expected = model.train().calculate_loss(TRIPLES), expected_loss(model)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    # Targets pass no gradients: else the tables' would differ.
    parameters = dict(model.named_parameters())
    for name, ours, formula in zip(
        parameters, *(torch.autograd.grad(value, list(parameters.values())) for value in (loss, expected))
    ):
        torch.testing.assert_close(ours, formula, atol=1e-6, rtol=1e-4, msg=name)


def test_targets_alone_are_dropped_out_and_negative_items_do_not_matter(model):
    torch.manual_seed(3)
    first = float(model.train().calculate_loss(TRIPLES).detach())
    other = {**TRIPLES.interaction, "neg_item_id": torch.tensor([4, 3, 2])}
    torch.manual_seed(3)
    assert float(model.calculate_loss(type(TRIPLES)(other)).detach()) == first
    assert float(model.calculate_loss(TRIPLES).detach()) != first
    target = model._target(torch.ones(400, 50))
    assert set(target.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.75))}
    assert float((target == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
