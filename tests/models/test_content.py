"""Features of items side by side, whole or reduced."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recbole_cadmr.data.modality import Modality
from recbole_cadmr.models import content
from recbole_cadmr.models.content import principal_components, unit_features

N_ITEMS = 41  # with the padding item


def table(width, missing=(), rank=None, seed=0):
    rng = np.random.default_rng(seed)
    rank = rank or width
    rows = rng.standard_normal((N_ITEMS, rank)) / (1 + np.arange(rank)) @ rng.standard_normal((rank, width)) + 0.5
    rows[[0, *missing]] = 0
    rows = torch.from_numpy(rows.astype(np.float32))
    return Modality("text", rows, rows.any(1))


def by_numpy(modality, n_components=None):
    """Centred and of length 1, or reduced by an SVD and of length 1 again; an item without the modality is 0."""
    there = modality.present[1:].numpy()
    X = modality.features[1:][there].numpy().astype(np.float64)
    X -= X.mean(0)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    if n_components:
        X = X @ np.linalg.svd(X, full_matrices=False)[2][:n_components].T
        X /= np.linalg.norm(X, axis=1, keepdims=True)
    whole = np.zeros((N_ITEMS - 1, X.shape[1]))
    whole[there] = X
    return whole


def data_set(*modalities):
    return SimpleNamespace(item_num=N_ITEMS, modalities=lambda: dict(enumerate(modalities)))


@pytest.mark.parametrize("block", [1, 50, 2**22])
def test_features_are_centred_and_reduced_by_blocks_as_at_once(monkeypatch, block):
    monkeypatch.setattr(content, "_BLOCK", block)
    narrow, wide = table(4, missing=[2, 9]), table(30, missing=[5], rank=12, seed=1)
    whole, is_reduced = unit_features(data_set(narrow, wide))
    assert not is_reduced
    np.testing.assert_allclose(whole, np.hstack([by_numpy(narrow), by_numpy(wide)]), atol=1e-6)
    features, is_reduced = unit_features(data_set(narrow, wide), most=8)
    assert is_reduced and features.shape == (N_ITEMS - 1, 4 + 8)
    np.testing.assert_allclose(features[:, :4], by_numpy(narrow), atol=1e-6)
    reduced = by_numpy(wide, 8)  # the same up to the signs of the components, which cosines do not feel
    np.testing.assert_allclose(features[:, 4:] @ features[:, 4:].T, reduced @ reduced.T, atol=1e-4)


def test_no_more_components_than_there_are_items():
    wide = table(90)
    features, is_reduced = unit_features(data_set(wide), most=60)
    assert is_reduced and features.shape == (N_ITEMS - 1, N_ITEMS - 1)
    np.testing.assert_allclose(features @ features.T, by_numpy(wide) @ by_numpy(wide).T, atol=1e-4)


def test_components_are_orthogonal_in_order_and_the_same_whatever_was_drawn_before():
    X = torch.from_numpy(by_numpy(table(30, rank=12)).astype(np.float32))
    V = principal_components(X.split(7), 8)
    np.testing.assert_allclose(V.T @ V, np.eye(8), atol=1e-5)
    lengths = (X @ V).norm(dim=0)
    np.testing.assert_allclose(lengths, np.linalg.svd(X)[1][:8], rtol=1e-4)
    torch.rand(3)
    assert torch.equal(principal_components(X.split(7), 8), V)


def test_rows_on_disk_are_not_written_to(tmp_path):
    wide = table(30)
    np.save(tmp_path / "rows.npy", wide.features.numpy())
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="c")
    on_disk = Modality("text", torch.from_numpy(mapped), wide.present)
    assert torch.equal(unit_features(data_set(on_disk), 8)[0], unit_features(data_set(wide), 8)[0])
    assert np.array_equal(mapped, wide.features.numpy())
