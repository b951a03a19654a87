"""Gated cross-attention and the figures of its alignment, beside numpy's and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate

from recbole_cadmr.layers.alignment import alignment, isotropic
from recbole_cadmr.layers.gated_cross_attention import GatedCrossAttention


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def layer(seed: int = 1, **settings) -> GatedCrossAttention:
    torch.manual_seed(seed)
    return GatedCrossAttention(**{"width": 6, "gate": "none", **settings})


def by_numpy(module: GatedCrossAttention, X: np.ndarray, Y: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """CrossAttention(X, Y) of one sequence, head by head and query by query."""
    W = {name: linear.weight.detach().double().numpy() for name, linear in module.attention.items()}
    norm = lambda A: (A - A.mean(1, keepdims=True)) / np.sqrt(A.var(1, keepdims=True) + 1e-5)  # noqa: E731
    if len(list(module.norm[0].parameters())):
        X, Y = norm(X), norm(Y)
    q, k, v = X @ W["query"].T, Y @ W["key"].T, Y @ W["value"].T
    width = q.shape[1] // module.heads
    found = np.zeros_like(q)
    for head in range(module.heads):
        part = slice(head * width, (head + 1) * width)
        for i in range(len(X)):
            if seen[i].any():
                weight = np.exp(q[i, part] @ k[seen[i]][:, part].T / np.sqrt(width))
                found[i, part] = weight / weight.sum() @ v[seen[i]][:, part]
    return found @ W["out"].T


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("heads", [1, 3])
def test_attention_is_that_of_numpy(heads, layer_norm):
    X, Y = draw(2, 4, 6), draw(2, 5, 6, seed=2)
    seen = draw(2, 4, 5, seed=3) > 0
    seen[0, 1] = False
    module = layer(heads=heads, layer_norm=layer_norm)
    out = module(X, Y, seen).detach().numpy()
    for row in range(2):
        expected = X[row].numpy() + by_numpy(
            module, X[row].double().numpy(), Y[row].double().numpy(), seen[row].numpy()
        )
        np.testing.assert_allclose(out[row], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("gate", "start", "alpha"),
    [("tanh", 0.5, np.tanh(0.5)), ("sigmoid", -1.0, 1 / (1 + np.e)), ("scalar", 0.3, 0.3), ("none", 7.0, 1.0)],
)
def test_gate(gate, start, alpha):
    X, Y = draw(3, 6), draw(4, 6, seed=2)
    gated, bare = layer(gate=gate, start=start), layer()
    assert gated.alpha.item() == pytest.approx(alpha, rel=1e-6)
    assert (gated.gate_start is None) == (gate == "none")
    torch.testing.assert_close(gated(X, Y) - X, alpha * bare.added(X, Y))


def test_a_closed_gate_changes_nothing_and_opens():
    X, Y = draw(3, 6), draw(4, 6, seed=2)
    module = layer(gate="tanh", start=0.0)
    out = module(X, Y)
    assert torch.equal(out, X)
    out.square().sum().backward()
    assert module.gate_start.grad.abs() > 0


@pytest.mark.parametrize("settings", [{}, {"feed_forward": 4}, {"project": "orthogonal"}, {"keys": False}])
def test_a_query_without_keys_is_left_alone(settings):
    X, Y = draw(2, 4, 6).requires_grad_(), draw(2, 5, 6, seed=2).requires_grad_()
    seen = torch.ones(2, 4, 5, dtype=torch.bool)
    seen[0, 2], seen[1] = False, False
    module = layer(**settings)
    out = module(X, Y, seen)
    assert torch.equal(out[0, 2], X[0, 2]) and torch.equal(out[1], X[1])
    assert not torch.equal(out[0, 1], X[0, 1])
    out.square().sum().backward()
    read = [X.grad] if settings == {"keys": False} else [X.grad, Y.grad]
    for gradient in [*read, *(p.grad for p in module.parameters() if p.grad is not None)]:
        assert gradient.isfinite().all()
    torch.testing.assert_close(X.grad[1], 2 * X[1].detach())  # nothing but the identity


def test_padding_of_zeros_gives_finite_gradients():
    X, Y = torch.zeros(1, 3, 6, requires_grad=True), torch.zeros(1, 3, 6, requires_grad=True)
    for project in ("none", "orthogonal", "parallel"):
        module = layer(project=project, feed_forward=1)
        module(X, Y, torch.zeros(1, 3, 3, dtype=torch.bool)).sum().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())
        assert X.grad.isfinite().all() and Y.grad.isfinite().all()


def test_projections_are_the_two_parts():
    X, Y = draw(5, 6), draw(4, 6, seed=2)
    whole, orthogonal, parallel = (layer(project=p).added(X, Y) for p in ("none", "orthogonal", "parallel"))
    torch.testing.assert_close(orthogonal + parallel, whole)
    assert (orthogonal * X).sum(1).abs().max() < 1e-5
    assert torch.nn.functional.cosine_similarity(parallel, X).abs().min() > 1 - 1e-5
    x, added = X.double().numpy(), whole.detach().double().numpy()
    expected = (added * x).sum(1, keepdims=True) / (x * x).sum(1, keepdims=True) * x
    np.testing.assert_allclose(parallel.detach().numpy(), expected, atol=1e-6)


def test_the_control_reads_no_keys_and_has_as_many_parameters():
    def matrices(module):
        return sum(p.numel() for p in module.parameters() if p.ndim == 2)

    control, attention = layer(keys=False), layer()
    assert matrices(control) == matrices(attention) == 4 * 6 * 6
    X = draw(3, 6)
    assert torch.equal(control(X, draw(4, 6)), control(X, draw(9, 6, seed=5)))
    assert matrices(layer(feed_forward=6)) == (4 + 12) * 6 * 6


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="4 heads do not divide a width of 6"):
        layer(heads=4)


# Alignment


def test_alignment_known_answers():
    X = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0], [0.0, 0.0], [3.0, 0.0]])
    added = torch.tensor([[2.0, 0.0], [0.0, -1.0], [1.0, -1.0], [5.0, 5.0], [0.0, 0.0]])
    figures = alignment(X, added)  # the last two have no direction
    assert figures["abs_cos"] == pytest.approx(2 / 3)
    assert figures["mean_cos"] == pytest.approx(0, abs=1e-7)
    assert figures["norm_ratio"] == pytest.approx((2 + 0.5 + 1) / 3)
    assert figures["isotropic"] == pytest.approx(2 / np.pi)  # of directions in a plane
    half = np.sqrt(0.5)  # 12: 0, 13: half, 21: 0, 23: half, 31: half, 32: half
    assert figures["permuted"] == pytest.approx(4 * half / 6)


def test_alignment_by_numpy():
    X, added = draw(300, 16) + 1, draw(300, 16, seed=2) + 1  # not isotropic
    figures = alignment(X, added)
    x, a = (A.double().numpy() / np.linalg.norm(A.double().numpy(), axis=1, keepdims=True) for A in (X, added))
    cos = x @ a.T
    assert figures["abs_cos"] == pytest.approx(np.abs(np.diag(cos)).mean(), rel=1e-5)
    assert figures["mean_cos"] == pytest.approx(abs(np.diag(cos).mean()), rel=1e-5)
    assert figures["permuted"] == pytest.approx(np.abs(cos[~np.eye(300, dtype=bool)]).mean(), rel=1e-5)
    assert figures["permuted"] > 2 * figures["isotropic"]


@pytest.mark.parametrize("width", [2, 3, 16, 300])
def test_chance_is_the_mean_over_the_sphere(width):
    density = lambda angle: np.sin(angle) ** (width - 2)  # noqa: E731
    above, below = (integrate.quad(f, 0, np.pi / 2)[0] for f in (lambda a: np.cos(a) * density(a), density))
    assert isotropic(width) == pytest.approx(above / below, rel=1e-9)
    assert isotropic(width) == pytest.approx(np.sqrt(2 / (np.pi * width)), rel=0.3 / width)


def test_chance_of_isotropic_vectors():
    figures = alignment(draw(5000, 64), draw(5000, 64, seed=2))
    assert figures["isotropic"] == pytest.approx(0.10013, abs=1e-5)
    assert figures["abs_cos"] == pytest.approx(figures["isotropic"], rel=0.03)
    assert figures["permuted"] == pytest.approx(figures["isotropic"], rel=0.02)
    assert figures["mean_cos"] < 0.01


def test_alignment_of_nothing():
    figures = alignment(torch.zeros(2, 4), torch.ones(2, 4))
    assert np.isnan(figures["abs_cos"]) and np.isnan(figures["permuted"])
