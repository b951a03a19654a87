"""Held-out items measured with rivals are those measured by whole lists."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_cadmr.training.held_out import HeldOut
from tests.oracles.ranking import ranking_metrics

N_USERS, N_ITEMS = 400, 90


def parts(seed: int, per_user: int):
    """Training rows and held-out items, of some users more than rivals decide."""
    rng = np.random.default_rng(seed)
    R = (rng.random((N_USERS, N_ITEMS)) < 0.1).astype(np.float32)
    V = (rng.random((N_USERS, N_ITEMS)) < per_user / N_ITEMS).astype(np.float32)
    return sp.csr_matrix(R), sp.csr_matrix(V)


def walk(seed: int, ties: bool):
    """Scores that change step by step, negative ones among them, with ties or without."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(N_USERS, N_ITEMS))
    for _ in range(6):
        scores = scores + 0.2 * rng.normal(size=scores.shape)
        yield torch.from_numpy(np.round(scores, 1) if ties else scores).float()


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("per_user", [1, 3, 12])
def test_rivals_change_no_measure(ties, per_user):
    R, V = parts(per_user, per_user)
    whole, by_rivals = (HeldOut(R, V, "Recall@5", 5) for _ in range(2))
    ranked = []
    for scores in walk(per_user, ties):
        scores = scores[whole.users]

        def scores_of(users, scores=scores):
            ranked[-1] += len(users)
            return scores[users]

        ranked.append(0)
        measured = by_rivals.measure(scores_of, lambda users, items, scores=scores: scores[users].gather(1, items))
        assert (measured == whole.measure(lambda users, scores=scores: scores[users])).all()
        items = {user: set(V[user].indices) for user in whole.users}
        seen = {user: set(R[user].indices) - items[user] for user in whole.users}
        if not ties:
            expected = ranking_metrics(dict(zip(whole.users, scores.numpy())), seen, items, [5])
            assert measured.mean(0) == pytest.approx([expected["ndcg@5"], expected["recall@5"]], abs=1e-6)
    assert ranked[0] == len(whole.users)
    assert per_user == 12 or max(ranked[1:]) < 0.8 * ranked[0]


@pytest.mark.parametrize("n_items", [5, 8, 12])
def test_lists_may_be_nearly_as_long_as_the_catalogue(n_items):
    R, V = (part[:, :n_items] for part in parts(4, 10))
    held_out = HeldOut(R, V, "Recall@5", 5)
    scores = next(walk(4, ties=False))[held_out.users, :n_items]
    items = {user: set(V[user].indices) for user in held_out.users}
    seen = {user: set(R[user].indices) - items[user] for user in held_out.users}
    expected = ranking_metrics(dict(zip(held_out.users, scores.numpy())), seen, items, [5])
    # Stored by items, as scores that were smoothed are.
    for kept in (scores, scores.T.contiguous().T):
        measured = held_out.measure(lambda users, kept=kept: kept[users])
        assert measured.mean(0) == pytest.approx([expected["ndcg@5"], expected["recall@5"]], abs=1e-6)


def test_rivals_of_one_ranking_do_not_hide_a_hit_of_the_next():
    R, V = sp.csr_matrix((1, 8), dtype=np.float32), sp.csr_matrix(np.eye(1, 8, 7, dtype=np.float32))
    held_out = HeldOut(R, V, "Recall@2", 2)
    for scores, recall in ((torch.arange(8, 0, -1.0)[None], 0.0), (torch.arange(8.0)[None], 1.0)):
        measured = held_out.measure(
            lambda users, scores=scores: scores[users],
            lambda users, items, scores=scores: scores[users].gather(1, items),
        )
        assert measured[0, 1] == recall


def test_items_left_out_are_no_rivals():
    """Three of four items are seen: the held-out one is first, however low its score."""
    R, V = sp.csr_matrix([[1.0, 1, 1, 0, 0]]), sp.csr_matrix([[0.0, 0, 0, 1, 0]])
    held_out = HeldOut(R, V, "Recall@1", 1)
    for last, recall in ((0.5, 0.0), (-0.5, 1.0), (0.5, 0.0), (-0.5, 1.0)):
        scores = torch.tensor([[3.0, 2, 1, 0, last]])
        measured = held_out.measure(
            lambda users, scores=scores: scores[users],
            lambda users, items, scores=scores: scores[users].gather(1, items),
        )
        assert measured[0, 1] == recall


def test_a_measurement_ends_after_a_sample_of_the_users():
    R, V = parts(4, 3)
    R, V = sp.vstack([R] * 3, "csr"), sp.vstack([V] * 3, "csr")
    held_out, looks = HeldOut(R, V, "Recall@5", 5), []
    scores = torch.rand(N_USERS * 3, N_ITEMS)[torch.from_numpy(held_out.users)]
    whole = held_out.measure(lambda users: scores[users].clone())

    def after_two(metrics):
        looks.append(len(metrics))
        return len(looks) == 2

    first = held_out.measure(lambda users: scores[users].clone(), is_hopeless=after_two)
    n = len(held_out.users)
    assert looks == [-(-n // 4), -(-n // 2)] and len(whole) == n  # an eighth is too few
    assert (first == whole[: looks[1]]).all()
    assert 0.4 < np.median(held_out.users[: looks[0]]) / len(R.indptr) < 0.6 and len(set(held_out.users)) == n
