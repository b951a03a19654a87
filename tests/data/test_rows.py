"""Pairs of entries within rows, and random parts of rows."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_cadmr.data.rows import RatingRows, cap_row_lengths, hold_out, hold_out_later, row_pairs


def test_pairs_lie_in_one_row():
    row, other = torch.tensor([0, 0, 2, 3]), torch.tensor([0, 1, 2, 2, 3])
    one, two = row_pairs(row, other, 4)
    assert list(zip(one.tolist(), two.tolist())) == [(0, 0), (1, 0), (2, 2), (2, 3), (3, 4)]
    none, _ = row_pairs(torch.tensor([0]), torch.tensor([1]), 2)
    assert not len(none)


def test_every_row_keeps_an_entry_and_gives_one():
    torch.manual_seed(0)
    row = torch.repeat_interleave(torch.arange(400), torch.tensor([0, 1, 2, 7]).repeat(100))
    size = torch.bincount(row, minlength=400)
    for share in (0.01, 0.5, 0.99):
        held = torch.bincount(row[hold_out(row, 400, share)], minlength=400)
        assert torch.equal(held[size == 1], torch.zeros(100, dtype=torch.long))  # the one entry is kept
        assert torch.equal(held[size == 2], torch.ones(100, dtype=torch.long))
        of_seven = held[size == 7]
        assert of_seven.min() >= 1 and of_seven.max() <= 6
        mean = float(of_seven.double().mean())
        # 7 draws of `share`, moved by one where all or none of them were held out
        expected = 7 * share + (1 - share) ** 7 - share**7
        assert abs(mean - expected) < 4 * (7 * share * (1 - share) / 100) ** 0.5 + 1e-9


def test_all_entries_of_a_row_are_as_likely():
    torch.manual_seed(0)
    row = torch.repeat_interleave(torch.arange(20000), 3)
    held = hold_out(row, 20000, 0.5).view(-1, 3).double().mean(0)
    assert (held - 0.5).abs().max() < 0.015


def test_long_rows_are_cut_to_a_random_part():
    torch.manual_seed(0)
    row = torch.repeat_interleave(torch.arange(3), torch.tensor([2, 9, 4]))
    drawn = torch.stack([cap_row_lengths(row, 3, 4) for _ in range(2000)])
    assert all(torch.equal(torch.bincount(row[kept]), torch.tensor([2, 4, 4])) for kept in drawn)
    share = drawn.double().mean(0)
    assert torch.equal(share[row != 1], torch.ones(6).double())
    assert (share[row == 1] - 4 / 9).abs().max() < 0.05
    assert cap_row_lengths(row, 3, 9).all()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_what_comes_after_an_entry_of_a_row_is_held_out_with_it(share):
    torch.manual_seed(0)
    row, place = torch.repeat_interleave(torch.arange(4000), 5), torch.tensor([3.0, 1.0, 5.0, 2.0, 4.0]).repeat(4000)
    held = hold_out_later(row, place, 4000, share).view(-1, 5)[:, [1, 3, 0, 4, 2]]  # in the order of places
    assert not held[:, 0].any() and held[:, 4].all()
    assert (held[:, 1:] >= held[:, :-1]).all()  # nothing is kept behind what is held out
    # The last place kept is 1 + 4 u^(share / (1 - share)) rounded down.
    u = np.random.default_rng(1).random(400_000)
    expected = [(1 + 4 * u ** (share / (1 - share)) < at).mean() for at in (2, 3, 4)]
    assert np.allclose(held[:, 1:4].double().mean(0), expected, atol=0.03)


def test_rows_without_an_order_are_parted_at_random():
    torch.manual_seed(0)
    row, place = torch.repeat_interleave(torch.arange(4000), 3), torch.full((12000,), 2.0)
    held = hold_out_later(row, place, 4000, 0.5).view(-1, 3)
    assert (held.double().mean(0) - 0.5).abs().max() < 0.03
    assert held.any(1).all() and not held.all(1).any()
    assert not hold_out_later(torch.tensor([0, 2]), torch.ones(2), 3, 0.5).any()  # single entries stay


def test_entries_count_for_what_they_are_where_they_are_counts():
    matrix = sp.csr_matrix(([0.5, 2.0, 3.0], ([0, 2, 2], [3, 1, 0])), shape=(3, 4))
    batch = RatingRows(matrix, are_counts=True).batch(torch.tensor([2, 1, 0]))
    assert batch.dense.tolist() == [[3.0, 2.0, 0, 0], [0] * 4, [0, 0, 0, 0.5]]
    assert RatingRows(matrix).batch(torch.tensor([2])).dense.tolist() == [[1.0, 1.0, 0, 0]]
