"""LATTICE on four users and four items, against its formulas written out with dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.micro import IMAGE, TEXT, TRIPLES, open_micro, train_matrix, write_micro
from tests.oracles.graphs import both_ways, nearest

PRESENT = {"text": [1, 2, 3, 4], "image": [1, 3, 4]}  # b has no picture
K, REG = 3, 0.2


def model_of(folder, **settings):
    torch.manual_seed(0)
    model = open_micro(folder, "LATTICE", neighbours=K, reg_weight=REG, **settings).model
    with torch.no_grad():
        model.w.copy_(torch.tensor([0.5, -0.2]))
    return model


def normalised(S):
    scale = torch.where(S.sum(1) > 0, S.sum(1), torch.inf) ** -0.5
    return scale[:, None] * S * scale


def item_graph(model, share):
    w = dict(zip(PRESENT, model.w.exp() / model.w.exp().sum()))
    A = torch.zeros(5, 5)
    for name, features in (("text", TEXT), ("image", IMAGE)):
        A = A + (1 - share) * w[name] * normalised(torch.from_numpy(nearest(features, K)).float().clamp(min=0))
    if share:
        learned = torch.zeros(5, 5)
        for name, present in PRESENT.items():
            x = model.features[name]() @ model.projections[name].weight.T + model.projections[name].bias
            cosine = (x @ x.T) / (x.norm(dim=1)[:, None] * x.norm(dim=1))
            among = torch.zeros(5, 5)
            for i in present:
                for j in sorted(present, key=lambda j: -float(cosine[i, j].detach()) - (i == j))[:K]:
                    among[i, j] = 1
            learned = learned + w[name] * torch.where(among > 0, cosine, 0.0).clamp(min=0)
        A = A + share * normalised(learned)
    return A


def vectors(model, A):
    graph = torch.from_numpy(both_ways(train_matrix())).float() + torch.eye(11)
    graph = graph / graph.sum(1, keepdim=True)
    E = torch.cat([model.users.weight, model.items.weight])
    layers = (E + graph @ E + graph @ graph @ E) / 3
    h = A @ model.items.weight
    return layers[:6], layers[6:] + h / h.norm(dim=1, keepdim=True).clamp(min=1e-3)


def loss_of(model, A):
    users, items = vectors(model, A)
    u, i, j = users[[1, 2, 3]], items[[1, 2, 4]], items[[3, 4, 2]]
    length = sum(x.square().sum() for x in (u, i, j)) / 2 / 3
    return -((u * (i - j)).sum(1)).sigmoid().log().mean() + REG * length


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_vectors_are_light_gcn_and_the_item_graph(tmp_path, share):
    model = model_of(write_micro(tmp_path), learned_weight=share).eval()
    with torch.no_grad():
        for ours, expected in zip(model.forward(), vectors(model, item_graph(model, share))):
            np.testing.assert_allclose(ours.numpy(), expected.numpy(), atol=1e-6)


def test_the_first_loss_of_an_epoch_and_its_gradients_are_those_of_the_formula(tmp_path):
    model = model_of(write_micro(tmp_path), learned_weight=0.4).train()
    model.before_epoch()
    loss, expected = model.calculate_loss(TRIPLES), loss_of(model, item_graph(model, 0.4))
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    names, parameters = zip(*model.named_parameters())
    gradients = (torch.autograd.grad(value, parameters) for value in (loss, expected))
    for name, ours, formula in zip(names, *gradients):
        assert float(ours.abs().sum()) > 0, name
        torch.testing.assert_close(ours, formula, atol=1e-5, rtol=1e-3, msg=name)


def test_the_item_graph_is_a_constant_until_the_next_epoch(tmp_path):
    model = model_of(write_micro(tmp_path), learned_weight=0.4).train()
    model.before_epoch()
    model.calculate_loss(TRIPLES)
    with torch.no_grad():
        A = item_graph(model, 0.4)
        model.projections["text"].weight.mul_(-1).add_(0.1)
        model.w.add_(torch.tensor([1.0, 0.0]))
        later = item_graph(model, 0.4)
        assert not torch.allclose(A, later, atol=1e-3)
    second = model.calculate_loss(TRIPLES)
    assert float(second.detach()) == pytest.approx(float(loss_of(model, A).detach()), rel=1e-5)
    second.backward()
    assert model.projections["text"].weight.grad is None and model.w.grad is None
    with torch.no_grad():  # scores follow the parameters at once, the loss from the next epoch on
        np.testing.assert_allclose(model.forward()[1].numpy(), vectors(model, later)[1].numpy(), atol=1e-6)
    model.before_epoch()
    assert float(model.calculate_loss(TRIPLES).detach()) == pytest.approx(
        float(loss_of(model, later).detach()), rel=1e-5
    )


def test_without_the_learned_graph_features_are_no_part_of_the_model(tmp_path):
    model = model_of(write_micro(tmp_path), learned_weight=0)
    assert {name for name, _ in model.named_parameters()} == {"users.weight", "items.weight", "w"}
