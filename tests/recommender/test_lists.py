"""Lists fit to show: what is left out, who is unknown, what varies; of all scores and of listed ones alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.recommender.diversity import diversified
from recbole_cadmr.recommender.tables import Counts, read_exclusions, read_items
from tests.recommender.made import GivenEngine, made


@pytest.fixture(params=["all scores", "listed scores"])
def recommender(request):
    return made(GivenEngine(lists_candidates=request.param == "listed scores"))


def of(frame, user):
    rows = frame[frame["user_id"] == user]
    assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
    return "".join(rows["item_id"])


def test_by_default_nothing_that_a_person_has_comes_back(recommender):
    frame = recommender.recommend(topk=6)
    # dot has nothing in the train part: b, of three, comes before a and c, of one each; d, e, f nobody has there.
    assert [of(frame, user) for user in ("ann", "bob", "cid")] == ["def", "fea", "fecad"]
    assert sorted(of(frame, "dot")) == ["a", "b", "c"] and of(frame, "dot")[0] == "b"
    sources = frame.drop_duplicates("user_id").set_index("user_id")["source"]
    assert sources.to_dict() == {"ann": "model", "bob": "model", "cid": "model", "dot": "popular"}
    assert frame[frame["user_id"] == "dot"]["score"].tolist() == [3, 1, 1]
    assert [of(recommender.recommend(["ann"], 6, which), "ann") for which in ("train", "train+valid", "none")] == [
        "cdef",
        "def",
        "abcdef",
    ]
    assert of(recommender.recommend(["dot"], 3, popular=False), "dot") == "dba"


def test_without_a_length_lists_are_of_all_items_where_there_are_fewer_than_usual(recommender):
    frame = recommender.recommend(["ann", "dot"])
    pd.testing.assert_frame_equal(frame, recommender.recommend(["ann", "dot"], topk=6))
    assert Counts.of(frame, None) == Counts(6, 2, 2, 1) and len(recommender.most_popular()) == 3
    history = pd.DataFrame({"user_id": ["new"], "item_id": ["a"]})
    pd.testing.assert_frame_equal(*(recommender.recommend_from_history(history, topk=k)[0] for k in (None, 6)))
    with pytest.raises(UserError, match="topk must lie between 1 and the 6 items of the data set, not 50"):
        recommender.recommend(topk=50)


def test_candidates_and_exclusions(recommender, caplog):
    frame = recommender.recommend(topk=2, candidates=["f", "a", "d", "gone"])
    assert [of(frame, user) for user in ("ann", "bob", "cid", "dot")] == ["df", "fa", "fa", "a"]
    assert "1 of 4 items of candidates are not in the catalogue" in caplog.text
    assert Counts.of(frame, 2) == Counts(7, 4, 1, 1)
    assert of(recommender.recommend(["bob"], 2, exclude=["f"]), "bob") == "ea"
    mask = pd.DataFrame({"user_id": ["bob", "cid", "cid", "dot", "zoe"], "item_id": list("ffebb")})
    frame = recommender.recommend(topk=2, exclude=mask)
    assert [of(frame, user) for user in ("ann", "bob", "cid")] == ["de", "ea", "ca"] and "b" not in of(frame, "dot")
    assert "1 people of exclude are neither asked for nor in the data set" in caplog.text
    assert [of(recommender.recommend([user], 2, exclude=mask), user) for user in ("cid", "ann")] == ["ca", "de"]
    both = recommender.recommend(["bob"], 6, candidates=["f", "e", "a"], exclude=mask)
    assert of(both, "bob") == "ea"


def test_histories_are_filtered_alike(recommender):
    rows = [("x", "a"), ("x", "b"), ("y", "c"), ("z", "nothing")]
    history = pd.DataFrame(rows, columns=["user_id", "item_id"])
    scores = {name: recommender.engine.by_item[[1 + "abcdef".index(i) for i in has]].sum(0)[1:] for name, has in
              (("x", "ab"), ("y", "c"))}  # fmt: skip
    frame, unknown = recommender.recommend_from_history(history, 2, candidates=list("bdef"), exclude=["f"])
    assert unknown == 1 and of(frame, "z") == "b" and frame["source"].tolist()[-1] == "popular"
    for name, left in (("x", "de"), ("y", "bde")):
        best = sorted(left, key=lambda item: -scores[name]["abcdef".index(item)])
        assert of(frame, name) == "".join(best)[:2]
    mask = pd.DataFrame({"user_id": ["y"], "item_id": ["b"]})
    frame, _ = recommender.recommend_from_history(history, 6, exclude=mask)
    assert "b" not in of(frame, "y") and len(of(frame, "y")) == 4 and len(of(frame, "x")) == 4


def test_who_is_unknown_gets_what_most_have(recommender):
    frame = recommender.most_popular(2, exclude=["b"])
    assert list(frame.columns) == ["item_id", "rank", "score", "source"]
    assert sorted(frame["item_id"]) == ["a", "c"] and set(frame["source"]) == {"popular"}


def test_diversity_takes_turns_among_what_is_alike(recommender):
    assert of(recommender.recommend(["ann"], 6, "none", diversity=0.0), "ann") == "abcdef"
    frame = recommender.recommend(["ann"], 6, "none", diversity=0.5)
    assert of(frame, "ann")[:3] == "ace" and sorted(of(frame, "ann")) == list("abcdef")
    assert frame["score"].tolist()[:3] == [6, 4, 2]  # the model's own
    slight = recommender.recommend(["ann"], 6, "none", diversity=0.01)
    assert of(slight, "ann") == "abcdef"
    assert of(recommender.recommend(["ann"], 2, diversity=0.5, candidates=list("def")), "ann") == "de"


def test_diversity_agrees_with_the_definition():
    rng = np.random.default_rng(0)
    vectors = torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal((40, 3))).float(), dim=1)
    scores = torch.from_numpy(np.sort(rng.standard_normal((7, 20)))[:, ::-1].copy()).float()
    items = torch.from_numpy(np.stack([rng.permutation(40)[:20] for _ in range(7)]))
    scores[3, 4:] = -torch.inf
    values, chosen = diversified(scores, items, vectors, 8, 0.4)
    for row in range(7):
        there = scores[row] > -torch.inf
        lowest, highest = scores[row][there].min(), scores[row].max()
        relevance = {int(i): float((s - lowest) / (highest - lowest)) for i, s in zip(items[row][there], scores[row])}
        expected = [int(items[row, 0])]
        while len(expected) < min(8, len(relevance)):
            rest = [i for i in relevance if i not in expected]
            redundant = {i: max(float(vectors[i] @ vectors[j]) for j in expected) for i in rest}
            expected.append(max(rest, key=lambda i: 0.6 * relevance[i] - 0.4 * redundant[i]))
        mine = chosen[row][values[row] > -torch.inf].tolist()
        assert mine == expected
        assert all(values[row, n] == scores[row, items[row].tolist().index(i)] for n, i in enumerate(expected))


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"candidates": ["gone"]}, "`candidates` names no item of the catalogue"),
        ({"candidates": "a"}, "`candidates` must be a list of ids, not 'a'"),
        ({"exclude": [1.5]}, "`exclude` must hold ids"),
        ({"exclude": pd.DataFrame({"item": ["a"]})}, "or a table with the columns user_id and item_id, not item"),
        ({"diversity": 1}, "diversity must be a number from 0 to below 1, not 1"),
        ({"diversity": np.nan}, "diversity must be a number"),
        ({"diversity": "0.5"}, "diversity must be a number"),
        ({"popular": "no"}, "popular must be True or False, not 'no'"),
    ],
)
def test_wrong_requests(recommender, request_, sentence):
    with pytest.raises(UserError, match=sentence):
        recommender.recommend(topk=2, **request_)


def test_without_vectors_there_is_no_diversity():
    with pytest.raises(UserError, match="Given has no vectors of the items, nor has the data set features"):
        made(content=False).recommend(topk=2, diversity=0.5)


def test_files_of_items():
    Path("items").write_text("item_id:token\nred shoe\n\n007\n")
    assert read_items("items") == ["red shoe", "007"] == read_exclusions("items")
    Path("mask").write_text("ann\tred shoe\nbob\t007\n")
    assert read_exclusions("mask").to_numpy().tolist() == [["ann", "red shoe"], ["bob", "007"]]
    Path("none").write_text("item_id\n")
    with pytest.raises(UserError, match="none holds no items"):
        read_items("none")


def test_the_command_filters_and_says_what_is_short(brief_run, capsys):
    Path("stock").write_text("i0001\ni0002\ni0003\n")
    Path("mask").write_text("i0001\n")
    command = ["recommend", f"--checkpoint={brief_run.checkpoint}", "--topk=2", "--candidates=stock", "--exclude=mask"]
    assert main([*command, "--output=r.tsv"]) == 0
    frame = pd.read_csv("r.tsv", sep="\t", dtype=str)
    assert set(frame["item_id"]) == {"i0002", "i0003"} and set(frame["source"]) == {"model"}
    length = frame.groupby("user_id").size()
    n_short, n = int((length < 2).sum()), 1500
    said = capsys.readouterr().out
    assert n_short and f"{n_short} of {n:,} users get fewer than 2 items: no more are left for them" in said
    assert main([*command, "--output=d.tsv", "--diversity=0.3"]) == 0
    assert main([*command, "--output=e.tsv", "--diversity=1"]) == 2
    assert "diversity must be a number from 0 to below 1" in capsys.readouterr().err
    assert main([*command, "--output=e.tsv", "--history=mask", "--popular=False"]) == 2
    assert "--popular is for users of the data set" in capsys.readouterr().err
