"""The order in which users have chosen: places in their rows, and what comes after them."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from recbole_cadmr.data.order import by_recency, centred, ranked, with_later


def of(*choices):
    users, items, times = map(np.array, zip(*choices))
    return ranked(users, items, times, (4, 5))


def test_places_go_by_time_within_a_user():
    order = of((2, 0, 30.0), (0, 4, 9.0), (2, 3, 10.0), (2, 1, 20.0), (0, 1, 8.0))
    assert order.toarray().tolist() == [[0, 1, 0, 0, 2], [0] * 5, [3, 2, 0, 1, 0], [0] * 5]


def test_the_same_time_is_the_same_place():
    order = of((1, 0, 5.0), (1, 1, 7.0), (1, 2, 7.0), (1, 3, 9.0))
    assert order.toarray()[1].tolist() == [1, 2.5, 2.5, 4, 0]


def test_of_a_repeated_pair_the_earliest_counts():
    assert of((1, 0, 5.0), (1, 1, 6.0), (1, 0, 7.0)).toarray()[1].tolist() == [1, 2, 0, 0, 0]


def test_nothing_has_no_order():
    nothing = np.zeros(0, np.int64)
    assert ranked(nothing, nothing, nothing, (4, 5)).nnz == 0 == centred(ranked(nothing, nothing, nothing, (4, 5))).nnz


def test_what_comes_later_stands_behind_all_together():
    order = of((0, 1, 8.0), (0, 4, 9.0), (2, 0, 1.0))
    later = sp.csr_matrix(([1.0, 1.0, 1.0], ([0, 0, 3], [0, 2, 2])), shape=(4, 5))
    found = with_later(order, later).toarray()
    assert found.tolist() == [[3.5, 1, 3.5, 0, 2], [0] * 5, [1, 0, 0, 0, 0], [0, 0, 1, 0, 0]]


def test_the_ends_of_a_row_are_the_root_of_its_steps_apart():
    order = of((0, 0, 1.0), (0, 1, 2.0), (0, 2, 3.0), (0, 3, 4.0), (0, 4, 5.0), (1, 2, 1.0))
    assert np.allclose(centred(order).toarray(), [[-1, -0.5, 0, 0.5, 1], [0] * 5, [0] * 5, [0] * 5])
    assert centred(order)[1].nnz == 1  # a single one is in the middle


def test_what_is_recent_counts_for_more_and_a_row_for_as_much_as_before():
    order = of((0, 0, 1.0), (0, 1, 2.0), (0, 2, 2.0), (0, 3, 3.0), (1, 2, 1.0))
    assert np.allclose(by_recency(order, 0.0).toarray(), [[1, 1, 1, 1, 0], [0, 0, 1, 0, 0], [0] * 5, [0] * 5])
    raw = np.array([1 / 4, 1 / 2.5, 1 / 2.5, 1])  # three, one or two, none are later
    assert np.allclose(by_recency(order, 1.0).toarray()[0, :4], 4 * raw / raw.sum())
    assert by_recency(order, 1.0)[1, 2] == 1.0
