"""The autoencoder as low rank plus sparse, against the ridge regressions that it stands for."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_cadmr.errors import UserError
from recbole_cadmr.layers import low_rank_autoencoder
from recbole_cadmr.layers.linear_autoencoder import FitRows
from recbole_cadmr.layers.low_rank_autoencoder import (
    LowRankAutoencoder,
    LowRankPlusSparse,
    leading_components,
    strongest,
    with_content,
)
from tests.oracles.linear import ordered_columns, ridge_columns


@pytest.fixture
def rows():
    return (np.random.default_rng(3).random((60, 12)) < 0.3).astype(np.float64)


def fit(rows, reg_weight, rank, scale=None, content=None, places=None):
    scale = np.ones(rows.shape[1]) if scale is None else scale
    X = sp.csr_matrix(rows * scale)
    F = np.zeros((len(scale), 0)) if content is None else scale[:, None] * content
    Y = None if places is None else sp.csr_matrix(rows * places * scale)
    return LowRankAutoencoder.fit(FitRows(X, F, scale, reg_weight, Y), leading_components(X, F, rank))


def dense(B):
    return B.product(sp.identity(len(B.scale), format="csr"))


def test_it_is_the_exact_one_with_all_components(rows):
    assert np.abs(dense(fit(rows, 4.0, 12)) - ridge_columns(rows, 4.0)).max() < 1e-12


def test_scaled_columns_are_brought_back(rows):
    scale = np.linspace(0.5, 1.5, 12)
    expected = scale[:, None] * ridge_columns(rows * scale, 4.0) / scale
    assert np.abs(dense(fit(rows, 4.0, 12, scale)) - expected).max() < 1e-12


def test_with_an_order_it_is_the_exact_one_with_all_components_too(rows):
    places, scale = np.random.default_rng(5).normal(size=rows.shape), np.linspace(0.5, 1.5, 12)
    expected = scale[:, None] * ordered_columns(rows * scale, places, 4.0) / scale
    B = fit(rows, 4.0, 12, scale, places=places)
    assert np.abs(dense(B) - expected).max() < 1e-12
    some, others = np.array([0, 5]), np.array([5, 7, 11])
    assert np.abs(B.entries(some, others) - expected[np.ix_(some, others)]).max() < 1e-12
    nearer = [np.abs(dense(fit(rows, 4.0, rank, scale, places=places)) - expected).max() for rank in (1, 6, 11)]
    assert nearer[0] > nearer[1] > nearer[2]


def test_with_an_order_content_is_as_further_rows_without_one(rows):
    places, content = np.random.default_rng(5).normal(size=rows.shape), np.random.default_rng(4).normal(size=(12, 3))
    whole, moved = np.vstack([rows, content.T]), np.vstack([places, np.zeros((3, 12))])
    assert np.abs(dense(fit(rows, 4.0, 12, None, content, places)) - ordered_columns(whole, moved, 4.0)).max() < 1e-12


def test_content_is_as_further_rows(rows):
    content, scale = np.random.default_rng(4).normal(size=(12, 3)), np.linspace(0.5, 1.5, 12)
    whole = np.vstack([rows, content.T])
    expected = scale[:, None] * ridge_columns(whole * scale, 4.0) / scale
    B = fit(rows, 4.0, 12, scale, content)
    assert np.abs(dense(B) - expected).max() < 1e-12
    some, others = np.array([0, 5]), np.array([5, 7, 11])
    assert np.abs(B.entries(some, others) - expected[np.ix_(some, others)]).max() < 1e-12
    assert np.abs(dense(fit(0 * rows, 4.0, 12, scale, content)) - expected).max() > 0.01  # of content alone
    for rank in (1, 4, 9):
        assert np.abs(dense(fit(rows, 4.0, rank, scale, content)) - dense(fit(whole, 4.0, rank, scale))).max() < 1e-10


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_the_other_components_enter_to_first_order(rows, rank):
    gram = rows.T @ rows
    theta, V = np.linalg.eigh(gram)
    theta, V = theta[::-1], V[:, ::-1]
    f = theta / (theta + 4)
    f[rank:] = theta[rank:] * f[rank - 1] / theta[rank - 1]
    W = (V * f) @ V.T
    expected = (W - np.diag(np.diag(W))) / (1 - np.diag(W))
    assert np.abs(dense(fit(rows, 4.0, rank)) - expected).max() < 1e-10


def test_more_components_come_nearer(rows):
    exact = ridge_columns(rows, 30.0)
    errors = [np.abs(dense(fit(rows, 30.0, rank)) - exact).max() for rank in (1, 4, 8, 12)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-12


def test_without_interactions_there_are_no_weights():
    assert not dense(fit(np.zeros((3, 4)), 1.0, 2)).any()


def test_a_ridge_that_does_not_help_is_one_sentence(rows):
    with pytest.raises(UserError, match="singular at reg_weight 0; raise it"):
        fit(rows, 0.0, 12)


@pytest.mark.parametrize(("rank", "n_content"), [(2, 0), (12, 0), (2, 3), (12, 3)])
def test_content_around_it(rows, rank, n_content, monkeypatch):
    monkeypatch.setattr("recbole_cadmr.layers.low_rank_autoencoder.BLOCK", 5)
    rng = np.random.default_rng(0)
    B = fit(rows, 4.0, rank, content=rng.random((12, n_content)))
    enhancing, smoothing, direct = (sp.csr_matrix(rng.random((12, 12)) * (rng.random((12, 12)) < 0.3)) for _ in "123")
    scale = rng.random(12)
    S = with_content(B, enhancing, scale, smoothing, direct, 12, torch.device("cpu"))
    expected = enhancing @ dense(B) @ np.diag(scale) @ smoothing + direct
    assert np.abs(S.product(sp.identity(12, np.float32, "csr")).numpy() - expected).max() < 1e-5


def test_a_user_of_all_items_costs_no_entries():
    pairs = np.repeat(np.eye(20), 2, axis=1)  # each of 20 users has two items of 40, one user has all
    B, one = fit(np.vstack([np.ones(40), pairs]), 4.0, 1), sp.identity(40, format="csr")
    S = with_content(B, one, np.ones(40), one, 0 * one, 8, torch.device("cpu"))
    assert np.abs(S.product(one.astype(np.float32).tocsr()).numpy() - dense(B)).max() < 1e-6
    assert S.sparse.nnz <= 80


@pytest.mark.parametrize("gathered", [1, 20, 10**6])
@pytest.mark.parametrize("padding", [0, 1])
def test_products_in_blocks_are_those_of_the_dense_matrix(gathered, padding, monkeypatch):
    monkeypatch.setattr(low_rank_autoencoder, "_GATHERED", gathered)
    monkeypatch.setattr(low_rank_autoencoder, "_COLUMNS", 7)
    rng = np.random.default_rng(1)
    left, right = (torch.from_numpy(rng.normal(size=(30, 3))).float() for _ in "12")
    sparse = sp.csr_matrix((rng.random((30, 30)) * (rng.random((30, 30)) < 0.3)).astype(np.float32))
    S = LowRankPlusSparse(left, right, sparse)
    dense = (left @ right.T).numpy() + sparse.toarray()
    rows = rng.integers(0, 3, (9, 30)) * (rng.random((9, 30)) < 0.2)
    rows[[0, 4, 8]] = 0
    rows[5] = 1  # all items
    expected = np.hstack([np.zeros((9, padding)), rows @ dense])
    assert np.abs(S.product(sp.csr_matrix(rows.astype(np.float32)), padding).numpy() - expected).max() < 1e-4
    repeated = sp.csr_matrix((np.ones(3, np.float32), [2, 2, 1], [0, 3]), (1, 30))  # unsorted, an item twice
    assert np.abs(S.product(repeated)[0].numpy() - 2 * dense[2] - dense[1]).max() < 1e-4
    assert S.product(sp.csr_matrix((0, 30), dtype=np.float32), padding).shape == (0, 30 + padding)


def test_the_strongest_entries_are_kept():
    matrix = sp.csr_matrix(np.array([[0, 3.0, -4, 1], [0, 0, 2, 0], [-1, -2, -3, -4]], dtype=np.float32))
    assert np.array_equal(strongest(matrix, 2).toarray(), [[0, 3, -4, 0], [0, 0, 2, 0], [0, 0, -3, -4]])
    assert strongest(matrix, 4) is matrix


def test_long_rows_are_padded_a_few_at_a_time(monkeypatch):
    rng, shapes = np.random.default_rng(5), []
    matrix = sp.csr_matrix(
        rng.standard_normal((30, 40)) * (rng.random((30, 40)) < rng.random((30, 1))), dtype=np.float32
    )
    expected = matrix.toarray()
    np.put_along_axis(expected, np.argsort(np.abs(expected), axis=1)[:, :-5], 0, axis=1)
    padded_rows = low_rank_autoencoder.padded_rows

    def noted(part):
        padded = padded_rows(part)
        shapes.append(padded[0].numel())
        return padded

    monkeypatch.setattr(low_rank_autoencoder, "padded_rows", noted)
    monkeypatch.setattr(low_rank_autoencoder, "_PADDED", 100)
    assert np.array_equal(strongest(matrix, 5).toarray(), expected)
    assert len(shapes) > 10 and max(shapes) <= 100


def test_parts_of_an_edited_checkpoint_are_refused():
    parts = {"left": torch.ones(3, 2), "right": torch.ones(3, 2), "sparse": sp.identity(3, format="csr")}
    whole = LowRankPlusSparse.from_parts(parts, 3, torch.device("cpu"))
    assert torch.equal(whole.product(sp.identity(3, np.float32, "csr")), 2 * torch.ones(3, 3) + torch.eye(3))
    for name, value in (("left", None), ("right", torch.ones(3, 1)), ("sparse", sp.identity(2)), ("sparse", 1)):
        with pytest.raises(ValueError, match="no matrix of 3 items by 3"):
            LowRankPlusSparse.from_parts({**parts, name: value}, 3, torch.device("cpu"))
