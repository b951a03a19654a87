"""Figures out of recommendation lists, against counts by hand and against RecBole's evaluation of the same run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.metrics import GiniIndex, ItemCoverage

import recbole_cadmr
from recbole_cadmr.errors import UserError
from recbole_cadmr.reports.measure import by_stratum, diversity, strata
from recbole_cadmr.runs.topk_lists import LISTS, TopKLists, by_user, read_lists, write_lists


def lists(**changes):
    """Two users, items 1 to 5 with 0, 1, 6, 7 and 9 train interactions; item 1 is cold, item 3 lacks a modality."""
    arrays = {
        "users": [4, 9],
        "top": [[2, 3, 1], [5, 2, 4]],
        "top_cold": [[1], [1]],
        "held_row": [0, 0, 1],
        "held_item": [1, 2, 4],
        "user_degree": [3, 8],
        "item_degree": [0, 0, 1, 6, 7, 9],
        **changes,
    }
    missing = np.array([False, False, False, True, False, False])
    return TopKLists(**{name: np.array(value, dtype=np.int32) for name, value in arrays.items()}, missing=missing)


def test_metrics_by_user():
    figures = by_user(lists(), [1, 3], ["Recall", "NDCG", "Hit", "Precision", "MRR", "MAP"])
    second, third = 1 / np.log2(3), 1 / np.log2(4)
    assert figures["recall@1"].tolist() == [0.5, 0.0] and figures["recall@3"].tolist() == [1.0, 1.0]
    assert figures["hit@1"].tolist() == [1.0, 0.0] and figures["precision@3"].tolist() == [2 / 3, 1 / 3]
    assert figures["mrr@3"].tolist() == [1.0, 1 / 3]
    assert figures["ndcg@3"] == pytest.approx([(1 + third) / (1 + second), third])
    assert figures["map@3"] == pytest.approx([(1 + 2 / 3) / 2, 1 / 3])


def test_strata_restrict_what_is_to_be_found_and_not_the_candidates():
    found = by_stratum(lists(), [1, 3], ["Recall"])
    assert found["cold items (no train interaction)"] == {"users": 1, "pairs": 1, "recall@1": 0.0, "recall@3": 1.0}
    assert found["rare items (1 to 5)"] == {"users": 1, "pairs": 1, "recall@1": 1.0, "recall@3": 1.0}
    assert found["other items"] == {"users": 1, "pairs": 1, "recall@1": 0.0, "recall@3": 1.0}
    assert found["users with 1 to 5 train items"] == {"users": 1, "pairs": 2, "recall@1": 0.5, "recall@3": 1.0}
    assert found["users with 6 to 10"]["pairs"] == 1
    assert "items missing a modality" not in found  # none of them is held out
    assert found["cold items among themselves"]["recall@1"] == 1.0  # the only candidate


def test_a_model_that_cannot_score_cold_items_has_no_ranking_among_them():
    found = by_stratum(lists(top_cold=np.zeros((2, 0))), [1], ["Recall"])
    assert (
        found["cold items among themselves"] == found["cold items (no train interaction)"] == {"users": 1, "pairs": 1}
    )


def test_strata_of_items_and_of_users_each_hold_every_pair_once():
    chosen = strata(lists())
    assert np.array_equal(
        sum(v.astype(int) for k, v in chosen.items() if "items (" in k or k == "other items"), [1, 1, 1]
    )
    assert np.array_equal(sum(v.astype(int) for k, v in chosen.items() if k.startswith("users")), [1, 1, 1])


def test_diversity_by_hand():
    found = diversity(lists(), [1, 3])
    assert found["itemcoverage@1"] == 2 / 5 and found["itemcoverage@3"] == 1.0
    assert found["giniindex@1"] == pytest.approx((-4 * 0 - 2 * 0 + 0 * 0 + 2 * 1 + 4 * 1) / 5 / 2)
    assert found["tailpercentage@1"] == 0.5  # of items 2 and 5, the tail of four (1, 2, 3, 4) holds one
    assert found["tailpercentage@3"] == pytest.approx(5 / 6)
    short = diversity(lists(top=[[2, 0, 0], [5, 2, 0]]), [3])  # 0: no more candidates
    assert short["itemcoverage@3"] == 2 / 5 and short["tailpercentage@3"] == pytest.approx(2 / 3)


def test_diversity_agrees_with_recbole_where_it_counts_no_padding_item():
    rng = np.random.default_rng(0)
    top = np.stack([rng.permutation(5)[:3] + 1 for _ in range(40)])
    data = DataStruct()
    data.set("rec.items", torch.from_numpy(top))
    data.set("data.num_items", 5)
    settings = {"topk": [2, 3], "metric_decimal_place": 16}
    found = diversity(lists(top=top), [2, 3])
    for metric in (ItemCoverage, GiniIndex):
        for name, value in metric(settings).calculate_metric(data).items():
            assert found[name] == pytest.approx(value, abs=1e-12)


def test_lists_survive_a_file_and_a_damaged_one_is_named(tmp_path):
    write_lists(lists(), tmp_path / LISTS)
    for name, array in vars(read_lists(tmp_path / LISTS)).items():
        assert np.array_equal(array, getattr(lists(), name)), name
    (tmp_path / LISTS).write_bytes(b"PK nothing")
    with pytest.raises(UserError, match="damaged"):
        read_lists(tmp_path / LISTS)


@pytest.mark.parametrize("mask_valid_at_test", [False, True])
def test_means_over_users_are_the_result_of_the_run(tmp_path, mask_valid_at_test):
    given = {"epochs": 2, "save_lists": True, "show_progress": False, "mask_valid_at_test": mask_valid_at_test}
    run = recbole_cadmr.train("BPR", "synthetic", output=tmp_path / "run", settings=given)
    figures = by_user(read_lists(run.folder / LISTS), [5, 10, 20, 50])
    assert figures.keys() == run.result["test_result"].keys()
    for name, values in figures.items():
        assert values.mean() == pytest.approx(run.result["test_result"][name], abs=1e-12), name
