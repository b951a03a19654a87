"""MMGCN on a data set that fits on a screen, against its formulas written out with dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from tests.micro import TRAIN, open_micro, write_micro

USERS, ITEMS = ["ann", "bob", "cid", "dot", "eve"], ["a", "b", "c", "d"]  # ids 1, 2, ...; 0 is padding
TRIPLES = Interaction(
    {"user_id": torch.tensor([1, 2, 3]), "item_id": torch.tensor([1, 2, 4]), "neg_item_id": torch.tensor([3, 4, 2])}
)
SETTINGS = {"embedding_size": 3, "latent_sizes": {"image": 4}, "n_layers": 2}
FORMS = [{}, {"preset": "published"}, {"concatenate": True}]


def mean_of_neighbours():
    R = np.zeros((6, 5))
    for user, item in map(str.split, TRAIN):
        R[USERS.index(user) + 1, ITEMS.index(item) + 1] = 1
    A = np.block([[np.zeros((6, 6)), R], [R.T, np.zeros((5, 5))]])
    return A / np.maximum(A.sum(1, keepdims=True), 1)


def array(tensor):
    return tensor.detach().numpy().astype(np.float64)


def leaky(x):
    return np.where(x > 0, x, 0.01 * x)


def affine(linear, x):
    return x @ array(linear.weight).T + (0 if linear.bias is None else array(linear.bias))


def vectors(model, concatenate):
    A, total = mean_of_neighbours(), 0
    for name in ("text", "image"):
        features = array(model.features[name].weight)
        if name == "image":
            features = affine(model.maps[name], features)
        x = np.concatenate([array(model.preferences[name].weight), features])
        x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        for layer in model.networks[name].layers:
            h = leaky(A @ x @ array(layer.W_1.weight).T)
            x_hat = leaky(affine(layer.W_2, x)) + array(model.ids.weight)
            both = affine(layer.W_3, np.concatenate([h, x_hat], 1)) if concatenate else affine(layer.W_3, h) + x_hat
            x = leaky(both)
        total = total + x / 2
    return total[:6], total[6:]


@pytest.mark.parametrize("form", FORMS)
def test_vectors(tmp_path, form):
    model = open_micro(write_micro(tmp_path), "MMGCN", **SETTINGS, **form).model
    for given, expected in zip(model.forward(), vectors(model, concatenate=bool(form))):
        assert array(given) == pytest.approx(expected, abs=1e-5)


def test_loss_is_bpr_and_mean_squares(tmp_path):
    model = open_micro(write_micro(tmp_path), "MMGCN", **SETTINGS, reg_weight=0.5).model
    users, items = vectors(model, concatenate=False)
    u, i, j = users[[1, 2, 3]], items[[1, 2, 4]], items[[3, 4, 2]]
    bpr = np.log1p(np.exp((u * j).sum(1) - (u * i).sum(1))).mean()
    ids = array(model.ids.weight)
    of_ids = (ids[[1, 2, 3]] ** 2).mean() + (ids[6 + np.array([1, 2, 4, 3, 4, 2])] ** 2).mean()
    of_preferences = sum((array(p.weight) ** 2).mean() for p in model.preferences.values())
    assert model.calculate_loss(TRIPLES).item() == pytest.approx(bpr + 0.5 * (of_ids + of_preferences), abs=1e-5)


def test_random_vectors_are_trained_unless_published(tmp_path):
    names = {"ids.weight", "preferences.text.weight", "preferences.image.weight"}
    write_micro(tmp_path)
    for preset, trained in ((None, names), ("published", set())):
        model = open_micro(tmp_path, "MMGCN", **SETTINGS, preset=preset).model
        assert names & dict(model.named_parameters()).keys() == trained
        assert names <= model.state_dict().keys()  # a checkpoint has them in both forms
        optimizer = torch.optim.Adam(model.parameters())
        before = {name: model.state_dict()[name].clone() for name in names}
        model.calculate_loss(TRIPLES).backward()
        optimizer.step()
        assert {name for name in names if not torch.equal(before[name], model.state_dict()[name])} == trained


def test_only_named_modalities_are_mapped(tmp_path):
    model = open_micro(write_micro(tmp_path), "MMGCN", **SETTINGS).model
    assert model.preferences["image"].weight.shape == (6, 4)
    assert model.preferences["text"].weight.shape == (6, 3)  # as long as the features
    assert isinstance(model.maps["text"], torch.nn.Identity)
