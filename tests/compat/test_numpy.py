"""Names that numpy has removed, and inverses that it leaves unwritten."""

from __future__ import annotations

import numpy as np
import pytest

from recbole_cadmr.compat.numpy import restore_numpy_names, verified_inverses


def test_numpy_has_the_float_that_recbole_expects(monkeypatch):
    monkeypatch.delattr(np, "float", raising=False)
    assert restore_numpy_names()
    assert vars(np)["float"] is np.float64
    assert not restore_numpy_names()


def test_right_inverses_pass():
    rng = np.random.default_rng(0)
    matrices = [rng.normal(size=(50, 50)), np.diag(10.0 ** np.arange(-9, 9)), rng.normal(size=(8, 8)).astype("f4")]
    before = np.linalg.inv
    with verified_inverses():
        for matrix in matrices:
            assert np.array_equal(np.linalg.inv(matrix), before(matrix))
        with pytest.raises(np.linalg.LinAlgError):
            np.linalg.inv(np.zeros((3, 3)))
    assert np.linalg.inv is before


def test_an_inverse_that_was_left_unwritten_is_no_inverse(monkeypatch):
    monkeypatch.setattr(np.linalg, "inv", lambda a: np.zeros_like(a))
    with verified_inverses(), pytest.raises(MemoryError, match="no memory to invert a matrix of 3 rows"):
        np.linalg.inv(np.eye(3))
