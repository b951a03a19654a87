"""What RecBole calls of ``dok_matrix``."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from recbole_cadmr.compat.scipy import restore_dok_update


@pytest.mark.parametrize("as_pairs", [False, True])
def test_dok_update_sets_the_entries(monkeypatch, as_pairs):
    monkeypatch.delattr(scipy.sparse.dok_matrix, "_update", raising=False)
    assert restore_dok_update()
    entries = {(0, 1): 2.0, (1, 2): 3.0}
    matrix = scipy.sparse.dok_matrix((2, 3), dtype=np.float32)
    matrix[1, 2] = 7.0
    matrix._update(entries.items() if as_pairs else entries)
    np.testing.assert_array_equal(matrix.tocsr().toarray(), [[0, 2, 0], [0, 0, 3]])


def test_dok_update_of_scipy_is_left_alone(monkeypatch):
    own = object()
    monkeypatch.setattr(scipy.sparse.dok_matrix, "_update", own, raising=False)
    assert not restore_dok_update()
    assert scipy.sparse.dok_matrix._update is own
