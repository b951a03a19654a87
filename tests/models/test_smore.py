"""SMORE on the micro set, against its equations in dense numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_cadmr.errors import UserError
from recbole_cadmr.models.smore import SpectralFusion
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

SETTINGS = {"neighbours": 3, "modality_neighbours": {"image": 2}, "n_ui_layers": 2, "embedding_size": 6, "dropout": 0.0}
WEIGHTS = {"contrast_weight": 0.3, "reg_weight": 0.2, "temperature": 0.4}


def spectrum(X):
    """Fourier coefficients 0 to d / 2 of rows of X, by their definition."""
    d = X.shape[1]
    waves = np.exp(-2j * np.pi * np.outer(np.arange(d), np.arange(d // 2 + 1)) / d)
    return X @ waves / np.sqrt(d)


def latent(F, d):
    """Rows of real numbers from their coefficients 0 to d / 2: a cosine and a sine each."""
    angles = 2 * np.pi * np.outer(np.arange(d // 2 + 1), np.arange(d)) / d
    both = np.where((np.arange(d // 2 + 1) == 0) | (2 * np.arange(d // 2 + 1) == d), 1, 2)[:, None]
    return (F.real @ (both * np.cos(angles)) - F.imag @ (both * np.sin(angles))) / np.sqrt(d)


def views(session):
    """The side and the behaviour of all users and items by SMORE's equations."""
    model, modalities, d = session.model, session.dataset.modalities(), 6
    p, (_, A), n_users = numbers(model), interactions(model), model.n_users
    E = p["items.weight"]
    C = layers_mean(A, np.vstack([p["users.weight"], E]), 2)
    spectra = {name: spectrum(linear(p, f"W1.{name}", p[f"features.{name}.weight"])) for name in modalities}
    graphs = {name: item_graph(m, {"image": 2}.get(name, 3), weighted=True) for name, m in modalities.items()}

    def view(F, w, purifier, S):
        X = latent(F * (w[:, 0] + 1j * w[:, 1]), d)
        smooth = S @ (E * sigmoid(linear(p, purifier, X)))
        return np.vstack([A[:n_users, n_users:] @ smooth, smooth])

    product, largest = np.prod(list(spectra.values()), 0), np.max(list(graphs.values()), 0)
    V_fused = view(product, p["spectral.w_fused"], "purifier_fused.0", largest)
    side = sigmoid(linear(p, "preference_fused.0", C)) * V_fused
    for name in modalities:
        V_m = view(spectra[name], p[f"spectral.w.{name}"], f"purifier.{name}.0", graphs[name])
        attention = np.exp(linear(p, f"query.{name}.2", np.tanh(linear(p, f"query.{name}.0", V_fused))))
        attention /= attention.sum(1, keepdims=True)
        side = side + sigmoid(linear(p, f"preference.{name}.0", C)) * attention * V_m
    return side / 3, C


def test_vectors_and_loss(tmp_path):
    session = open_micro(write_micro(tmp_path), "SMORE", **SETTINGS, **WEIGHTS)
    side, C = views(session)
    users, items = session.model.eval().forward()
    assert np.allclose(torch.cat([users, items]).detach().numpy(), side + C, atol=1e-6)
    loss = session.model.train().calculate_loss(TRIPLES)
    assert loss.item() == pytest.approx(loss_of_views(side, C, session.model.n_users, **WEIGHTS), rel=1e-5)


@pytest.mark.parametrize("size", [6, 5])
def test_a_product_of_spectra_is_a_circular_convolution(size):
    torch.manual_seed(0)
    fusion = SpectralFusion(["one", "two"], size)
    X = {"one": torch.randn(3, size), "two": torch.randn(3, size)}
    with torch.no_grad():
        for w in fusion.parameters():
            w.copy_(torch.tensor([1.0, 0.0]))  # a filter that changes nothing
        alone, fused = fusion(X)
    assert all(torch.allclose(alone[name], X[name], atol=1e-6) for name in X)
    rolled = torch.stack([X["two"].roll(s, 1) for s in range(size)], 1)  # [3, shift, size]
    expected = (X["one"][:, :, None] * rolled).sum(1) / size**0.5
    assert torch.allclose(fused, expected, atol=1e-5)


def test_dropout_of_preferences_is_for_training_alone(tmp_path):
    model = open_micro(write_micro(tmp_path), "SMORE", **{**SETTINGS, "dropout": 0.5}).model
    assert len({model.train().calculate_loss(TRIPLES).item() for _ in range(4)}) > 1
    assert torch.equal(model.eval().forward()[0], model.forward()[0])


def test_neighbours_are_whole_numbers(tmp_path):
    with pytest.raises(UserError, match="modality_neighbours must be whole numbers of at least 2, not 1 for image"):
        open_micro(write_micro(tmp_path), "SMORE", modality_neighbours={"image": 1})
