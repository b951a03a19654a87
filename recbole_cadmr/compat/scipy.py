"""What RecBole misses in scipy."""

from __future__ import annotations


def restore_dok_update() -> bool:
    """Give scipy's ``dok_matrix`` back the ``_update`` that LightGCN, NGCF, GCMC, NCL, SpectralCF, KGIN, MCCLK call.

    scipy 1.13 removed it. https://github.com/RUCAIBox/RecBole/issues/2185
    """
    import scipy.sparse

    if hasattr(scipy.sparse.dok_matrix, "_update"):
        return False
    # From {(row, column): value} or pairs of these; like the one removed, it checks nothing.
    scipy.sparse.dok_matrix._update = lambda matrix, data: matrix._dict.update(data)
    return True
