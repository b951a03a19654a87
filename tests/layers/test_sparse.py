"""Sparse products with gradients, against dense ones."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_cadmr.data.graph import ItemGraph
from recbole_cadmr.layers.propagation import bipartite, neighbour_matrix, row_normalised, symmetric_normalised
from recbole_cadmr.layers.sparse import EdgeMatrix, SparseMatrix, padded_rows

PLACES = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 1]])


@pytest.fixture(params=[True, False])
def with_mkl(request, monkeypatch):
    """Both ways of products along edges, whatever this machine's torch was built with."""
    if request.param and not torch.backends.mkl.is_available():
        pytest.skip("this torch has no MKL")
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: request.param)


def test_a_constant_matrix():
    M, E = sp.random(5, 4, 0.5, "csr", random_state=0), torch.randn(4, 3, requires_grad=True)
    product = SparseMatrix(M).matmul(E)
    assert torch.allclose(product, torch.from_numpy(M.toarray()).float() @ E, atol=1e-6)
    product.square().sum().backward()
    dense = torch.from_numpy(M.toarray()).float()
    assert torch.allclose(E.grad, 2 * dense.T @ dense @ E.detach(), atol=1e-5)


def test_entries_are_learned_and_so_are_the_vectors(with_mkl):
    edges = EdgeMatrix(sp.csr_matrix(PLACES))
    value, E = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((5,), (4, 2)))
    dense = torch.zeros(3, 4, dtype=torch.float64).index_put((edges.row, edges.column), value)
    assert torch.allclose(edges.matmul(value, E), dense @ E)
    assert torch.autograd.gradcheck(edges.matmul, (value, E))


def test_products_along_edges_and_their_gradients(with_mkl):
    edges = EdgeMatrix(sp.csr_matrix(PLACES))
    A, B = (torch.randn(n, 2, dtype=torch.float64, requires_grad=True) for n in (3, 4))
    assert torch.allclose(edges.products(A, B), (A @ B.T)[edges.row, edges.column])
    assert torch.autograd.gradcheck(edges.products, (A, B))


def test_a_softmax_of_each_row_survives_large_scores():
    weight = EdgeMatrix(sp.csr_matrix(PLACES)).softmax(torch.tensor([1000.0, 1000.0, 0.0, 1.0, 1.0]))
    assert weight.tolist() == pytest.approx([0.5, 0.5, 1 / (1 + 2 * np.e), *2 * [np.e / (1 + 2 * np.e)]])


def test_rows_of_different_lengths_are_padded():
    column, value = padded_rows(sp.csr_matrix(np.float32([[0, 2, 0, 3], [0, 0, 0, 0], [5, 0, 0, 0]])))
    assert column.tolist() == [[1, 3], [0, 0], [0, 0]] and value.tolist() == [[2, 3], [0, 0], [5, 0]]
    assert padded_rows(sp.csr_matrix((2, 4), dtype=np.float32))[0].shape == (2, 0)


def test_normalised_graphs_by_hand():
    R = sp.csr_matrix([[0, 0, 0], [0, 1, 1], [0, 1, 0]])
    A = bipartite(R).toarray()
    assert (A == A.T).all() and A[1, 4] == A[1, 5] == A[2, 4] == 1 and A.sum() == 6
    half = symmetric_normalised(bipartite(R)).toarray()
    assert (
        half[1, 4] == pytest.approx(0.5) and half[1, 5] == half[2, 4] == pytest.approx(2**-0.5) and half[0].sum() == 0
    )
    assert row_normalised(R).toarray().tolist() == [[0, 0, 0], [0, 0.5, 0.5], [0, 1, 0]]


def test_an_item_counts_among_its_neighbours():
    graph = ItemGraph(
        torch.tensor([[0, 0], [2, 3], [1, 0], [0, 0]]), torch.tensor([[0, 0], [0.9, 0.5], [0.8, 0], [0, 0]])
    )
    assert neighbour_matrix(graph, 2).toarray().tolist() == [[0] * 4, [0, 1, 1, 0], [0, 1, 1, 0], [0] * 4]
    weighted = neighbour_matrix(graph, 3, weighted=True).toarray()
    assert weighted.tolist() == np.float32([[0] * 4, [0, 1, 0.9, 0.5], [0, 0.8, 1, 0], [0] * 4]).tolist()
    assert neighbour_matrix(graph, 1, with_self=False).toarray()[1].tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_the_mean_of_powers_and_its_gradient(n):
    M, E = sp.random(6, 6, 0.4, "csr", random_state=0), torch.randn(6, 3, requires_grad=True)
    dense = torch.from_numpy(M.toarray()).float()
    expected = sum(torch.linalg.matrix_power(dense, power) for power in range(n + 1)) / (n + 1)
    mean = SparseMatrix(M).mean_of_powers(E, n)
    assert torch.allclose(mean, expected @ E, atol=1e-6)
    G = torch.randn(6, 3)
    mean.backward(G)
    assert torch.allclose(E.grad, expected.T @ G, atol=1e-6)
