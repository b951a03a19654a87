"""The learned attention between items, against dense matrices written out."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch.nn import functional as F

from recbole_cadmr.layers.item_attention import ItemAttention, Smoothing, attention_entries, sampled_attention_entries
from recbole_cadmr.layers.sparse import SparseMatrix

CPU = torch.device("cpu")


def test_entries_and_gradients_are_those_of_a_dense_softmax():
    torch.manual_seed(0)
    query, key = torch.randn(4, 3, dtype=torch.double), torch.randn(6, 3, dtype=torch.double)
    row, column = torch.tensor([0, 0, 1, 3, 3]), torch.tensor([1, 2, 5, 0, 0])  # one entry asked for twice
    outcome = {}
    for name in ("ours", "dense"):
        q, k = (x.clone().requires_grad_() for x in (query, key))
        entries = attention_entries(q, k, row, column) if name == "ours" else (q @ k.T).softmax(1)[row, column]
        outcome[name] = (entries, *torch.autograd.grad((entries * torch.arange(1.0, 6.0)).sum(), (q, k)))
    for ours, dense in zip(outcome["ours"], outcome["dense"]):
        assert torch.allclose(ours, dense, atol=1e-12)


def test_a_sample_gives_unbiased_sums_and_no_entry_above_one():
    """Over samples, the inverse of an entry is right in the mean, also where few items hold nearly all weight."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    query, key = torch.eye(2, 4).double() * 6, torch.randn(50, 4).double() / 2
    key[3, :2] = 1.2  # the entry asked for, and two others nearly as large
    key[4:6, :2] = 1.15
    row, column = torch.tensor([0, 1, 1]), torch.tensor([3, 3, 9])
    whole = attention_entries(query, key, row, column)
    assert 0.1 < float(whole[0]) < 0.6
    chance = torch.from_numpy(rng.uniform(0.1, 0.3, 50))
    inverse = []
    for _ in range(4000):
        sample = torch.from_numpy(np.flatnonzero(rng.random(50) < chance.numpy()))
        found = sampled_attention_entries(query, key, row, column, sample, -chance.log())
        assert float(found.max()) <= 1
        inverse.append(1 / found)
    mean, error = torch.stack(inverse).mean(0), torch.stack(inverse).std(0) / 4000**0.5
    assert ((mean - 1 / whole).abs() < 4 * error).all()
    everything, certain = torch.arange(50), torch.zeros(50).double()
    assert torch.allclose(sampled_attention_entries(query, key, row, column, everything, certain), whole)


def test_smoothing_adds_neighbours_by_content_and_by_choice():
    rng = np.random.default_rng(1)
    R = (rng.random((7, 5)) < 0.5).astype(np.float32)
    A = rng.random((5, 5)).astype(np.float32) * (1 - np.eye(5, dtype=np.float32))
    E = rng.random((5, 3)).astype(np.float32)
    N = R / np.sqrt(np.maximum(R.sum(1, keepdims=True), 1)) / np.sqrt(np.maximum(R.sum(0), 1))
    C = (N.T @ N) * (1 - np.eye(5))
    smoothing = Smoothing(sp.csr_matrix(R), sp.csr_matrix(A), 2.0, 0.5, CPU)
    assert np.abs(smoothing(torch.from_numpy(E)).numpy() - (E + 2 * A @ E + 0.5 * C @ E)).max() < 1e-5
    nothing = Smoothing(sp.csr_matrix(R), sp.csr_matrix(A), 0.0, 0.0, CPU)
    assert np.array_equal(nothing(torch.from_numpy(E)).numpy(), E)


def test_a_sparse_product_and_its_gradient():
    M = sp.random(4, 6, 0.5, format="csr", dtype=np.float32, random_state=0)
    sparse, dense = SparseMatrix(M), torch.from_numpy(M.toarray())
    E = torch.randn(6, 2, requires_grad=True)
    weight = torch.randn(4, 2)
    assert torch.allclose(sparse.matmul(E), dense @ E, atol=1e-6)
    (gradient,) = torch.autograd.grad((sparse.matmul(E) * weight).sum(), E)
    assert torch.allclose(gradient, dense.T @ weight, atol=1e-6)
    assert torch.allclose(sparse.transposed_times(weight), dense.T @ weight, atol=1e-6)


@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_logits_are_cosines_over_the_temperature(scale):
    torch.manual_seed(0)
    R = sp.csr_matrix(np.eye(5, dtype=np.float32))
    nothing = Smoothing(R, R, 0.0, 0.0, CPU)
    features = torch.randn(5, 3)
    attention = ItemAttention(5, 3, nothing, size=4, temperature=0.2, scale=scale)
    query, key = attention(features)
    both = attention.embedding + features @ attention.content_map
    expected = F.cosine_similarity(both[:, None, :4], both[None, :, 4:], dim=2) / 0.2
    assert torch.allclose(query @ key.T, expected, atol=1e-5)
    assert float(attention.embedding.std()) == pytest.approx(scale, rel=0.4)
