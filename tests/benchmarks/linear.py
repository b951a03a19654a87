"""LinearCADMR against its floor and against RecBole's EASE: side by side in one run.

    python tests/benchmarks/linear.py [--items 7050] [--users 19445]

On a generated rating matrix of Amazon Baby's size: the exact fit by Cholesky in place beside torch's Cholesky and
RecBole's way of fitting EASE (numpy's inverse); several ridges, each by its own Cholesky factor, beside all of them
from one eigendecomposition; scoring all users from the entries of their rows beside one dense product of the same
shape; scoring a part of them with the weights stored by rows, as they are, beside the same weights by columns, as
torch's LAPACK leaves them; and what the search for settings does at every step: smoothing scores in blocks that fit
the processor's cache beside larger ones, and the hits of lists by rivals beside whole lists.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from recbole_cadmr.data.rows import RatingRows
from recbole_cadmr.layers.linear_autoencoder import exact_autoencoder
from recbole_cadmr.layers.sparse import compressed, padded_rows
from recbole_cadmr.training.held_out import HeldOut


def seconds(call: Callable[[], Any]) -> float:
    """CPU seconds of one call, of all threads: other work on the machine hardly changes them."""
    start = time.process_time()
    call()
    return time.process_time() - start


def generated(n_users: int, n_items: int, per_user: int = 6) -> sp.csr_matrix:
    """Rows of items drawn by a power law of popularity."""
    rng = np.random.default_rng(0)
    chance = 1 / np.arange(10, n_items + 10)
    column = rng.choice(n_items, n_users * per_user, p=chance / chance.sum())
    row = np.repeat(np.arange(n_users), per_user)
    matrix = sp.csr_matrix((np.ones(len(row), dtype=np.float32), (row, column)), shape=(n_users, n_items))
    matrix.data[:] = 1
    return matrix


def by_torch(gram: torch.Tensor, ridge: float) -> torch.Tensor:
    """The inverse of the regularised Gram matrix by torch's LAPACK."""
    gram.diagonal().add_(ridge)
    return torch.cholesky_inverse(torch.linalg.cholesky(gram))


def by_eigendecomposition(gram: torch.Tensor, ridges: Sequence[float]) -> list[torch.Tensor]:
    """The autoencoders of all ridges, ``(G + ridge I)^-1 = V (values + ridge)^-1 V'``."""
    values, V = torch.linalg.eigh(gram)
    fitted = []
    for ridge in ridges:
        P = (V / (values + ridge)) @ V.T
        P /= -P.diagonal().clone()
        fitted.append(P.fill_diagonal_(0))
    return fitted


def print_steps_of_a_search(R: sp.csr_matrix, n_users: int = 2048) -> None:
    """What measuring one setting of the scores of some users takes, with smoothing by 17 neighbours an item."""
    n_items, rng = R.shape[1], np.random.default_rng(1)
    place = np.arange(17 * n_items) // 17, rng.integers(n_items, size=17 * n_items)
    A = sp.csr_matrix((rng.random(17 * n_items, dtype=np.float32), place), shape=(n_items, n_items))
    attention, scores = compressed(A, "cpu"), torch.rand(n_users, n_items)

    def smoothed(users: torch.Tensor) -> torch.Tensor:
        by_item = scores[users].T.contiguous()
        return torch.addmm(by_item, attention, by_item, alpha=0.3).T

    few, many = (
        seconds(lambda size=size: [smoothed(block) for block in torch.arange(n_users).split(size)])
        for size in (128, 2048)
    )
    print(
        f"smoothing of {n_users:,} users: in blocks of 128 {few:.2f} s, of 2,048 {many:.2f} s, ratio {many / few:.1f}"
    )

    column, value = padded_rows(A)

    def smoothed_at(users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        near = scores[users].gather(1, column[items].flatten(1)).view(*items.shape, -1)
        return scores[users].gather(1, items) + 0.3 * (near * value[items]).sum(-1)

    held_out = HeldOut(R[:n_users], generated(n_users, n_items, 1), "Recall@20", 20)
    held_out.measure(smoothed, smoothed_at)  # names the rivals
    whole, rivals = (
        seconds(lambda: held_out.measure(smoothed)),
        seconds(lambda: held_out.measure(smoothed, smoothed_at)),
    )
    print(f"hits of {n_users:,} users: whole lists {whole:.2f} s, by rivals {rivals:.2f} s, ratio {whole / rivals:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=19445)
    parser.add_argument("--items", type=int, default=7050)
    arguments = parser.parse_args()
    R = generated(arguments.users, arguments.items)
    gram = (R.T @ R).toarray()

    ours = seconds(lambda: exact_autoencoder(torch.from_numpy(gram.copy()), 100.0))
    torchs = seconds(lambda: by_torch(torch.from_numpy(gram.copy()), 100.0))
    theirs = seconds(lambda: np.linalg.inv(gram + 100 * np.identity(len(gram), dtype=np.float32)))
    print(
        f"fit of {len(gram):,} items: Cholesky {ours:.1f} s, torch's {torchs:.1f} s, ratio {torchs / ours:.1f}, "
        f"numpy's inverse {theirs:.1f} s, ratio {theirs / ours:.1f}"
    )

    ridges = (30.0, 60.0, 116.0, 230.0, 460.0)
    apart = seconds(lambda: [exact_autoencoder(torch.from_numpy(gram.copy()), ridge) for ridge in ridges])
    shared = seconds(lambda: by_eigendecomposition(torch.from_numpy(gram), ridges))
    print(
        f"{len(ridges)} ridges: Cholesky each {apart:.1f} s, one eigendecomposition {shared:.1f} s, "
        f"ratio {shared / apart:.1f}"
    )

    S, rows = torch.rand(len(gram), len(gram)), RatingRows(R)
    users = torch.arange(R.shape[0]).split(1024)
    sparse = seconds(lambda: [rows.batch(block).matmul(S) for block in users])
    dense = seconds(lambda: [rows.dense(block) @ S for block in users])
    ratio = dense / sparse
    print(f"scores of {R.shape[0]:,} users: entries {sparse:.1f} s, dense product {dense:.1f} s, ratio {ratio:.1f}")

    some = users[:2]
    batches = [rows.batch(block) for block in some]
    csr = [compressed(R[block.numpy()], "cpu") for block in some]

    def both(table: torch.Tensor) -> tuple[float, float]:
        own = seconds(lambda: [batch.matmul(table) for batch in batches])
        return own, seconds(lambda: [block @ table for block in csr])

    both(S)  # warms up
    for name, by_rows, by_columns in zip(("our product", "torch's of CSR"), both(S), both(S.T.contiguous().T)):
        print(
            f"scores of {sum(map(len, some)):,} users by {name}: weights by rows {by_rows:.2f} s, "
            f"by columns {by_columns:.2f} s, ratio {by_columns / by_rows:.1f}"
        )
    print_steps_of_a_search(R)


if __name__ == "__main__":
    main()
