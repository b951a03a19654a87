"""What the weights of a closed form that is pruned are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from recbole_cadmr.layers.content_paths import AUTOENCODER
from recbole_cadmr.layers.score_paths import ScorePath


@dataclass(frozen=True)
class PathWeights:
    """The terms of the entries of a sparse matrix S [I, I], at the same places.

    Attributes:
        indptr, indices: the places, as of S.
        terms: float32 or float16 [nnz] by path and modality, in the order in which they are shown; the autoencoder's
            own term is not among them, it is what is left of S.
        weights: float32 [nnz], S.
    """

    indptr: np.ndarray
    indices: np.ndarray
    terms: dict[tuple[str, str], np.ndarray]
    weights: np.ndarray

    @cached_property
    def autoencoder(self) -> sp.csr_matrix:
        """The autoencoder's term of the entries of S."""
        rest = self.weights.astype(np.float32)
        for term in self.terms.values():
            rest = rest - term
        n_items = len(self.indptr) - 1
        return sp.csr_matrix((rest, self.indices, self.indptr), (n_items, n_items))

    def of(self, chosen: np.ndarray, item: int, weights: np.ndarray) -> list[ScorePath]:
        """What each path adds to the score of an item in a row of the items ``chosen`` [n].

        Args:
            weights: float64 [n], of the item for each of them, which the paths add up to.
        """
        places = np.array([self._place(row, item) for row in chosen])
        is_there = places >= 0
        paths = []
        for (path, modality), term in self.terms.items():
            contributions = np.where(is_there, term[np.maximum(places, 0)].astype(np.float64), 0.0)
            paths.append(ScorePath(path, modality, contributions))
        rest = weights - sum((path.contributions for path in paths), np.zeros(len(chosen)))
        return [ScorePath(AUTOENCODER, "", rest), *paths]

    def _place(self, row: int, column: int) -> int:
        """Where an entry is stored; -1 if it is not."""
        start, end = self.indptr[row], self.indptr[row + 1]
        found = np.flatnonzero(self.indices[start:end] == column)
        return int(start + found[0]) if len(found) else -1
