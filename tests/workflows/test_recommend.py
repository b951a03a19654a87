"""Recommendations: exact, in the data's own ids, without what a user already has."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.workflows.recommend import Recommender, read_history
from tests.workflows.test_evaluation import parts_of, scores_of


@pytest.fixture(scope="module")
def recommender(brief_run):
    return Recommender(brief_run.checkpoint)


def test_the_file_holds_the_exact_top_items_of_every_user(brief_run, recommender, tmp_path):
    output = tmp_path / "recs.tsv"
    assert main(["recommend", f"--checkpoint={brief_run.checkpoint}", "--topk", "7", "--output", str(output)]) == 0
    frame = pd.read_csv(output, sep="\t", dtype={"user_id": str, "item_id": str})
    assert list(frame.columns) == ["user_id", "item_id", "rank", "score"]
    session, scores = recommender.session, scores_of(recommender.session)
    train = parts_of(session)[0]
    users, items = (session.dataset.field2id_token[f] for f in (session.dataset.uid_field, session.dataset.iid_field))
    assert len(frame) == 7 * (len(users) - 1)
    for user in (1, 2, len(users) - 1):
        mine = scores[user].copy()
        mine[[0, *train.get(user, ())]] = -np.inf
        best = np.argsort(-mine, kind="stable")[:7]
        rows = frame[frame["user_id"] == users[user]]
        assert rows["rank"].tolist() == [1, 2, 3, 4, 5, 6, 7]
        assert rows["score"].to_numpy() == pytest.approx(mine[best], rel=1e-4)
        assert set(rows["item_id"]) == set(items[best])


def test_only_what_is_asked_for_is_left_out(recommender):
    session = recommender.session
    tokens = session.dataset.field2id_token[session.dataset.iid_field]
    user_tokens = session.dataset.field2id_token[session.dataset.uid_field]
    everything = len(tokens) - 1
    train, valid, test = parts_of(session)
    user = next(u for u in test if u in valid and u in train)
    parts = [{tokens[i] for i in part[user]} for part in (train, valid, test)]
    for leave_out, absent in (
        ("none", set()),
        ("train", parts[0]),
        ("train+valid", parts[0] | parts[1]),
        ("all", set.union(*parts)),
    ):
        frame = recommender.recommend([user_tokens[user]], everything, leave_out)
        assert set(tokens[1:]) - set(frame["item_id"]) == absent


def test_listed_users_come_in_their_order(recommender):
    users = list(recommender.session.dataset.field2id_token["user_id"][[5, 2, 9]])
    frame = recommender.recommend(users, topk=3)
    assert frame["user_id"].drop_duplicates().tolist() == users


def test_a_stranger_with_a_users_history_gets_that_users_items(recommender, tmp_path):
    session = recommender.session
    users, items = (session.dataset.field2id_token[f] for f in (session.dataset.uid_field, session.dataset.iid_field))
    train = parts_of(session)[0]
    rows = [("stranger", items[item]) for item in train[3]] + [("other", items[item]) for item in train[8]]
    history = pd.DataFrame([*rows, ("other", "no-such-item")], columns=["user_id", "item_id"])
    frame, unknown = recommender.recommend_from_history(history, topk=10)
    assert unknown == 1 and frame["user_id"].drop_duplicates().tolist() == ["stranger", "other"]
    for name, user in (("stranger", 3), ("other", 8)):
        expected = recommender.recommend([users[user]], topk=10)
        mine = frame[frame["user_id"] == name]
        assert mine["item_id"].tolist() == expected["item_id"].tolist()
        assert mine["score"].to_numpy() == pytest.approx(expected["score"].to_numpy(), rel=1e-5)


def test_history_files(tmp_path):
    file = tmp_path / "h.tsv"
    file.write_text("user_id\titem_id\nann\t1\nbob\t2\n")
    assert read_history(file).to_numpy().tolist() == [["ann", "1"], ["bob", "2"]]
    file.write_text("ann 1\nbob 2\n")
    assert read_history(file).to_numpy().tolist() == [["ann", "1"], ["bob", "2"]]
    for bad, sentence in (("ann 1\nbob\n", "line 2"), ("", "no rows"), ("a b c\n", "line 1")):
        file.write_text(bad)
        with pytest.raises(UserError, match=sentence):
            read_history(file)


def test_wrong_requests_are_one_sentence(recommender):
    with pytest.raises(UserError, match="users are not in the data set, the first is 'nobody'"):
        recommender.recommend(["nobody"])
    with pytest.raises(UserError, match="topk must lie between"):
        recommender.recommend(topk=10**6)
    with pytest.raises(UserError, match="leave_out must be one of"):
        recommender.recommend(leave_out="test")
    with pytest.raises(UserError, match="no row of the history"):
        recommender.recommend_from_history(pd.DataFrame([("a", "nothing")], columns=["user_id", "item_id"]))
