"""Ranking within the domain of what is held out, and the metrics of each domain, beside an independent computation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recbole_cadmr.config.config import Config
from recbole_cadmr.config.domain_metrics import expected_ndcg
from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.session import Session, open_session
from recbole_cadmr.runs.topk_lists import rank_test

DOMAIN = {item: "food" if item < "f" else "art" for item in "abcdefghij"}
TRAIN = ["ann a", "ann g", "bob b", "bob f", "cid c", "cid h", "dot d", "dot i", "eve e", "eve j"]
TEST = ["ann b", "bob g", "cid a", "dot f", "eve c"]
YAML = """benchmark_filename: [train, valid, test]
load_col: {inter: [user_id, item_id], item: [item_id, domain]}
domain_field: domain
metrics: [NDCG, NDCG_A, NDCG_B, NDCG_AB, NDCG999_A, NDCG999_AB, Recall]
topk: [2, 3]
valid_metric: NDCG_AB@3
"""


def write(folder: Path, test=TEST, domain=DOMAIN) -> Path:
    place = folder / "two"
    place.mkdir(parents=True)
    for part, rows in (("train", TRAIN), ("valid", test), ("test", test)):
        (place / f"two.{part}.inter").write_text(
            "\n".join(["user_id:token item_id:token", *rows, ""]).replace(" ", "\t")
        )
    rows = [f"{item}\t{name}" for item, name in domain.items()]
    (place / "two.item").write_text("\n".join(["item_id:token\tdomain:token", *rows, ""]))
    (place / "two.yaml").write_text(YAML)
    return folder


def opened(folder: Path, model: str = "BPR", **settings: object) -> Session:
    config = Config(model, "two", settings={"data_path": str(folder), "show_progress": False, **settings})
    return open_session(config, folder / "run")


@pytest.mark.parametrize("model", ["BPR", "EASE", "NeuMF"])
def test_ranking_and_metrics_by_hand(tmp_path, model):
    session = opened(write(tmp_path), model)
    names = session.dataset.field2id_token["item_id"]
    assert {names[i] for i in np.flatnonzero(session.dataset.domains() == 1)} == set("fghij")  # art before food
    people = session.dataset.field2id_token["user_id"]
    result, lists = rank_test(session, 3)
    values = {1: [], 2: []}
    for row, held_item in zip(lists.held_row, lists.held_item):
        target = DOMAIN[names[held_item]]
        top = [names[item] for item in lists.top[row] if item]
        train = {pair.split()[1] for pair in TRAIN if pair.split()[0] == people[lists.users[row]]}
        assert len(top) == 3 and all(DOMAIN[item] == target for item in top) and not train & set(top)
        place = top.index(names[held_item]) if names[held_item] in top else np.inf
        values[1 if target == "art" else 2].append(1 / np.log2(place + 2))
    means = np.mean(values[1]), np.mean(values[2])
    assert [len(own) for own in values.values()] == [2, 3]
    assert result["ndcg_a@3"] == pytest.approx(means[0]) and result["ndcg_b@3"] == pytest.approx(means[1])
    assert result["ndcg_ab@3"] == pytest.approx(sum(means) / 2)
    assert result["ndcg@3"] == pytest.approx(np.mean(values[1] + values[2]))
    if model != "EASE":  # which has equal scores; of the three others all are drawn
        assert result["ndcg999_ab@3"] == pytest.approx(result["ndcg_ab@3"])


def test_the_expectation_is_that_of_draws():
    rng = np.random.default_rng(0)
    better, others, sampled = np.array([0, 30, 200]), np.array([400, 500, 1000]), 99
    expected = expected_ndcg(better, others, sampled, 10)
    for b, n, own in zip(better, others, expected):
        drawn = np.array([(rng.permutation(n)[:sampled] < b).sum() for _ in range(4000)])
        for k in (1, 10):
            mean = np.where(drawn < k, 1 / np.log2(drawn + 2), 0).mean()
            assert own[k - 1] == pytest.approx(mean, abs=0.02)
    assert expected[0].tolist() == [1.0] * 10


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({"test": [*TEST, "ann f"]}, {}, "held-out items of a user of two lie in both domains"),
        ({"domain": {**DOMAIN, "a": ""}}, {}, "the item 'a' of two has no domain"),
        ({"domain": dict.fromkeys(DOMAIN, "food")}, {}, "lie in 1 domains, not in two"),
        ({}, {"domain_field": "kind"}, "no column kind:token of two.item is loaded"),
        ({}, {"domain_field": None}, "NDCG_A needs a data set of two domains"),
        (
            {},
            {"metrics": ["NDCG_C"], "valid_metric": "NDCG_C@2"},
            "there is no ranking metric 'NDCG_C'; did you mean NDCG",
        ),
    ],
)
def test_bad_input(tmp_path, change, settings, message):
    with pytest.raises(UserError, match=message):
        opened(write(tmp_path, **change), **settings)


def test_a_domain_without_held_out_items(tmp_path):
    session = opened(write(tmp_path, ["ann b", "cid a"]))
    with pytest.raises(UserError, match="NDCG_A: no held-out item lies in the domain"):
        session.trainer.evaluate(session.test_data, load_best_model=False)
