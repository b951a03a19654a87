"""Attention without padding, beside RecBole's layer and the cross-attention with it."""

from __future__ import annotations

import pytest
import torch
from recbole.model.layers import TransformerLayer

from recbole_cadmr.layers.gated_cross_attention import GatedCrossAttention
from recbole_cadmr.layers.packed_attention import Earlier, EncoderLayer, Packed, dropped_out

B, L, WIDTH = 70, 9, 6  # more sequences than a group has
_OF_RECBOLE = {
    "query": "multi_head_attention.query",
    "key": "multi_head_attention.key",
    "value": "multi_head_attention.value",
    "out": "multi_head_attention.dense",
    "norm": "multi_head_attention.LayerNorm",
    "inner": "feed_forward.dense_1",
    "outer": "feed_forward.dense_2",
    "last_norm": "feed_forward.LayerNorm",
}


@pytest.fixture
def kinds() -> torch.Tensor:
    """0 for padding, 1 or 2 for entries, [B, L]; the first sequence has no entry of kind 2, the second none of 1."""
    generator = torch.Generator().manual_seed(0)
    length = torch.randint(1, L + 1, (B, 1), generator=generator)
    kinds = torch.randint(1, 3, (B, L), generator=generator) * (torch.arange(L) < length)
    kinds[:2, :3], kinds[:2, 3:] = torch.tensor([[1], [2]]), 0
    return kinds


def packed(chosen: torch.Tensor) -> Packed:
    row, place = chosen.nonzero().T
    return Packed.of(row, place, len(chosen))


def vectors(seed: int) -> torch.Tensor:
    return torch.randn(B, L, WIDTH, generator=torch.Generator().manual_seed(seed))


def weights_of_recbole(layer: EncoderLayer, heads: int) -> TransformerLayer:
    theirs = TransformerLayer(heads, WIDTH, 4 * WIDTH, 0.0, 0.0, "gelu", 1e-12)
    own = layer.state_dict()
    theirs.load_state_dict({f"{_OF_RECBOLE[n.partition('.')[0]]}.{n.partition('.')[2]}": v for n, v in own.items()})
    return theirs


@pytest.mark.parametrize("heads", [1, 2])
def test_a_layer_is_recboles_without_the_padding(kinds, heads):
    X, of_it = vectors(1), kinds > 0
    layer = EncoderLayer(WIDTH, heads, 4 * WIDTH, 0.0)
    seen = torch.ones(L, L, dtype=torch.bool).tril() & of_it[:, None]
    expected = weights_of_recbole(layer, heads)(X, torch.where(seen, 0.0, -10000.0)[:, None])[of_it]
    entries = packed(of_it)
    own = layer(X[of_it], Earlier(entries, entries))
    torch.testing.assert_close(own, expected, atol=1e-5, rtol=0)
    last = entries.size.cumsum(0) - 1
    torch.testing.assert_close(layer(X[of_it], Earlier(entries.select(last), entries), last), own[last])


def test_cross_attention_is_that_with_padding(kinds):
    torch.manual_seed(0)
    module = GatedCrossAttention(WIDTH, heads=2, gate="none")
    X, Y = vectors(1), vectors(2)
    seen = torch.ones(L, L, dtype=torch.bool).tril() & (kinds == 2)[:, None]
    expected = module(X, Y, seen)[kinds == 1]
    earlier = Earlier(packed(kinds == 1), packed(kinds == 2))
    torch.testing.assert_close(module(X[kinds == 1], Y[kinds == 2], earlier), expected, atol=1e-5, rtol=0)
    assert torch.equal(earlier.some, seen.any(-1)[kinds == 1]) and not earlier.some[:3].any()
    assert torch.equal(expected[~earlier.some], X[kinds == 1][~earlier.some])


def test_nothing_of_a_kind_is_no_error():
    entries = packed(torch.ones(3, 2, dtype=torch.bool))
    none = entries.select(torch.zeros(6, dtype=torch.bool))
    X = torch.ones(6, WIDTH)
    assert EncoderLayer(WIDTH, 1, WIDTH, 0.0)(X[:0], Earlier(none, none)).shape == (0, WIDTH)
    earlier = Earlier(entries, none)
    assert not earlier.some.any()
    assert torch.equal(GatedCrossAttention(WIDTH, gate="none")(X, X[:0], earlier), X)


def test_dropout_drops_its_share_and_keeps_the_mean():
    torch.manual_seed(0)
    X = torch.full((501, 399), 2.0)
    out = dropped_out(X, 0.3)
    assert out.unique().tolist() == [0.0, pytest.approx(2 / 0.7)]
    assert (out == 0).float().mean().item() == pytest.approx(0.3, abs=5 * (0.21 / X.numel()) ** 0.5)
    assert (out == 0).float().mean(0).std().item() == pytest.approx((0.21 / 501) ** 0.5, rel=0.2)  # independent
    assert torch.equal(dropped_out(X, 0.0), X)
    torch.manual_seed(0)
    assert torch.equal(dropped_out(X, 0.3), out)
