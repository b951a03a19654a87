"""What an evaluation collects is what RecBole's own collector does, bit for bit."""

from __future__ import annotations

import pytest
import torch
from recbole.evaluator.collector import Collector
from recbole.evaluator.evaluator import Evaluator

from recbole_cadmr.config.config import Config
from recbole_cadmr.training import collector
from recbole_cadmr.training.collector import RankingCollector
from tests.micro import open_micro, write_micro

N_USERS, N_ITEMS = 70, 90
LISTS = ["Recall", "NDCG", "MRR", "MAP", "Hit", "Precision"]
CATALOGUE = ["ItemCoverage", "GiniIndex", "ShannonEntropy", "AveragePopularity", "TailPercentage"]


class TrainData:
    """What RecBole's ``data_collect`` asks a training loader for."""

    dataset: TrainData

    def __init__(self):
        self.dataset = self
        self.item_counter = {item: item % 7 for item in range(1, N_ITEMS)}

    def num(self, field):
        return N_ITEMS


def scores_of(kind, generator):
    scores = torch.randn(N_USERS, N_ITEMS, generator=generator)
    if kind == "ties":
        scores = (scores * 2).round()
    elif kind == "constant":
        scores = torch.zeros(N_USERS, N_ITEMS)
    elif kind == "masked":  # fewer items left than the list is long
        scores[torch.rand(scores.shape, generator=generator) < 0.9] = -torch.inf
    elif kind == "not a number":
        scores[torch.rand(scores.shape, generator=generator) < 0.05] = torch.nan
    scores[:, 0] = -torch.inf
    return scores


def batches_of(kind):
    """Three batches; users 0 and 1 of each have no held-out item, and pairs come in any order, some twice."""
    generator = torch.Generator().manual_seed(len(kind))
    for _ in range(3):
        row, item = (torch.rand(N_USERS - 2, N_ITEMS, generator=generator) < 0.05).nonzero(as_tuple=True)
        order = torch.randperm(len(row), generator=generator)
        order = torch.cat([order, order[:5]])
        row, item = row[order] + 2, item[order]
        yield scores_of(kind, generator), None, row[item > 0], item[item > 0]
    yield scores_of(kind, generator), None, torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long)


@pytest.mark.parametrize("metrics", [LISTS, [*LISTS, *CATALOGUE], ["ItemCoverage"], ["GAUC", "Recall"]])
@pytest.mark.parametrize("topk", [[1, 5], [10], [5, 60]])  # by rank, with as few groups as it takes, by the list
@pytest.mark.parametrize("kind", ["all different", "ties", "constant", "masked", "not a number"])
def test_entries_and_metrics_are_those_of_recbole(kind, topk, metrics, monkeypatch):
    monkeypatch.setattr(collector, "_BLOCK", 7)
    monkeypatch.setattr(collector, "_LEAST_ROWS", 7)
    config = Config("BPR", settings={"topk": topk, "metrics": metrics, "valid_metric": f"{metrics[-1]}@{topk[0]}"})
    ours, theirs = RankingCollector(config), Collector(config)
    for each in (ours, theirs):
        each.data_collect(TrainData())
        for batch in batches_of(kind):
            each.eval_batch_collect(*batch)
    expected, found = theirs.data_struct, ours.get_data_struct()
    assert found._data_dict.keys() == expected._data_dict.keys()
    for name, value in expected._data_dict.items():
        same = torch.equal if isinstance(value, torch.Tensor) else lambda one, other: one == other
        assert same(found.get(name), value), name
    assert Evaluator(config).evaluate(found) == pytest.approx(Evaluator(config).evaluate(expected), rel=0, nan_ok=True)


def test_an_evaluation_leaves_nothing_for_the_next(tmp_path):
    session = open_micro(write_micro(tmp_path), "BPR", metrics=["Recall", "ItemCoverage", "GAUC"])
    first, again = (session.trainer.evaluate(session.test_data, load_best_model=False) for _ in range(2))
    assert isinstance(session.trainer.eval_collector, RankingCollector)
    assert first == again and first["itemcoverage@2"] > 0


@pytest.mark.parametrize("by_items", [False, True])
@pytest.mark.parametrize("step", [0.0, 0.5])  # of the scores; with one, many are equal
def test_hits_of_many_items_are_those_of_whole_lists(step, by_items):
    """So many that there are more groups than two for each place of the list."""
    generator = torch.Generator().manual_seed(0)
    n_users, n_items, k = 40, 20_000, 10
    scores = torch.randn(n_users, n_items, generator=generator)
    row = torch.arange(n_users).repeat_interleave(5)
    item = torch.randint(n_items, row.shape, generator=generator)
    scores[row, item] += 4 * torch.rand(len(row), generator=generator)
    scores = (scores / step).round() * step if step else scores
    scores[:3, 5:] = -torch.inf  # fewer left than the list is long
    held_out = (row * n_items + item).unique()
    expected = collector.hits(scores.topk(k, dim=1).indices, held_out, n_items)
    found = collector.hits_by_rank(scores.T.contiguous().T if by_items else scores, held_out, k)
    assert torch.equal(found, expected) and expected[:, :k].sum() > (0 if step else 20)
