"""The second computation of the metrics, checked by hand and against RecBole's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from recbole.evaluator.metrics import MAP, MRR, NDCG, Hit, Precision, Recall

from tests.oracles.ranking import ranking_metrics


def test_one_user_by_hand():
    scores = np.array([[9.0, 5.0, 4.0, 3.0, 2.0, 1.0]])
    # Item 0 is masked, so that the ranking is 1, 2, 3, 4, 5: hits at places 2 and 4 of 3 wanted.
    result = ranking_metrics(scores, {0: [0]}, {0: [2, 4, 0]}, [4])
    ndcg = (1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3) + 1 / math.log2(4))
    expected = {"recall": 2 / 3, "ndcg": ndcg, "hit": 1, "precision": 2 / 4, "mrr": 1 / 2, "map": (1 / 2 + 2 / 4) / 3}
    assert result == pytest.approx({f"{name}@4": value for name, value in expected.items()})


def test_users_without_held_out_items_do_not_count():
    scores = np.array([[2.0, 1.0], [1.0, 2.0]])
    assert ranking_metrics(scores, {}, {0: [0], 1: []}, [1])["recall@1"] == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_recbole(seed):
    rng = np.random.default_rng(seed)
    topk, n_users, n_items = [1, 3, 10], 40, 25
    scores = rng.standard_normal((n_users, n_items))
    held_out = {user: rng.choice(n_items, rng.integers(1, 15), replace=False).tolist() for user in range(n_users)}
    top = np.argsort(-scores, axis=1)[:, : max(topk)]
    hits = np.array([[item in held_out[user] for item in top[user]] for user in range(n_users)])
    lengths = np.array([[len(held_out[user])] for user in range(n_users)])
    seen = {"rec.topk": torch.from_numpy(np.concatenate([hits, lengths], axis=1).astype(int))}
    for name in ("bool", "float"):  # as RecBole's Config does
        setattr(np, name, getattr(np, f"{name}_"))
    config = {"topk": topk, "metric_decimal_place": 16}
    expected = {}
    for metric in (Recall, NDCG, Hit, Precision, MRR, MAP):
        expected |= metric(config).calculate_metric(seen)
    assert ranking_metrics(scores, {}, held_out, topk) == pytest.approx(expected, abs=1e-12)
