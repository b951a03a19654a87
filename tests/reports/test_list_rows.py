"""Lists in files of any toolkit: every layout gives the same rows, and what is not one is refused in a sentence."""

from __future__ import annotations

import pandas as pd
import pytest

from recbole_cadmr.errors import UserError
from recbole_cadmr.reports.list_rows import read_list_rows

# Best first: 007 has x, y; 12 has y.
LAYOUTS = {
    "implicit.csv": "user,item,score\n007,x,0.9\n007,y,0.5\n12,y,1e-3\n",
    "rectools.csv": "user_id,item_id,score,rank\n007,x,1,1\n007,y,2,2\n12,y,0.1,1\n",
    "recbole.tsv": "user_id:token\titem_id:token\tscore:float\n007\tx\t-1\n007\ty\t-2\n12\ty\t5\n",
    "elliot.tsv": "007\tx\t0.9\n007\ty\t0.5\n12\ty\t0.4\n",
    "without.csv": "\ufeff007,x,0.9\n007,y,0.5\n12,y,0.4\n",
    "mmrec.csv": "id\ttop_0\ttop_1\n007\tx\ty\n12\ty\t\n",
    "lines.jsonl": '{"userID": "007", "itemID": "x", "prediction": 3.5}\n{"userID": "007", "itemID": "y", '
    '"prediction": 1}\n{"userID": 12, "itemID": "y", "prediction": 0}\n',
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_lists(name, tmp_path):
    (tmp_path / name).write_text(LAYOUTS[name], encoding="utf-8")
    rows = read_list_rows(tmp_path / name).sort_values(["user", "key"])
    assert rows[["user", "item"]].to_numpy().tolist() == [["007", "x"], ["007", "y"], ["12", "y"]]


def test_parquet_holds_numbers_as_ids_and_more_than_ten_places_are_in_their_order(tmp_path):
    wide = pd.DataFrame({"id": [3], **{f"top_{place}": [100 + place] for place in (10, 2, 0, 1)}})
    wide.to_parquet(tmp_path / "wide.parquet")
    assert read_list_rows(tmp_path / "wide.parquet")["item"].tolist() == ["100", "101", "102", "110"]
    long = pd.DataFrame({"user": [3, 3], "item": [7, 8], "rank": [2, 1]})
    long.to_parquet(tmp_path / "long.parquet")
    rows = read_list_rows(tmp_path / "long.parquet").sort_values("key")
    assert rows[["user", "item"]].to_numpy().tolist() == [["3", "8"], ["3", "7"]]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "user,item,score\n", "holds no rows"),
        ("a.csv", "user,item\n1,2\n", "no column score; it has user, item"),
        ("a.csv", "who,what,how\n1,2,3\n", "begins neither with names"),
        ("a.csv", "user,item,score\n1,2,0.5\n1,3,nan\n", "the score in row 2 is no finite number, but 'nan'"),
        ("a.csv", "user,item,score\n1,2,-inf\n", "no finite number"),
        ("a.csv", "user,item,score\n1,,0.5\n", "has no item in its row 1"),
        ("a.tsv", "1\t2\t1\n1\t3\t2\n4\t2\t1\n4\t7\t2\n", "counts from 1 on in every list"),
        ("a.tsv", "1\t2\t0.5\n1\t3\n", "row 2 has 2 columns"),
        ("a.csv", "id,top_0\n1,2\n1,3\n", "two rows of the user '1'"),
        ("a.txt", "1 2 3\n", "must be one of .csv"),
        ("a.parquet", "no parquet", "is damaged, or no parquet file"),
        ("a.jsonl", '{"user": 1}\n', "no column itemid"),
    ],
)
def test_what_is_no_list_is_refused(name, text, message, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_list_rows(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*lists\.csv"):
        read_list_rows(tmp_path / "lists.csv")
