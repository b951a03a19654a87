"""Users are ranked by the candidates that a model lists as they are by the scores of all items."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_cadmr.errors import ModelError
from recbole_cadmr.recommender.load_checkpoint import parts_of
from recbole_cadmr.recommender.recommender import Recommender
from recbole_cadmr.runs.topk_lists import rank_test
from recbole_cadmr.training import ranking
from recbole_cadmr.training.ranking import ListedScores, best, best_by_id
from tests.micro import open_drawn, write_drawn

N_USERS, N_ITEMS = 40, 60


def listed(scores, stored, left_out):
    """Candidates in any order, of dense scores [B, n_items], the places stored, and the places that are left out."""
    row, item = np.nonzero(stored)
    order = np.lexsort((np.random.default_rng(1).random(len(row)), row))
    start = np.append(0, stored.sum(1).cumsum())
    candidates = sp.csr_matrix((scores[row, item][order], item[order], start), shape=scores.shape)
    everything = torch.from_numpy(np.where(left_out, -np.inf, scores).astype(np.float32))
    known = tuple(map(torch.from_numpy, np.nonzero(left_out)))
    asked = []

    def dense(users):
        asked.append(users.tolist())
        return everything[users]

    return ListedScores.of(candidates, known, dense, 3), asked


@pytest.mark.parametrize("kind", ["all different", "ties", "negative", "zeros of both signs"])
def test_the_best_are_those_of_an_independent_sort(kind, monkeypatch):
    monkeypatch.setattr(ranking, "_BLOCK", 100)
    rng, k = np.random.default_rng(len(kind)), 5
    scores = rng.standard_normal((30, N_ITEMS)).astype(np.float32)
    scores = {"ties": scores.round(), "negative": -np.exp(scores)}.get(kind, scores)
    if kind == "zeros of both signs":
        scores = np.where(rng.random(scores.shape) < 0.5, 0.0, -0.0).astype(np.float32)
    stored, left_out = rng.random((2, *scores.shape)) < np.array([0.5, 0.1])[:, None, None]
    stored[:, 0], left_out[:, 0] = False, True
    stored[3], stored[4] = False, False  # no candidates
    stored[5, 5:], stored[6, 6:] = False, False  # fewer than k, which is what they have left
    found, asked = listed(scores, stored, left_out)
    values, items = best(found, k)
    few = np.flatnonzero((stored & ~left_out).sum(1) < k)
    assert {3, 4, 5} <= set(few) and [user for users in asked for user in users] == list(few)
    assert max(map(len, asked)) <= 3
    for user in range(len(scores)):
        mine = np.where(left_out[user] | (~stored[user] & (user not in few)), -np.inf, scores[user])
        order = np.argsort(-mine, kind="stable")[:k]
        assert np.array_equal(values[user].numpy(), mine[order])
        if user not in few:  # ties of these are torch.topk's
            assert items[user].tolist() == order.tolist()


def test_other_candidates_may_be_all_that_count():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((8, N_ITEMS)).astype(np.float32)
    stored, among = rng.random(scores.shape) < 0.7, np.arange(N_ITEMS) % 3 == 1
    stored[:, 0] = False
    found, _ = listed(scores, stored, np.zeros_like(stored))
    values, items = best(found, 4, torch.from_numpy(among))
    expected = np.argsort(-np.where(stored & among, scores, -np.inf), axis=1)[:, :4]
    assert np.array_equal(items.numpy(), expected)
    assert np.array_equal(values.numpy(), np.take_along_axis(scores, expected, 1))
    _, items = best(torch.from_numpy(scores), 4, torch.from_numpy(among))
    assert np.array_equal(items.numpy(), np.argsort(-np.where(among, scores, -np.inf), axis=1)[:, :4])


@pytest.mark.parametrize("k", [5, N_ITEMS - 1, N_ITEMS])
def test_of_equal_scores_the_lower_id_comes_first_however_they_were_computed(k, monkeypatch):
    monkeypatch.setattr(ranking, "_BLOCK", 2 * N_ITEMS)
    rng = np.random.default_rng(k)
    scores = rng.standard_normal((20, N_ITEMS)).round().astype(np.float32)
    scores[0], scores[1, 7:] = 1.0, 0.0  # one value; a tie that the list ends in
    scores[2] = np.where(rng.random(N_ITEMS) < 0.5, 0.0, -0.0)
    scores[3] = rng.permutation(N_ITEMS)  # no ties
    left_out = rng.random(scores.shape) < 0.1
    left_out[:, 0], left_out[4, 3:] = True, True  # user 4 has two items left at most
    among = torch.from_numpy(rng.random(N_ITEMS) < 0.9)
    everything = np.where(left_out, -np.inf, scores)
    stored = scores > 0.5  # most users have fewer than k
    for some in (None, among):
        mine = everything if some is None else np.where(some, everything, -np.inf)
        order = np.argsort(-mine, kind="stable")[:, :k]
        expected = np.take_along_axis(mine, order, 1)
        for found in (torch.from_numpy(everything), listed(scores, stored, left_out)[0]):
            values, items = best_by_id(found, k, some)
            assert np.array_equal(values.numpy(), expected)
            assert np.array_equal(items.numpy()[expected > -np.inf], order[expected > -np.inf])


class Listing:
    """A model whose dense scores are given, and whose candidates are the items of positive score."""

    def __init__(self, session):
        generator = torch.Generator().manual_seed(3)
        shape = session.dataset.user_num, session.dataset.item_num
        self.scores = torch.randn(shape, generator=generator)
        self.scores[::7] = -self.scores[::7].abs()  # users without candidates
        self.sizes, self.all_items = [], []
        session.model.full_sort_predict = self.full_sort_predict
        self.field = session.dataset.uid_field

    def full_sort_predict(self, interaction):
        self.all_items.append(len(interaction))
        return self.scores[interaction[self.field]]

    def listed_scores(self, interaction):
        self.sizes.append(len(interaction))
        scores = self.scores[interaction[self.field]].clone()
        scores[:, 0] = 0
        return sp.csr_matrix(scores.clamp(min=0).numpy())


@pytest.fixture
def session(tmp_path):
    rng = np.random.default_rng(0)
    rows = [f"u{user} i{item}" for user, item in zip(*np.nonzero(rng.random((N_USERS, N_ITEMS)) < 0.3))]
    write_drawn(tmp_path, rows)
    settings = {"topk": [3, 10], "valid_metric": "Recall@10", "metrics": ["Recall", "NDCG", "ItemCoverage"]}
    return open_drawn(tmp_path, **settings, eval_batch_size=4 * (N_ITEMS + 1))


def test_metrics_lists_and_recommendations_are_those_of_all_scores(session):
    recommender = Recommender(parts_of(session))
    model, results = Listing(session), []
    model.scores.requires_grad_()  # as those of parameters
    for hook in (lambda interaction: None, model.listed_scores):
        session.trainer.hooks.listed_scores = hook
        metrics, lists = rank_test(session, 10)
        assert metrics == session.trainer.evaluate(session.test_data, load_best_model=False)
        results.append((metrics, dataclasses.asdict(lists), recommender.recommend(topk=8, leave_out="train+valid")))
        if not model.sizes:
            assert set(model.all_items) <= {4, 1, 2, 3}
            model.all_items.clear()
    (metrics, lists, frame), (again, lists_again, frame_again) = results
    assert metrics == again and metrics["recall@10"] > 0
    assert all(np.array_equal(lists[name], lists_again[name]) for name in lists)
    assert frame.equals(frame_again) and len(frame) == 8 * N_USERS
    assert model.all_items and max(model.all_items) <= 4  # of users without candidates alone, and few at once
    assert sum(model.all_items) < sum(model.sizes) / 2


def test_users_at_once_follow_the_candidates_and_every_user_comes_once(session):
    model = Listing(session)
    session.trainer.hooks.listed_scores = model.listed_scores
    model.scores[:, 3:] = -1.0  # two candidates a user at most
    model.scores[:, 1:3] = 1.0
    session.trainer.evaluate(session.test_data, load_best_model=False)
    assert model.sizes[:3] == [4, 8, 16] and sum(model.sizes) == len(session.test_data.uid_list)
    model.sizes.clear()
    model.scores[:, :] = 1.0  # all items: as many users as by scores, not half as many
    session.trainer.evaluate(session.test_data, load_best_model=False)
    assert model.sizes[1:-1] == [4] * (len(model.sizes) - 2)


def test_a_metric_of_all_scores_asks_for_them(tmp_path):
    write_drawn(tmp_path, [f"u{user} i{item}" for user in range(9) for item in range(user, user + 9)])
    session = open_drawn(tmp_path, "BPR", metrics=["GAUC", "Recall"])
    model = Listing(session)
    session.trainer.hooks.listed_scores = model.listed_scores
    session.trainer.evaluate(session.test_data, load_best_model=False)
    assert not model.sizes and model.all_items


def test_candidates_that_are_no_numbers_are_refused(session):
    model = Listing(session)
    model.scores[:, 5] = torch.nan
    session.trainer.hooks.listed_scores = lambda interaction: sp.csr_matrix(model.full_sort_predict(interaction))
    with pytest.raises(ModelError, match="NaN or infinite"):
        session.trainer.evaluate(session.test_data, load_best_model=False)
