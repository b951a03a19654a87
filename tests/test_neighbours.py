"""Nearest rows: exact against numpy, and by clusters against exact."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest
import torch

from recbole_cadmr import neighbours
from recbole_cadmr.neighbours import nearest_rows


def unit_rows(n, width, groups=0, seed=0):
    """Rows of length 1 [n, width]: directions at random, or around as many as there are ``groups``."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, width))
    if groups:
        rows = 0.5 * rows + rng.standard_normal((groups, width))[rng.integers(groups, size=n)]
    return torch.from_numpy((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))


def sorted_cosines(unit):
    """All pairs by numpy: the others of every row, nearest first, and their cosines."""
    cosine = unit.numpy().astype(np.float64) @ unit.numpy().T.astype(np.float64)
    np.fill_diagonal(cosine, -np.inf)
    order = np.argsort(-cosine, axis=1, kind="stable")
    return order, np.take_along_axis(cosine, order, 1)


def test_no_neighbours_are_asked_for_beyond_the_exact_search():
    assert [found.shape for found in nearest_rows(unit_rows(90, 6), 0, exact=10)] == [(90, 0), (90, 0)]


@pytest.mark.parametrize("numbers", [1, 7 * 90, 2**26])
def test_up_to_a_size_it_is_exact_whatever_the_blocks(monkeypatch, numbers):
    monkeypatch.setattr(neighbours, "_NUMBERS", numbers)
    unit = unit_rows(90, 6)
    order, cosine = sorted_cosines(unit)
    idx, cos = nearest_rows(unit, 5)
    assert idx.tolist() == order[:, :5].tolist()
    np.testing.assert_allclose(cos, cosine[:, :5], atol=1e-6)


@pytest.mark.parametrize("groups", [40, 1200])  # of 50 rows, or of one or two
def test_by_clusters_the_recall_is_what_is_said_and_cosines_are_true(caplog, groups):
    unit = unit_rows(2000, 16, groups)
    order, _ = sorted_cosines(unit)
    with caplog.at_level(logging.INFO):
        idx, cos = nearest_rows(unit, 5, exact=1999)
    recall = (idx.numpy()[:, :, None] == order[:, None, :5]).any(1).mean()
    said = re.search(r"(\d+) of 357 clusters searched, recall ([\d.]+)", caplog.text)
    assert recall == pytest.approx(float(said[2]), abs=0.005) and recall >= 0.945
    assert int(said[1]) < 120  # of 357: not all pairs
    np.testing.assert_allclose(cos, (unit[:, None] * unit[idx]).sum(2), atol=1e-6)
    assert (cos.diff(dim=1) <= 0).all() and (idx != torch.arange(2000)[:, None]).all()
    assert all(len(set(row)) == 5 for row in idx.tolist())


def test_equal_rows_have_equal_results(monkeypatch):
    unit = unit_rows(600, 16, groups=20)
    torch.manual_seed(1)
    one = nearest_rows(unit, 4, exact=10)
    torch.rand(7)
    monkeypatch.setattr(neighbours, "_PLACES", 500)  # blocks of rows do not matter
    other = nearest_rows(unit, 4, exact=10)
    assert one[0].tolist() == other[0].tolist()
    torch.testing.assert_close(one[1], other[1], atol=1e-6, rtol=0)


def test_rows_without_enough_others_in_their_clusters_are_compared_with_all(monkeypatch):
    monkeypatch.setattr(neighbours, "_RECALL", 0.0)  # one cluster searched
    unit = torch.cat([unit_rows(400, 16, groups=4), unit_rows(8, 16, seed=1)])
    idx, _ = nearest_rows(unit, 30, exact=10)
    lonely = sorted_cosines(unit)[0][400:, :30]
    assert [set(row) for row in idx[400:].tolist()] == [set(row) for row in lonely.tolist()]


def test_without_clusters_all_pairs_are_compared(caplog):
    unit = unit_rows(1500, 300)
    with caplog.at_level(logging.INFO):
        idx, _ = nearest_rows(unit, 3, exact=10)
    assert idx.tolist() == sorted_cosines(unit)[0][:, :3].tolist()
    assert "1,500 vectors form no clusters" in caplog.text


def test_how_long_it_will_take_is_said_if_that_is_long(monkeypatch, caplog):
    monkeypatch.setattr(neighbours, "_LONG", 0)
    monkeypatch.setattr(neighbours, "_NUMBERS", 90 * 30)
    with caplog.at_level(logging.INFO):
        nearest_rows(unit_rows(90, 6), 5)
    assert [record.getMessage() for record in caplog.records] == ["the 5 nearest of 90 vectors: about 0 s"]
