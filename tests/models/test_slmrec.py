"""SLMRec on a data set that fits on a screen, against its formulas written out with dense matrices."""

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
USER, ITEM = [1, 2, 3], [1, 2, 4]
SETTINGS = {"embedding_size": 4, "n_layers": 2, "temperature": 0.5, "ssl_temperature": 0.4, "ssl_weight": 0.3}


def array(tensor):
    return tensor.detach().numpy().astype(np.float64)


def affine(linear, x):
    return x @ array(linear.weight).T + array(linear.bias)


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def channels(model, masked=None):
    """Ids, text and image, propagated: [user, d] and [item, d] each."""
    R = np.zeros((6, 5))
    for user, item in map(str.split, TRAIN):
        R[USERS.index(user) + 1, ITEMS.index(item) + 1] = 1
    A = np.block([[np.zeros((6, 6)), R], [R.T, np.zeros((5, 5))]])
    scale = np.where(A.sum(1) > 0, np.maximum(A.sum(1), 1) ** -0.5, 0)
    A = scale[:, None] * A * scale
    items = [array(model.items.weight)]
    items += [affine(model.E[name], unit(array(model.features[name].weight))) for name in ("text", "image")]
    E = [np.concatenate([array(model.users.weight), e * (c != masked)]) for c, e in enumerate(items)]
    return [(e + A @ e + A @ A @ e) / 3 for e in E]


def fused(model, E):
    E = np.concatenate(E, 1)
    return affine(model.fuse_users, E[:6]), affine(model.fuse_items, E[6:])


def cross_entropy(logits):
    return (np.log(np.exp(logits).sum(1)) - np.diag(logits)).mean()


def contrast(one, other, temperature):
    return cross_entropy(unit(one) @ unit(other).T / temperature)


def main_loss(model):
    users, items = fused(model, channels(model))
    return contrast(users[USER], items[ITEM], 0.5)


def opened(folder, **settings):
    return open_micro(write_micro(folder), "SLMRec", **{**SETTINGS, **settings}).model


def test_vectors(tmp_path):
    model = opened(tmp_path)
    for given, expected in zip(model.forward(), fused(model, channels(model))):
        assert array(given) == pytest.approx(expected, abs=1e-5)


def test_fine_and_coarse(tmp_path):
    model = opened(tmp_path)
    ids, text, image = (E[6:][ITEM] for E in channels(model))
    fine = affine(model.from_finer[0], ids)
    coarse = affine(model.from_finer[1], fine)
    assert model.order == ["image", "text"]
    assert (fine.shape, coarse.shape) == ((3, 4), (3, 2))
    task = cross_entropy(fine @ affine(model.from_modality[0], image).T / 0.4)
    task += cross_entropy(coarse @ affine(model.from_modality[1], text).T / 0.4)
    assert model.calculate_loss(TRIPLES).item() == pytest.approx(main_loss(model) + 0.3 * task, abs=1e-5)


def test_feature_masking(tmp_path):
    model = opened(tmp_path, ssl_task="FM")
    torch.manual_seed(5)
    one, other = torch.randperm(3)[:2].tolist()
    assert one != other
    (u, i), (v, j) = (fused(model, channels(model, masked)) for masked in (one, other))
    task = contrast(u[USER], v[USER], 0.4) + contrast(i[ITEM], j[ITEM], 0.4)
    torch.manual_seed(5)
    assert model.calculate_loss(TRIPLES).item() == pytest.approx(main_loss(model) + 0.3 * task, abs=1e-5)


@pytest.mark.parametrize("task", ["FD", "FD+FM"])
def test_feature_dropout(tmp_path, task):
    model = opened(tmp_path, ssl_task=task, ssl_weight=1.0, dropout_prob=0.0)
    views = fused(model, channels(model))  # without dropout both views are the model's own vectors
    same = sum(contrast(rows[part], rows[part], 0.4) for rows, part in zip(views, (USER, ITEM)))
    loss = model.calculate_loss(TRIPLES).item()
    assert (loss == pytest.approx(main_loss(model) + same, abs=1e-5)) == (task == "FD")
    model.dropout_prob = 0.5
    assert model.calculate_loss(TRIPLES).item() != pytest.approx(loss, abs=1e-3)
    for given, expected in zip(model.forward(), views):  # scores do not drop anything
        assert array(given) == pytest.approx(expected, abs=1e-5)
