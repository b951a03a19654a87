"""Linear item-item autoencoders with a zero diagonal, fitted in closed form (EASE, Steck 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from recbole_cadmr.errors import ModelError
from recbole_cadmr.layers.sparse import compressed, product

_STEPS = 400  # of conjugate gradients, beyond which all columns are the quicker way
_SOLVED = 1e-10  # length of a residual of unit vectors
_BLOCK = 256  # rows mirrored at once


@dataclass(frozen=True)
class FitRows:
    """What an autoencoder is fitted to.

    Attributes:
        X: rows [U, I], sparse.
        F: [I, d], the transpose of further rows.
        scale: [I], by which the columns of both were multiplied; B is that of the rows before.
        reg_weight: the ridge.
        Y: [U, I], X times the place of each entry in the order of its row, times what the order counts for; None if
            that is nothing. Then the Gram matrix on the right of a regression has ``K = X'Y - Y'X`` beside it: what
            came earlier in a row says more of what came later than the other way round, by the steps between.
    """

    X: sp.csr_matrix
    F: np.ndarray
    scale: np.ndarray
    reg_weight: float
    Y: sp.csr_matrix | None = None

    def skew(self) -> sp.csr_matrix | None:
        """K [I, I]."""
        if self.Y is None:
            return None
        K = self.X.T @ self.Y
        return (K - K.T).tocsr()


def exact_autoencoder(
    gram: Tensor, reg_weight: float, name: str = "reg_weight", skew: sp.csr_matrix | None = None
) -> Tensor:
    """The B [I, I] with zero diagonal that minimises ``|X - X B|^2 + reg_weight |B|^2``.

    ``P = (X'X + reg_weight I)^-1``, ``B_ij = -P_ij / P_jj`` (EASE, equation 8), by Cholesky and in place: ``gram``
    = X'X [I, I] is overwritten; on a CPU nothing else of its size is held, on a GPU one matrix.

    With a skew-symmetric K [I, I] (:class:`FitRows`) it is ``P (X'X + K)`` but for the multiple of each column of P
    that makes the diagonal zero: ``B_ij = (P K)_ij - P_ij (1 + (P K)_jj) / P_jj``; one more matrix of its size is held.

    Args:
        name: what ``reg_weight`` is called in the settings.
        skew: K.

    Raises:
        ModelError: if the regularised Gram matrix is singular in its precision.
    """
    P = _inverse(gram, reg_weight, singular(reg_weight, name))
    if skew is None:
        P /= -P.diagonal().clone()
        return P.fill_diagonal_(0)
    transposed = product(compressed(skew, P.device, skew.dtype), P)  # -(P K)', as P is symmetric
    P *= (transposed.diagonal() - 1) / P.diagonal()
    P -= transposed.mT
    return P.fill_diagonal_(0)


@dataclass(frozen=True)
class SolvedAutoencoder:
    """:func:`exact_autoencoder` of some rows, of which no more is computed than the columns that are asked for."""

    given: FitRows

    def entries(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray | None:
        """B at these rows [n] and distinct columns [m]: float64 [n, m]; None if there are too many steps to it.

        The columns of ``(X'X + F F' + reg_weight I)^-1`` and, with an order, of that times K are found by conjugate
        gradients, preconditioned by the diagonal.
        """
        X, place, scale = self.given.X.astype(np.float64), np.arange(len(columns)), self.given.scale
        unit = np.zeros((X.shape[1], len(columns)))
        unit[columns, place] = 1.0
        wanted = [unit]
        if self.given.Y is not None:
            Y = self.given.Y.astype(np.float64)
            wanted.append(X.T @ (Y @ unit) - Y.T @ (X @ unit))
        if (found := self._solved(X, np.hstack(wanted))) is None:
            return None
        P, *ordered = np.split(found, len(wanted), axis=1)
        B = -P[rows] / P[columns, place]
        for PK in ordered:
            B = B * (1 + PK[columns, place]) + PK[rows]
        return scale[rows, None] * np.where(rows[:, None] == columns, 0.0, B) / scale[columns]

    def _solved(self, X: sp.csr_matrix, wanted: np.ndarray) -> np.ndarray | None:
        """What the regularised Gram matrix is to be multiplied by to give columns [I, m]; None after too many steps."""
        F, ridge = self.given.F.astype(np.float64), self.given.reg_weight
        diagonal = np.asarray(X.multiply(X).sum(0)).reshape(-1, 1) + (F**2).sum(1, keepdims=True) + ridge
        length = np.linalg.norm(wanted, axis=0)
        residual, least = wanted.copy(), _SOLVED * np.maximum(length, 1.0)
        solution, direction, size = np.zeros_like(wanted), np.zeros_like(wanted), np.ones(wanted.shape[1])
        for _ in range(_STEPS):
            if (np.linalg.norm(residual, axis=0) < least).all():
                return solution
            preconditioned = residual / diagonal
            before, size = size, (residual * preconditioned).sum(0)
            direction = preconditioned + np.divide(size, before, out=np.zeros_like(size), where=before > 0) * direction
            image = X.T @ (X @ direction) + F @ (F.T @ direction) + ridge * direction
            # A column that is solved stands still.
            step = size / np.maximum((direction * image).sum(0), np.finfo(float).tiny)
            solution += step * direction
            residual -= step * image
        return None


def guided_autoencoder(gram: Tensor, A: Tensor, reg_weight: float, guide_weight: float) -> Tensor:
    """The B [I, I] with zero diagonal that minimises ``|X - X B|^2 + reg_weight |B|^2 + guide_weight |B - A|^2``.

    With ``P = (X'X + (reg_weight + guide_weight) I)^-1`` and ``Q = guide_weight P A``, off the diagonal
    ``B_ij = Q_ij - P_ij (1 + Q_jj) / P_jj``. ``gram`` = X'X [I, I] is overwritten.

    Raises:
        ModelError: if the regularised Gram matrix is singular in its precision.
    """
    largest = max((reg_weight, "reg_weight"), (guide_weight, "content_weight"))
    too_large = largest[0] > np.finfo(np.float32).max
    P = _inverse(gram, reg_weight + guide_weight, singular(*largest) if too_large else singular(reg_weight))
    B = (P @ A).mul_(guide_weight)
    P *= (1 + B.diagonal()) / P.diagonal()
    B -= P
    return B.fill_diagonal_(0)


def _inverse(gram: Tensor, ridge: float, error: ModelError) -> Tensor:
    """``(gram + ridge I)^-1``, in place of ``gram``."""
    gram.diagonal().add_(ridge)
    if gram.is_cuda:
        P = gram.mT if gram.is_contiguous() else gram  # stored by columns, it is overwritten; else copied twice
        info: Tensor | int = torch.zeros((), dtype=torch.int32, device=P.device)
        torch.linalg.cholesky_ex(P, out=(P, info))
        if not info:
            torch.cholesky_inverse(P, out=P)
    else:
        P, info = _by_lapack(gram)
    # A pivot that is all rounding passes the factorisation, but not its inverse.
    if info or not torch.isfinite(P.diagonal()).all() or P.diagonal().min() <= 0:
        raise error
    # Symmetric; torch leaves it by columns, and sparse rows times that take many times as long.
    return P if P.is_contiguous() else P.mT


def _by_lapack(matrix: Tensor) -> tuple[Tensor, int]:
    """The inverse of a symmetric matrix, stored by rows, and other than 0 if the matrix is not positive definite.

    By scipy's LAPACK, in place: torch's holds two more matrices, and its MKL is slow on other processors than Intel's.
    """
    by_columns = (matrix.mT if matrix.is_contiguous() else matrix).numpy()
    import scipy.linalg  # whoever asks a fitted model need not wait for it

    factorise, invert = scipy.linalg.get_lapack_funcs(("potrf", "potri"), [by_columns])
    with threadpool_limits(torch.get_num_threads(), "blas"):
        upper, info = factorise(by_columns, lower=False, clean=False, overwrite_a=True)
        if not info:
            upper, info = invert(upper, lower=False, overwrite_c=True)
    P = torch.from_numpy(upper.T)  # of which the lower triangle was computed
    for at in range(0, len(P), _BLOCK):
        block, behind = slice(at, at + _BLOCK), slice(at + _BLOCK, None)
        P[block, behind] = P[behind, block].T
        P[block, block] = P[block, block].tril() + P[block, block].tril(-1).T
    return P, int(info)


def singular(reg_weight: float, name: str = "reg_weight") -> ModelError:
    """What to raise where the ridge is too small for the regularised Gram matrix to be inverted, or beyond a float."""
    if reg_weight > np.finfo(np.float32).max:
        return ModelError(f"{name} {reg_weight:g} is too large to compute with; lower it")
    return ModelError(f"the Gram matrix is singular at {name} {reg_weight:g}; raise it")
