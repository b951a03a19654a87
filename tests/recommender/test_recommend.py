"""Recommendations: exact, in the data's own ids, without what a user already has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.progress import watched_by
from recbole_cadmr.recommender.load import load
from recbole_cadmr.recommender.request import ids
from recbole_cadmr.recommender.tables import read_histories, read_users
from tests.micro import open_checkpoint
from tests.runs.test_evaluation import parts_of, scores_of


@pytest.fixture(scope="module")
def recommender(brief_run):
    return load(brief_run.checkpoint)


@pytest.fixture(scope="module")
def session(brief_run):
    return open_checkpoint(brief_run.checkpoint)


def test_the_file_holds_the_exact_top_items_of_every_user(brief_run, session, tmp_path):
    output = tmp_path / "recs.tsv"
    assert (
        main(
            [
                "recommend",
                f"--checkpoint={brief_run.checkpoint}",
                "--leave_out=train",
                "--topk",
                "7",
                "--output",
                str(output),
            ]
        )
        == 0
    )
    frame = pd.read_csv(output, sep="\t", dtype={"user_id": str, "item_id": str})
    assert list(frame.columns) == ["user_id", "item_id", "rank", "score", "source"]
    scores = scores_of(session)
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


def test_only_what_is_asked_for_is_left_out(recommender, session):
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
    users = list(np.array(recommender.users)[[4, 1, 8]])
    frame = recommender.recommend(users, topk=3)
    assert frame["user_id"].drop_duplicates().tolist() == users


def test_whoever_watches_is_told_of_every_user(recommender):
    told = []
    with watched_by(told.append):
        recommender.recommend(topk=3)
        recommender.recommend_from_history(
            pd.DataFrame({"user_id": ["a", "a", "b"], "item_id": ["i0001", "i0002", "i0003"]})
        )
    assert sum(told) == len(recommender.users) + 2


def test_a_stranger_with_a_users_history_gets_that_users_items(recommender, session):
    users, items = (session.dataset.field2id_token[f] for f in (session.dataset.uid_field, session.dataset.iid_field))
    train = parts_of(session)[0]
    rows = [("stranger", items[item]) for item in train[3]] + [("other", items[item]) for item in train[8]]
    history = pd.DataFrame([*rows, ("other", "no-such-item")], columns=["user_id", "item_id"])
    frame, unknown = recommender.recommend_from_history(history, topk=10)
    assert unknown == 1 and frame["user_id"].drop_duplicates().tolist() == ["stranger", "other"]
    for name, user in (("stranger", 3), ("other", 8)):
        expected = recommender.recommend([users[user]], topk=10, leave_out="train")
        mine = frame[frame["user_id"] == name]
        assert mine["item_id"].tolist() == expected["item_id"].tolist()
        assert mine["score"].to_numpy() == pytest.approx(expected["score"].to_numpy(), rel=1e-5)


def test_history_files(tmp_path):
    file = tmp_path / "h.tsv"
    file.write_text("user_id\titem_id\nann\t1\nbob\t2\n")
    assert read_histories(file).to_numpy().tolist() == [["ann", "1"], ["bob", "2"]]
    file.write_text("ann 1\nbob 2\n")
    assert read_histories(file).to_numpy().tolist() == [["ann", "1"], ["bob", "2"]]
    for bad, sentence in (("ann 1\nbob\n", "line 2"), ("", "no rows"), ("a b c\n", "line 1")):
        file.write_text(bad)
        with pytest.raises(UserError, match=sentence):
            read_histories(file)


def test_wrong_requests_are_one_sentence(recommender):
    with pytest.raises(UserError, match="users are not in the data set, the first is 'nobody'"):
        recommender.recommend(["nobody"])
    with pytest.raises(UserError, match="topk must lie between"):
        recommender.recommend(topk=10**6)
    with pytest.raises(UserError, match="leave_out must be one of"):
        recommender.recommend(leave_out="test")
    with pytest.raises(UserError, match="no row of the history"):
        recommender.recommend_from_history(pd.DataFrame([("a", "nothing")], columns=["user_id", "item_id"]))


@pytest.mark.parametrize("kind", [np.array, pd.Series, tuple, iter])
def test_ids_come_in_any_list(recommender, kind):
    users = recommender.users[:3]
    frame = recommender.recommend(kind(users), topk=np.int64(2))
    assert frame["user_id"].tolist() == [user for user in users for _ in range(2)]


def test_whole_numbers_are_ids_by_their_digits():
    assert ids([17, np.int64(3), "007"], "users") == ["17", "3", "007"]


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"users": "u0001"}, "`users` must be a list of ids, not 'u0001'"),
        ({"users": 17}, "`users` must be a list of ids, not 17"),
        ({"users": np.array("u0001")}, "`users` must be a list of ids, not array"),
        ({"users": []}, "`users` names nobody"),
        ({"users": [None]}, "`users` must hold ids, which are texts, not None"),
        ({"users": ["u0001", np.nan]}, r"must hold ids, which are texts, not nan \(float\)"),
        ({"users": [17.0]}, r"not 17.0 \(float\)"),
        ({"users": [True]}, r"not True \(bool\)"),
        ({"users": [["u0001"]]}, r"not \['u0001'\] \(list\)"),
        ({"users": ["u0001", "u0001"]}, "`users` names 'u0001' more than once"),
        ({"users": ["[PAD]"]}, "not in the data set, the first is '\\[PAD\\]'"),
        ({"topk": "5"}, "topk must be a whole number, not '5'"),
        ({"topk": 5.0}, "topk must be a whole number, not 5.0"),
        ({"topk": True}, "topk must be a whole number, not True"),
        ({"topk": 0}, "topk must lie between 1"),
        ({"leave_out": None}, "leave_out must be one of"),
        ({"leave_out": ["train"]}, "leave_out must be one of"),
    ],
)
def test_requests_of_the_python_api(recommender, request_, sentence):
    with pytest.raises(UserError, match=sentence) as refusal:
        recommender.recommend(**request_)
    assert "--" not in str(refusal.value)


@pytest.mark.parametrize(
    ("history", "sentence"),
    [
        ([("ann", "i0001")], "`history` must be a table with the columns user_id and item_id, not list"),
        (pd.DataFrame({"user": ["ann"], "item": ["i0001"]}), "columns user_id and item_id, not user, item"),
        (pd.DataFrame({"user_id": ["ann", None], "item_id": ["i0001", "i0002"]}), "`history` must hold ids"),
        (pd.DataFrame({"user_id": ["ann", "bob"], "item_id": ["i0001", np.nan]}), "`history` must hold ids"),
        (pd.DataFrame({"user_id": [], "item_id": []}), "no row of the history"),
    ],
)
def test_histories_of_the_python_api(recommender, history, sentence):
    with pytest.raises(UserError, match=sentence):
        recommender.recommend_from_history(history)


def test_repeated_rows_of_a_history_and_numbers_for_names(recommender):
    items = recommender.items[:3]
    once = pd.DataFrame({"user_id": [7] * 3, "item_id": items})
    frame, _ = recommender.recommend_from_history(once, topk=5)
    again, _ = recommender.recommend_from_history(pd.concat([once, once]), topk=5)
    assert frame["user_id"].unique().tolist() == ["7"] and again.equals(frame)


def test_who_has_no_item_left_gets_no_rows_and_is_counted(recommender, brief_run, capsys):
    items = recommender.items
    rows = [f"all {item}" for item in items] + [f"one {items[0]}", "stranger nothing"]
    Path("h.txt").write_text("\n".join(rows))
    command = ["recommend", f"--checkpoint={brief_run.checkpoint}", "--history=h.txt", "--topk=3", "--output=r.tsv"]
    assert main(command) == 0
    assert [line.split("\t")[0] for line in Path("r.tsv").read_text().splitlines()] == [
        "user_id",
        *["one"] * 3,
        *["stranger"] * 3,
    ]
    said = capsys.readouterr().out
    assert f"1 of {len(rows)} rows name items that are not in the data set" in said
    assert "1 of 3 users get no list: no item is left for them" in said
    assert "1 of 3 users, of whom nothing is known, get the most popular items" in said


def test_the_command_speaks_of_options(brief_run, capsys):
    Path("u.txt").write_text("nobody\n")
    checkpoint = ["recommend", f"--checkpoint={brief_run.checkpoint}", "--output=r.tsv"]
    assert main([*checkpoint, "--users=u.txt"]) == 2
    assert "people the model has not seen need a --history" in capsys.readouterr().err
    assert main([*checkpoint, "--history=u.txt", "--leave_out=all"]) == 2
    assert "--leave_out is for users of the data set" in capsys.readouterr().err


def test_scores_that_are_no_numbers_are_refused(recommender, monkeypatch):
    monkeypatch.setattr(recommender.engine.model, "score_rows", lambda rows: torch.full(rows.shape, torch.nan))
    items = recommender.items[:2]
    with pytest.raises(UserError, match="gives scores that are NaN or infinite"):
        recommender.recommend_from_history(pd.DataFrame({"user_id": "a", "item_id": items}), 3)


def test_history_files_as_people_have_them(tmp_path):
    file = tmp_path / "h.tsv"

    def read(content):
        file.write_bytes(content.encode())
        return read_histories(file).to_numpy().tolist()

    assert read("\ufeffuser_id\titem_id\r\nann lee\t1\r\n\r\n") == [["ann lee", "1"]]
    assert read("item_id:token\tuser_id:token\ttime:float\n1\tann\t5\n") == [["ann", "1"]]
    assert read('ann\t1\x0b\x85\n"bob"\tNA\n') == [["ann", "1\x0b\x85"], ['"bob"', "NA"]]
    assert read("ann  1\nbob\xa0b 2 \n\n") == [["ann", "1"], ["bob\xa0b", "2"]]
    for bad, sentence in (("ann\t1\t2\n", "line 1 must hold a user and an item"), ("\n\nann\t\n", "line 3"),
                          ("user_id item_id\n", "no rows"), ("\n", "no rows")):  # fmt: skip
        with pytest.raises(UserError, match=sentence):
            read(bad)


def test_user_files_as_people_have_them(tmp_path):
    file = tmp_path / "u.txt"
    file.write_bytes("\ufeffuser_id:token\r\nann lee\r\n\r\n007\x0c\n".encode())
    assert read_users(file) == ["ann lee", "007\x0c"]
    file.write_bytes("ann".encode("utf-16"))
    with pytest.raises(UserError, match="is not UTF-8 text"):
        read_users(file)
    with pytest.raises(UserError, match="Is a directory"):
        read_users(tmp_path)
