"""Attention of items to items by content."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_cadmr.data.graph import ItemGraph, nearest_items
from recbole_cadmr.data.modality import Modality
from recbole_cadmr.layers import content_graph
from recbole_cadmr.layers.content_graph import GraphAttention, alignment_weights, fused, softmax_attention, two_hops
from recbole_cadmr.layers.total_correlation import gaussian_total_correlation


def test_rows_are_softmaxes_over_the_nearest():
    graph = ItemGraph(
        torch.tensor([[0, 0], [2, 3], [1, 0], [0, 0]]), torch.tensor([[0, 0], [0.9, 0.5], [0.9, 0], [0, 0]])
    )
    A = softmax_attention(graph, 2, 0.2).toarray()
    odds = np.exp(0.4 / 0.2)
    assert np.abs(A - [[0, odds / (1 + odds), 1 / (1 + odds)], [1, 0, 0], [0, 0, 0]]).max() < 1e-6
    assert np.array_equal(softmax_attention(graph, 1, 0.2).toarray(), [[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    odds /= 5  # the third item is five times as likely
    weighed = softmax_attention(graph, 2, 0.2, torch.tensor([0, 0, 5.0]).clamp(min=1).log().double()).toarray()
    assert np.abs(weighed - [[0, odds / (1 + odds), 1 / (1 + odds)], [1, 0, 0], [0, 0, 0]]).max() < 1e-6


def test_two_hops_reach_the_neighbours_neighbours_but_not_back():
    A = sp.csr_matrix(np.array([[0, 1, 0], [0.5, 0, 0.5], [0, 1, 0]], dtype=np.float32))
    assert np.array_equal(two_hops(A, 0.5).toarray(), [[0, 1, 0.25], [0.5, 0, 0.5], [0.25, 1, 0]])
    assert two_hops(A, 0.0) is A


def test_modalities_weigh_as_their_neighbours_are_chosen_together():
    R = sp.csr_matrix(np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0]], dtype=np.float32))
    good, mixed = np.zeros((4, 4)), np.zeros((4, 4))
    good[0, 1] = good[1, 0] = 1
    mixed[0, 2] = mixed[2, 1] = 1  # chosen together by one user of three and two; never
    weights = alignment_weights(R, {"text": sp.csr_matrix(good), "image": sp.csr_matrix(mixed)})
    text, image = 2 / np.sqrt(3 * 2), (1 / np.sqrt(3 * 2) + 0) / 2
    assert weights["text"] == pytest.approx(text**2 / (text**2 + image**2), abs=1e-6)
    assert sum(weights.values()) == pytest.approx(1)
    apart = sp.csr_matrix(np.eye(4, k=3))
    assert alignment_weights(R, {"text": apart, "image": apart}) == {"text": 0.5, "image": 0.5}


def test_modalities_weigh_alike_in_blocks_of_users(monkeypatch):
    rng = np.random.default_rng(0)
    R = sp.csr_matrix((rng.random((50, 12)) < 0.3).astype(np.float32))
    nearest = {name: sp.csr_matrix(rng.random((12, 12)) < 0.2).astype(np.float32) for name in ("text", "image")}
    whole = alignment_weights(R, nearest)
    columns = R.toarray() / np.sqrt(np.maximum(R.toarray().sum(0), 1))
    means = [(columns.T @ columns)[matrix.toarray() > 0].mean() for matrix in nearest.values()]
    assert list(whole.values()) == pytest.approx(np.square(means) / np.square(means).sum(), rel=1e-5)
    monkeypatch.setattr(content_graph, "_BLOCK", 7)
    assert alignment_weights(R, nearest) == pytest.approx(whole, rel=1e-6)


class Drawn:
    """Content of which only the graphs are asked for, one of them with a neighbour that is named twice."""

    def __init__(self):
        self.idx = {
            "text": [[0, 0], [2, 2], [1, 3], [2, 4], [3, 1]],
            "image": [[0, 0], [3, 4], [4, 1], [1, 2], [2, 1]],
        }
        self.modality_names = list(self.idx)

    def nearest_items(self, name, k):
        idx = torch.tensor(self.idx[name])
        return ItemGraph(idx, torch.ones(idx.shape))


def test_weights_that_follow_from_interactions_are_found_once_for_each_number_of_neighbours(monkeypatch):
    found, compute = [], content_graph.alignment_weights
    monkeypatch.setattr(content_graph, "alignment_weights", lambda *args: found.append(args) or compute(*args))
    R = sp.csr_matrix(np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 1]], dtype=np.float32))
    attention = GraphAttention(Drawn(), R)
    base = {"attention": "graph", "modality_weights": None, "neighbour_popularity": 0.0, "attention_damping": 0.0}
    seen = [
        attention({**base, "attention_neighbours": k, "attention_temperature": temperature})
        for k, temperature in ((2, 0.1), (2, 5.0), (1, 0.1), (2, 0.1))
    ]
    assert len(found) == 2 and seen[0][1] is seen[3][1]
    for k, (_, nearest) in zip((2, 1), found):
        for name, matrix in nearest.items():  # each neighbour once
            expected = np.zeros((4, 4))
            for item, near in enumerate(Drawn().idx[name][1:]):
                expected[item, np.array(near[:k]) - 1] = 1
            assert np.array_equal(matrix.toarray(), expected)
    alone = GraphAttention(Drawn(), R)({**base, "attention_neighbours": 2, "attention_temperature": 9.0})
    assert seen[0][1] == alone[1] and len(found) == 3
    given = attention({**base, "attention_neighbours": 2, "attention_temperature": 0.1, "modality_weights": [3, 1]})
    assert given[1] == {"text": 0.75, "image": 0.25} and len(found) == 3


def test_fused_features_are_decorrelated_and_weigh_as_told():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(5, 5))
    text = torch.from_numpy(np.vstack([np.zeros(5), rng.normal(size=(3000, 5)) @ mixing])).float()
    image = torch.from_numpy(rng.normal(size=(3001, 2))).float()
    present = torch.ones(3001, dtype=torch.bool)
    present[0] = False
    lacking = present.clone()
    lacking[7] = False
    whole = fused([Modality("text", text, present), Modality("image", image, lacking)], [0.75, 0.25], shrinkage=0.0)
    assert whole.features.shape == (3001, 7) and bool(whole.present[7])
    squares = whole.features[1:].square()
    assert torch.allclose(squares[:, :5].sum(1), torch.tensor(0.75))
    assert torch.equal(whole.features[7, 5:], torch.zeros(2))
    raw = float(gaussian_total_correlation([text[1:]], "within"))
    assert raw > 0.5 and float(gaussian_total_correlation([whole.features[1:, :5]], "within")) < 0.02


def test_constant_features_and_none_give_numbers():
    same = Modality("text", torch.ones(5, 3), torch.tensor([False, True, True, True, True]))
    whole = fused([same], [1.0])
    assert torch.isfinite(whole.features).all()
    assert np.isfinite(softmax_attention(nearest_items(whole, 2), 2, 0.2).toarray()).all()
