"""The closed forms against the problems they solve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.linear_autoencoder import FitRows, SolvedAutoencoder, exact_autoencoder
from tests.oracles.linear import ordered_columns, ridge_columns


@pytest.fixture
def rows():
    return (np.random.default_rng(3).random((60, 12)) < 0.3).astype(np.float64)


def test_the_exact_fit_is_the_ridge_regression_of_each_item_on_the_others(rows):
    B = exact_autoencoder(torch.from_numpy(rows.T @ rows), 4.0).numpy()
    assert np.abs(B - ridge_columns(rows, 4.0)).max() < 1e-12
    single = exact_autoencoder(torch.from_numpy((rows.T @ rows).astype(np.float32)), 4.0).numpy()
    assert np.abs(single - B).max() < 1e-5


def test_the_exact_fit_reuses_the_memory_of_the_gram_matrix(rows):
    gram = torch.from_numpy(rows.T @ rows)
    assert exact_autoencoder(gram, 4.0).data_ptr() == gram.data_ptr()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_exact_fit_is_stored_by_rows(rows, dtype):
    assert exact_autoencoder(torch.from_numpy(rows.T @ rows).to(dtype), 4.0).is_contiguous()


def test_items_without_interactions_get_no_weights(rows):
    rows[:, 5] = 0
    B = exact_autoencoder(torch.from_numpy(rows.T @ rows), 4.0).numpy()
    assert not B[5].sum() and not B[:, 5].sum()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_singular_gram_matrix_is_one_sentence(rows, dtype):
    rows[:, 1] = rows[:, 0]
    gram = (rows.T @ rows).astype(dtype)
    with pytest.raises(UserError, match="singular at reg_weight 0; raise it"):
        exact_autoencoder(torch.from_numpy(gram), 0.0)


def test_single_columns_are_those_of_the_whole():
    rng = np.random.default_rng(2)
    R = (rng.random((30, 12)) < 0.3).astype(float)
    R[:, 7] = 0  # an item that nobody has
    scale = rng.random(12) + 0.5
    content = rng.normal(size=(12, 2))
    alone = SolvedAutoencoder(FitRows(sp.csr_matrix(R * scale), scale[:, None] * content, scale, 3.0))
    rows, columns = np.array([0, 3, 7, 9]), np.array([1, 3, 7, 11])
    expected = scale[:, None] * ridge_columns(np.vstack([R, content.T]) * scale, 3.0) / scale
    assert np.abs(alone.entries(rows, columns) - expected[np.ix_(rows, columns)]).max() < 1e-9


@pytest.fixture
def ordered(rows):
    """Rows, places of their entries, and what is fitted to both."""
    places = np.random.default_rng(5).normal(size=rows.shape)
    given = FitRows(sp.csr_matrix(rows), np.zeros((rows.shape[1], 0)), np.ones(rows.shape[1]), 4.0)
    return rows, places, replace(given, Y=sp.csr_matrix(rows * places))


def test_with_an_order_later_items_follow_from_earlier_ones(ordered):
    rows, places, given = ordered
    B = exact_autoencoder(torch.from_numpy(rows.T @ rows), 4.0, skew=given.skew())
    expected = ordered_columns(rows, places, 4.0)
    assert np.abs(B.numpy() - expected).max() < 1e-12 and B.is_contiguous()
    some, others = np.array([0, 3, 5]), np.array([1, 3, 7])
    found = SolvedAutoencoder(given).entries(some, others)
    assert np.abs(found - expected[np.ix_(some, others)]).max() < 1e-9
    assert np.abs(expected - ridge_columns(rows, 4.0)).max() > 0.1


def test_what_all_places_of_a_row_have_in_common_is_no_order(ordered):
    rows, places, given = ordered
    moved = replace(given, Y=sp.csr_matrix(rows * (places + np.arange(len(rows))[:, None])))
    assert abs(moved.skew() - given.skew()).max() < 1e-10
