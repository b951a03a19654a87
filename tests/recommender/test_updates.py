"""Interactions that came after training are in use at once."""

from __future__ import annotations

import pandas as pd
import pytest

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.errors import UserError
from recbole_cadmr.recommender.load import load
from recbole_cadmr.recommender.recommender import Recommender
from recbole_cadmr.recommender.updates import read_interactions
from tests.micro import PAIRS, TEXT, TRAIN, write_micro

ROWS = [("eve", "b"), ("fay", "a"), ("fay", "d"), ("fay", "d"), ("ann", "a"), ("ann", "c"), ("gus", "z")]
ADDED = pd.DataFrame(ROWS, columns=["user_id", "item_id"])
JOINED = [*TRAIN, "eve b", "fay a", "fay d"]


def trained(folder, model, train=None, **settings):
    write_micro(folder, train=train)
    how = {**PAIRS, "data_path": str(folder), **settings}
    return load(recbole_cadmr.train(model, "micro", output=folder / "run", settings=how).checkpoint)


LINEAR = {"reg_weight": 2.0, "adaptive_fits": 1, "fit_dtype": "float64"}


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("linear"), "LinearCADMR", **LINEAR)


def copy(recommender):
    return Recommender(recommender.parts)


def scores(recommender):
    lists = recommender.recommend(topk=len(recommender.items), leave_out="none", popular=False)
    return {(user, item): score for user, item, score in lists[["user_id", "item_id", "score"]].itertuples(index=False)}


def test_the_closed_form_is_as_a_fresh_fit_to_all(linear, tmp_path):
    updated = copy(linear)
    update = updated.update(ADDED)
    # ann has c in the validation part.
    assert (update.new_pairs, update.known_pairs, update.new_users, update.unknown_items) == (3, 3, 1, 1)
    assert update.held_out == 1
    assert update.refitted and update.unknown_users == 0
    assert updated.users == [*linear.users, "fay"] and "fay" not in linear.users
    fresh = trained(tmp_path, "LinearCADMR", JOINED, **LINEAR)
    assert scores(updated) == pytest.approx(scores(fresh), abs=1e-5)
    explanation = updated.explain("fay", item="b")
    assert explanation.score == pytest.approx(scores(fresh)["fay", "b"], abs=1e-5)


def test_without_a_fit_histories_alone_are_new(linear):
    updated = copy(linear)
    assert not updated.update(ADDED, refit=False).refitted
    frame, _ = linear.recommend_from_history(ADDED[ADDED["user_id"] == "fay"], topk=4)
    found = updated.recommend(["fay"], topk=4)
    assert (
        found["item_id"].tolist()
        == frame["item_id"].tolist()
        == [item for item in frame["item_id"] if item not in "ad"]
    )
    assert found["score"].to_numpy() == pytest.approx(frame["score"].to_numpy(), rel=1e-5)
    before = scores(linear)
    assert scores(updated)["cid", "b"] == pytest.approx(before["cid", "b"], rel=1e-6)


def test_what_a_fit_was_spared_stays_out_of_it_until_an_update_that_fits(linear, tmp_path):
    """In whatever order things come, the fit is the same."""
    item = {"ids": ["e"], "vectors": {"text": [TEXT["e"]], "image": [[0.0, 0.0]]}}
    first, second = copy(linear), copy(linear)
    assert not first.update(ADDED, refit=False).refitted
    first.add_items(**item)
    second.add_items(**item)
    assert not second.update(ADDED, refit=False).refitted
    assert scores(first) == pytest.approx(scores(second), abs=1e-9)
    first.export(tmp_path / "export", neighbours=100)
    again = load(tmp_path / "export")
    assert again.histories.added.nnz == 3 and not again.histories.fitted.nnz
    # What is known already is no new pair, but has not been fitted to.
    update = first.update(ADDED.loc[[0]])
    assert (update.new_pairs, update.known_pairs, update.refitted) == (0, 1, True)
    third = copy(linear)
    third.update(ADDED)
    third.add_items(**item)
    assert scores(first) == pytest.approx(scores(third), abs=1e-9) != pytest.approx(scores(second), abs=1e-3)
    again.update(ADDED, refit=True)
    assert scores(again) == pytest.approx(scores(third), abs=1e-5)


def test_what_is_known_already_changes_nothing(linear):
    updated = copy(linear)
    parts = updated.parts
    update = updated.update(pd.DataFrame({"user_id": ["ann", "ann"], "item_id": ["a", "z"]}))
    assert (update.new_pairs, update.known_pairs, update.unknown_items, update.refitted) == (0, 1, 1, False)
    assert update.held_out == 0
    assert updated.parts is parts


def test_several_updates_add_up(linear, tmp_path):
    updated = copy(linear)
    for row in ADDED.index:
        updated.update(ADDED.loc[[row]])
    assert scores(updated) == pytest.approx(scores(trained(tmp_path, "LinearCADMR", JOINED, **LINEAR)), abs=1e-5)


def test_a_model_of_histories_that_was_trained_uses_rows(tmp_path):
    model = trained(tmp_path, "CADMR", epochs=1, pretrain_epochs=1, encoder_hidden_size=4, latent_size=4)
    update = model.update(ADDED)
    assert (update.new_pairs, update.new_users, update.refitted) == (3, 1, False)
    frame, _ = model.recommend_from_history(ADDED[ADDED["user_id"] == "fay"], topk=2)
    assert model.recommend(["fay"], topk=2)["item_id"].tolist() == frame["item_id"].tolist()
    with pytest.raises(UserError, match="CADMR is not fitted anew to single interactions: train it again"):
        model.update(pd.DataFrame({"user_id": ["new"], "item_id": ["a"]}), refit=True)


def test_a_model_of_users_leaves_out_what_they_have_now(tmp_path):
    model = trained(tmp_path, "VBPR", epochs=1, embedding_size=4)
    update = model.update(ADDED)
    assert (update.new_pairs, update.new_users, update.unknown_users, update.refitted) == (1, 0, 3, False)
    assert "fay" not in model.users
    lists = model.recommend(["eve"], topk=4)
    # Nobody trained a vector of eve's; what is known of her now does not change that.
    assert "b" not in set(lists["item_id"]) and set(lists["source"]) == {"popular"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.DataFrame({"user_id": ["a"]}), "must be a table with the columns user_id and item_id"),
        (pd.DataFrame({"user_id": [], "item_id": []}), "`interactions` holds no rows"),
        (pd.DataFrame({"user_id": [1.5], "item_id": ["a"]}), "must hold ids"),
        (pd.DataFrame({"user_id": ["[PAD]"], "item_id": ["a"]}), "a user cannot be called"),
        ([("ann", "a")], "must be a table"),
    ],
)
def test_what_is_no_table_of_interactions_is_refused(linear, table, message):
    with pytest.raises(UserError, match=message):
        linear.update(table)


def test_the_command_takes_a_file_of_them(linear, tmp_path, capsys):
    table = ADDED.rename(columns={"user_id": "customer"})
    table.assign(price=1.5).to_parquet(tmp_path / "orders.parquet")
    how = ["--checkpoint", str(linear.parts.source.file), "--topk=4", "--leave_out=none", "--popular=False"]
    files = ["--new_interactions", str(tmp_path / "orders.parquet"), "--output", str(tmp_path / "lists.csv")]
    assert main(["recommend", *how, *files, "--user_column", "customer"]) == 0
    printed = capsys.readouterr().out
    assert f"3 new interactions of {tmp_path / 'orders.parquet'}, 1 new users" in printed
    assert "3 rows were known" in printed and "1 rows name items that are not in the catalogue" in printed
    updated = Recommender(linear.parts)
    updated.update(ADDED)
    lists = pd.read_csv(tmp_path / "lists.csv")
    found = {
        (user, item): score for user, item, score in lists[["user_id", "item_id", "score"]].itertuples(index=False)
    }
    assert found == pytest.approx(scores(updated), abs=1e-5)
    (tmp_path / "bad.csv").write_text("user_id,item_id\nann,\n")
    assert main(["recommend", *how, "--new_interactions", str(tmp_path / "bad.csv"), "--output", "x.csv"]) == 2
    assert "holds no row with a usable user and item" in capsys.readouterr().err
    assert main(["recommend", *how, "--output", "x.csv", "--quantity_column", "n"]) == 2
    assert "--quantity_column belongs to --new_interactions" in capsys.readouterr().err


def test_a_file_of_them_is_read_as_prepare_reads_it(tmp_path):
    file, skipped = tmp_path / "orders.csv", SkippedRows()
    file.write_text(
        "customer,product,n,stars\nann,a,1,5\n,a,1,5\nbob,b,-1,5\nbob,b,2,1\nbob,[PAD],1,5\nzoe,c\neve,a,2,3\n"
        + "ann,b,1,4\n" * 20
    )
    found = read_interactions(file, skipped, "customer", "product", "n", "stars", 3)
    assert found.drop_duplicates().to_numpy().tolist() == [["ann", "a"], ["eve", "a"], ["ann", "b"]]
    assert [line.partition(" (")[0] for line in skipped.lines()] == [
        "malformed lines of orders.csv: 1",
        "interactions rated below 3: 1",
        "interactions without a positive quantity: 1",
        "interactions without a usable user or item id: 2",
    ]
