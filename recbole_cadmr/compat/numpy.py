"""What RecBole misses in numpy, and an inverse that numpy leaves unwritten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


def restore_numpy_names() -> bool:
    """Give numpy back the names of types that RecBole uses.

    numpy 1.24 removed the first four. RecBole's ``Config`` sets these and others whenever one is made, out of the last
    three, which numpy 2 removed; ours does not. https://github.com/RUCAIBox/RecBole/pull/2203
    """
    names = {
        "float": np.float64, "bool": np.bool_, "long": np.int_, "str": np.str_,
        "float_": np.float64, "complex_": np.complex128, "unicode_": np.str_,
    }  # fmt: skip
    missing = [name for name in names if name not in vars(np)]
    for name in missing:
        setattr(np, name, names[name])
    return bool(missing)


@contextmanager
def verified_inverses() -> Iterator[None]:
    """Let ``numpy.linalg.inv`` raise MemoryError where numpy leaves the inverse unwritten.

    It works in a buffer as large as the matrix; where that cannot be allocated (``ulimit -v``), it reports nothing
    and returns whatever the memory of the result held. EASE, ADMMSLIM and NCEPLRec invert in their constructors.
    https://github.com/numpy/numpy/issues/5898
    """
    from unittest import mock

    original = np.linalg.inv

    def inv(a: Any) -> Any:
        inverse = original(a)
        if np.ndim(a) == 2 and not _is_inverse(np.asarray(a), np.asarray(inverse)):
            raise MemoryError(f"numpy had no memory to invert a matrix of {len(a)} rows")
        return inverse

    with mock.patch.object(np.linalg, "inv", inv):
        yield


def _is_inverse(a: np.ndarray, inverse: np.ndarray) -> bool:
    """Whether ``a`` times ``inverse`` gives a vector back, but for the rounding of any matrix that has an inverse."""
    norm = np.linalg.norm(a)
    if not np.isfinite(norm):
        return True  # what is not finite has none
    x = np.random.RandomState(0).uniform(1, 2, len(a)).astype(inverse.dtype)
    y = inverse @ x
    error = np.linalg.norm(a @ y - x)
    return bool(error <= 1e-4 * (norm * np.linalg.norm(y) + np.linalg.norm(x)))  # never if NaN
