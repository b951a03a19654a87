"""LGMRec on the micro set, against its equations in dense numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from recbole_cadmr.layers import losses
from recbole_cadmr.layers.losses import sum_of_log_partitions
from tests.micro import open_micro, write_micro
from tests.oracles.baselines import TRIPLES, interactions, layers_mean, linear, log_loss, numbers

SETTINGS = {"n_hyperedges": 3, "alpha": 0.7, "temperature": 0.4, "embedding_size": 6, "n_content_layers": 1}


def unit(X):
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)


def softmax(X):
    return np.exp(X) / np.exp(X).sum(1, keepdims=True)


def vectors(model, n_hyper_layers):
    """Vectors of users and items [n, d], and the global part by modality."""
    p, (R, A), n_users = numbers(model), interactions(model), model.n_users
    C = layers_mean(A, np.vstack([p["users.weight"], p["items.weight"]]), 2)
    content, by_modality = 0, {}
    for name in ("text", "image"):
        X = linear(p, f"W.{name}", p[f"features.{name}.weight"])
        users = R @ X / np.maximum(R.sum(1, keepdims=True), 1)
        content = content + unit(A @ np.vstack([users, X]))
        logits = linear(p, f"V.{name}", p[f"features.{name}.weight"])
        H_users, H_items = softmax(R @ logits / 0.4), softmax(logits / 0.4)
        Y = C[n_users:]
        for _ in range(n_hyper_layers):
            edges = H_items.T @ Y
            Y = H_items @ edges
        by_modality[name] = np.vstack([H_users @ edges, Y])
    return C + content + 0.7 * unit(sum(by_modality.values())), by_modality


@pytest.mark.parametrize("n_hyper_layers", [1, 2])
def test_vectors_and_loss(tmp_path, monkeypatch, n_hyper_layers):
    weights = {"contrast_weight": 0.3, "reg_weight": 0.2, "hyperedge_dropout": 0.0}
    model = open_micro(write_micro(tmp_path), "LGMRec", n_hyper_layers=n_hyper_layers, **SETTINGS, **weights).model
    z, Y = vectors(model, n_hyper_layers)
    assert np.allclose(torch.cat(model.eval().forward()).detach().numpy(), z, atol=1e-5)

    monkeypatch.setattr(F, "gumbel_softmax", lambda logits, tau, dim: (logits / tau).softmax(dim))
    n = model.n_users
    u, i, j = z[[1, 2, 3]], z[[n + 1, n + 3, n + 4]], z[[n + 4, n + 1, n + 2]]
    image, text = unit(Y["image"]), unit(Y["text"])
    apart = 0
    for rows, table in (([1, 2, 3], text[1:n]), ([n + 1, n + 3, n + 4], text[n + 1 :])):  # all but the padding
        among = np.log(np.exp(image[rows] @ table.T / 0.4).sum(1))
        apart += (among - (image[rows] * text[rows]).sum(1) / 0.4).sum()
    lengths = sum(np.sqrt((v**2).sum()) for v in (u, i, j)) / 3
    expected = log_loss((u * i).sum(1) - (u * j).sum(1)) + 0.3 * apart + 0.2 * lengths
    assert model.train().calculate_loss(TRIPLES).item() == pytest.approx(expected, rel=1e-5)


def test_noise_and_dropout_of_hyperedges_are_for_training_alone(tmp_path):
    model = open_micro(write_micro(tmp_path), "LGMRec", n_hyperedges=2, hyperedge_dropout=0.25).model.train()
    logits = torch.tensor([1.0, 0.6]).repeat(20_000, 1)
    H = model._dependence(logits)
    assert (H == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    kept = H[(H > 0).all(1)]
    assert torch.allclose(kept.sum(1), torch.full((len(kept),), 1 / 0.75), atol=1e-5)
    # Gumbel noise makes an entry the largest as often as the softmax of the logits says, at any temperature.
    often = (kept[:, 0] > kept[:, 1]).float().mean().item()
    assert often == pytest.approx(logits[0].softmax(0)[0].item(), abs=0.015)
    assert torch.equal(model.eval()._dependence(logits), (logits / 0.2).softmax(1))


def test_one_modality_has_nothing_to_contrast(tmp_path):
    model = open_micro(write_micro(tmp_path, modalities="[text]"), "LGMRec", reg_weight=0.0, contrast_weight=1.0).model
    users, items = model.eval().forward()  # without noise
    u, i, j = users[TRIPLES["user_id"]], items[TRIPLES["item_id"]], items[TRIPLES["neg_item_id"]]
    expected = -F.logsigmoid((u * i).sum(1) - (u * j).sum(1)).mean()
    assert model.calculate_loss(TRIPLES).item() == pytest.approx(expected.item(), rel=1e-6)


def test_log_partitions_and_their_gradient_in_blocks(monkeypatch):
    monkeypatch.setattr(losses, "_LOGITS", 30)
    monkeypatch.setattr(losses, "_ROWS", 2)  # of A at once
    torch.manual_seed(0)
    A, C = torch.randn(5, 3) * 40, torch.randn(15, 3)  # exponents that overflow
    for left_out in (None, torch.tensor([3, 0, 3, 14, 7])):
        results = []
        for compute in (sum_of_log_partitions, sum_by_logsumexp):
            a, c = A.clone().requires_grad_(), C.clone().requires_grad_()
            (2 * compute(a, c, left_out)).backward()
            results.append((compute(a, c, left_out).detach(), a.grad, c.grad))
        for ours, plain in zip(*results):
            assert torch.allclose(ours, plain, rtol=1e-5, atol=1e-4)


def sum_by_logsumexp(A, C, left_out):
    logits = A @ C.T
    if left_out is not None:
        logits = logits.masked_fill(torch.arange(len(C)) == left_out[:, None], -torch.inf)
    return logits.logsumexp(1).sum()
