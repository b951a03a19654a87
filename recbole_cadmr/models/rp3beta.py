"""RP3beta: random walks of three steps between users and items, popular items weighed down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from recbole_cadmr.errors import ModelError
from recbole_cadmr.models.item_weights import Given, ItemWeightsRecommender

_BLOCK = 1024  # items whose neighbours are found at once


class RP3beta(ItemWeightsRecommender):
    """Paudel, Christoffel, Newell and Bernstein, *Updatable, Accurate, Diverse, and Scalable Recommendations for
    Interactive Applications*, ACM TiiS 2017; exact and pruned, as by Ferrari Dacrema, Cremonesi and Jannach, *Are We
    Really Making Much Progress?*, RecSys 2019.

    ``W_ij = (P_iu^alpha P_ui^alpha)_ij / d_j^beta`` with zero diagonal, where P_iu and P_ui are the transition
    probabilities from items to users and back, powers of them are entry by entry, and d_j is the number of users of
    item j. Each row keeps its ``neighbours`` largest entries, is made to add up to 1 (``normalise``), and then each
    column keeps as many. It reads interactions alone. Settings are declared in ``properties/model/RP3beta.yaml``.
    """

    traits = replace(ItemWeightsRecommender.traits, multimodal=False, scores_cold_items=False, takes_new_items=False)

    @staticmethod
    def item_weights(given: Given) -> sp.csr_matrix:
        """W, float32 [I, I], sparse.

        Raises:
            ModelError: if ``alpha`` or ``beta`` leaves weights too small for float32.
        """
        alpha, beta, k = (given.settings[name] for name in ("alpha", "beta", "neighbours"))
        of_users, of_items = (np.maximum(np.asarray(given.R.sum(axis), np.float64).ravel(), 1) for axis in (1, 0))
        P_ui = (sp.diags(of_users**-alpha) @ given.R).tocsr()  # [U, I]
        P_iu = (sp.diags(of_items**-alpha) @ given.R.T).tocsr()  # [I, U]
        damping = of_items**-beta
        # No weight is smaller than this product; what is rounded to 0 would be no neighbour any more.
        if not of_users.max() ** -alpha * of_items.max() ** -alpha * damping.min() > np.finfo(np.float32).tiny:
            raise ModelError(f"alpha {alpha:g} and beta {beta:g} leave weights too small to compute with; lower them")
        blocks = []
        for start in range(0, len(of_items), _BLOCK):
            block = (P_iu[start : start + _BLOCK] @ P_ui @ sp.diags(damping)).tocoo()
            others = block.row + start != block.col
            entries = block.data[others], (block.row[others], block.col[others])
            blocks.append(largest_of_rows(sp.csr_matrix(entries, shape=block.shape), k))
        W = sp.vstack(blocks, format="csr")
        if given.settings["normalise"]:
            total = np.asarray(W.sum(1)).ravel()
            W = sp.diags(1 / np.where(total > 0, total, 1)) @ W
        return largest_of_rows(W.T.tocsr(), k).T.tocsr().astype(np.float32)


def largest_of_rows(matrix: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """The matrix with the ``k`` largest entries of each row alone; of equal ones those of lower columns."""
    matrix = matrix.sorted_indices()
    length, kept = np.diff(matrix.indptr), np.ones(matrix.nnz, dtype=bool)
    for row in np.flatnonzero(length > k):
        at = slice(matrix.indptr[row], matrix.indptr[row + 1])
        entries = matrix.data[at]
        least = np.partition(entries, -k)[-k]
        larger = entries > least
        kept[at] = larger
        kept[at][np.flatnonzero(entries == least)[: k - larger.sum()]] = True
    indptr = np.append(0, np.minimum(length, k).cumsum())
    return sp.csr_matrix((matrix.data[kept], matrix.indices[kept], indptr), shape=matrix.shape)
