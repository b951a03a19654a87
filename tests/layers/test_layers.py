"""Encoders, fusion, attentions and autoencoder against plain computations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recbole_cadmr.data.rows import RowBatch
from recbole_cadmr.layers.attention import ContentAttention, CrossAttention, Gate, merge_candidates
from recbole_cadmr.layers.autoencoder import Autoencoder
from recbole_cadmr.layers.encoder import Fusion, ModalityEncoder


def batch_of(rows):
    row, column = rows.nonzero(as_tuple=True)
    return RowBatch(row, column, rows[row, column], *rows.shape)


def test_encoder_is_layer_norm_and_two_layers():
    torch.manual_seed(0)
    x = torch.randn(6, 5)
    encoder = ModalityEncoder(x, torch.ones(6, dtype=torch.bool), 4, 3).eval()
    norm, first, second = encoder.layers[0], encoder.layers[1], encoder.layers[4]
    normed = (x - x.mean(1, keepdim=True)) / (x.var(1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    expected = (normed @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
    assert torch.allclose(encoder(), expected, atol=1e-6)


@pytest.mark.parametrize("stand_in", ["mean", "learned"])
def test_an_item_without_the_modality_is_encoded_from_the_mean_at_first(stand_in):
    torch.manual_seed(0)
    x, present = torch.randn(5, 4), torch.tensor([True, False, True, True, False])
    x[~present] = 0
    encoder = ModalityEncoder(x, present, 8, 3, stand_in=stand_in).eval()
    filled = x.clone()
    filled[~present] = x[present].mean(0)
    whole = ModalityEncoder(filled, torch.ones(5, dtype=torch.bool), 8, 3).eval()
    whole.layers.load_state_dict(encoder.layers.state_dict())
    assert torch.allclose(encoder(), whole(), atol=1e-6)
    assert (encoder.stand_in is not None) == (stand_in == "learned")
    if stand_in == "learned":
        encoder().sum().backward()
        assert encoder.stand_in.grad.abs().sum() > 0


def test_features_are_not_part_of_the_state():
    encoder = ModalityEncoder(torch.randn(5, 4), torch.ones(5, dtype=torch.bool), 8, 3)
    assert all(name.startswith("layers.") for name in encoder.state_dict())


def test_fusions():
    torch.manual_seed(0)
    a, b = torch.randn(5, 3), torch.randn(5, 3)
    assert torch.equal(Fusion("sum", 2, 3, 3)([a, b]), a + b)
    assert torch.allclose(Fusion("mean", 2, 3, 3)([a, b]), (a + b) / 2)
    concat = Fusion("concat", 2, 3, 4)
    expected = torch.cat([a, b], 1) @ concat.output.weight.T + concat.output.bias
    assert torch.allclose(concat([a, b]), expected, atol=1e-6)
    gated = Fusion("gated", 2, 3, 3)
    nn.init.zeros_(gated.gate.weight)
    gated.gate.bias.data = torch.tensor([0.0, 1.0])
    weight = torch.tensor([0.0, 1.0]).softmax(0)
    assert torch.allclose(gated([a, b]), weight[0] * a + weight[1] * b, atol=1e-6)
    assert Fusion("sum", 2, 3, 7)([a, b]).shape == (5, 7)


def test_cross_attention_agrees_with_the_formula():
    torch.manual_seed(0)
    attention = CrossAttention(width=9, latent_size=5, attention_size=8, n_heads=2, dropout_prob=0.5).eval()
    rows, Z = torch.rand(4, 9), torch.randn(6, 5)
    Q, K, V = rows @ attention.W_Q.weight.T, Z @ attention.W_K.weight.T, Z @ attention.W_V.weight.T
    heads = []
    for h in range(2):
        q, k, v = (x[:, 4 * h : 4 * h + 4] for x in (Q, K, V))
        heads.append((q @ k.T / 4**0.5).softmax(1) @ v)
    expected = torch.cat(heads, 1) @ attention.W_O.weight.T
    assert torch.allclose(attention(batch_of(rows), attention.content(Z)), expected, atol=1e-6)


def dense_kernel(attention, Z):
    """A [I, I] of the content attention, entry by entry."""
    n_items, n_heads = len(Z), attention.n_heads
    Q, K = (Z @ layer.weight.T for layer in (attention.W_Q, attention.W_K))
    size = Q.shape[1] // n_heads
    A = torch.zeros(n_items, n_items)
    for i in range(n_items):
        near = [j for j in attention.candidates[i].tolist() if j >= 0]
        for h in range(n_heads):
            part = slice(size * h, size * (h + 1))
            score = torch.stack([Q[i, part] @ K[j, part] / size**0.5 for j in near]) if near else torch.empty(0)
            for j, weight in zip(near, score.softmax(0)):
                A[i, j] += weight / n_heads
    return A


def test_content_attention_agrees_with_the_dense_kernel():
    torch.manual_seed(0)
    candidates = torch.tensor([[1, 2], [0, -1], [4, 3], [-1, -1], [2, 0]])
    attention = ContentAttention(candidates, latent_size=6, attention_size=4, n_heads=2)
    Z, rows = torch.randn(5, 6), torch.tensor([[1.0, 0, 0, 1, 1], [0, 2.0, 0, 0, 0]])
    output = attention(batch_of(rows), attention.content(Z))
    assert torch.allclose(output, rows @ dense_kernel(attention, Z), atol=1e-6)
    assert torch.allclose(attention.content(Z).sum(1), torch.tensor([1.0, 1, 1, 0, 1]))


def test_candidates_of_two_graphs_are_merged_once_each():
    a, b = torch.tensor([[2, 3], [1, 0], [0, 0]]), torch.tensor([[3, 4], [0, 0], [0, 0]])
    merged = merge_candidates([a, b])
    assert [sorted(j for j in row if j >= 0) for row in merged.tolist()] == [[1, 2, 3], [0], []]


def test_gates():
    assert Gate("tanh", 4, 0.0)().item() == 0
    assert Gate("tanh", 4, 0.5)().item() == pytest.approx(0.46212, abs=1e-5)
    assert torch.equal(Gate("sigmoid", 4, 0.0)(), torch.full((4,), 0.5))
    assert Gate("none", 4, 0.0)() == 1.0


def test_autoencoder_is_symmetric_with_a_linear_output():
    torch.manual_seed(0)
    autoencoder = Autoencoder(7, [5, 3], "tanh")
    shapes = [tuple(p.shape) for name, p in autoencoder.named_parameters() if name.endswith("weight")]
    assert shapes == [(5, 7), (3, 5), (5, 3), (7, 5)]
    one = Autoencoder(7, [5])
    x = torch.rand(2, 7)
    hidden = (x @ one.encoder[0].weight.T + one.encoder[0].bias).clamp(min=0)
    assert torch.allclose(one(x), hidden @ one.output.weight.T + one.output.bias, atol=1e-6)
