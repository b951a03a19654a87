"""Files that do not fit are refused in one sentence that names the file and the line; odd but sound ones are read."""

from __future__ import annotations

import re

import numpy as np
import pytest
from recbole.data.dataset import Dataset

from recbole_cadmr.config.config import Config
from recbole_cadmr.data import atomic
from recbole_cadmr.data.atomic import read_table
from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.session import open_session
from tests.micro import TEST, TRAIN, VALID, open_micro, write_micro

HEADER = "user_id:token\titem_id:token"
GRAPH = {"idx": np.zeros((5, 2), dtype=np.int64), "cos": np.ones((5, 2), dtype=np.float32)}


class RecBoles(Dataset):
    """RecBole's own data set, whatever the settings."""


def write_parts(place, extra, field):
    """All parts with a third column; ``field`` gives its text by the number of the row."""
    for part, rows in (("train", TRAIN), ("valid", VALID), ("test", TEST)):
        lines = [f"{row}\t{field(i)}".replace(" ", "\t", 1) for i, row in enumerate(rows)]
        (place / f"micro.{part}.inter").write_text("\n".join([f"{HEADER}\t{extra}", *lines]) + "\n")


def train_part(*lines):
    return lambda place: (place / "micro.train.inter").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (train_part(HEADER, "ann\ta", "", "bob"), "micro.train.inter line 4 is malformed"),
        (train_part(HEADER, "ann\ta", "[PAD]\tb"), r"micro.train.inter line 3 is malformed: its user_id is \[PAD\]"),
        (train_part(HEADER, "ann\ta", "bob\t"), "micro.train.inter line 3 is malformed: its item_id is empty"),
        (train_part(HEADER, "ann\ta", "\tb"), "micro.train.inter line 3 is malformed: its user_id is empty"),
        (train_part(HEADER, "ann\ta\tb", "bob\tb\ta"), "micro.train.inter line 2 is malformed"),
        (train_part(HEADER, "ann\ta", "bob\tb\ta"), "line 3"),
        (train_part("user_id:token\titem_id:token\titem_id:float", "ann\ta\t1"), "names a column of its header twice"),
        (train_part("user_id:float\titem_id:token", "1\ta"), "must have a column user_id:token"),
        (train_part("user_id:token\titem_id:text", "ann\ta"), "must have a header such as"),
        (train_part("user_id:token", "ann"), "must have a column item_id:token"),
        (lambda p: (p / "micro.train.inter").write_bytes(HEADER.encode() + b"\nann\t\xff\n"), "not UTF-8 text"),
        (lambda p: (p / "micro.train.inter").write_bytes(b""), "must have a header such as"),
        (
            lambda p: (p / "micro.yaml").write_text("benchmark_filename: [train, test]\n"),
            "train, validation and test part",
        ),
        (
            lambda p: (p / "micro.yaml").write_text("benchmark_filename: [train, train, test]\n"),
            "train, validation and test part",
        ),
        (
            lambda p: (p / "micro.yaml").write_text("benchmark_filename: []\n"),
            "train, validation and test part",
        ),
        (
            lambda p: (p / "micro.yaml").write_text("benchmark_filename: [train, valid, test]\nencoding: foo\n"),
            "'foo' is no encoding of text",
        ),
        (
            lambda p: (p / "micro.yaml").write_text("benchmark_filename: [train, valid, test]\nencoding: hex\n"),
            "'hex' is no encoding of text",
        ),
    ],
)
def test_interactions(tmp_path, damage, sentence):
    folder = write_micro(tmp_path)
    damage(folder / "micro")
    with pytest.raises(UserError, match=sentence):
        open_micro(folder)


@pytest.mark.parametrize("bad", ["good", "nan(1)"])
def test_a_rating_that_is_no_number_is_named_with_its_line(tmp_path, bad):
    folder = write_micro(tmp_path)
    columns = {"inter": ["user_id", "item_id", "rating"]}
    write_parts(folder / "micro", "rating:float", lambda i: bad if i == 1 else "1")
    with pytest.raises(UserError, match=re.escape(f"line 3 is malformed: rating cannot be '{bad}'")):
        open_micro(folder, "BPR", load_col=columns)
    assert open_micro(folder, "BPR").dataset.inter_num == 13  # a column that is not loaded is not read


def test_a_short_line_is_malformed_but_an_empty_rating_is_missing(tmp_path):
    folder = write_micro(tmp_path)
    columns = {"inter": ["user_id", "item_id", "rating"]}
    write_parts(folder / "micro", "rating:float", lambda i: "" if i == 1 else "2")
    # RecBole fills a missing number with the mean of the others, here 2 everywhere.
    assert open_micro(folder, "BPR", load_col=columns).dataset.inter_feat["rating"].tolist() == [2.0] * 13
    train_part(f"{HEADER}\trating:float", "ann\ta\t1", "bob\tb")(folder / "micro")
    with pytest.raises(UserError, match="line 3 is malformed: it must have 3 columns"):
        open_micro(folder, "BPR", load_col=columns)


def test_a_user_named_na_survives_beside_a_sequence(tmp_path):
    folder = write_micro(tmp_path)
    write_parts(folder / "micro", "tags:token_seq", lambda i: "x y")
    file = folder / "micro" / "micro.train.inter"
    file.write_text(file.read_text().replace("dot", "NA"))
    users = open_micro(folder, "BPR").dataset.field2id_token["user_id"]
    assert sorted(users) == ["NA", "[PAD]", "ann", "bob", "cid", "dot", "eve"]


def test_sequences_are_read_as_recbole_reads_them(tmp_path):
    folder = write_micro(tmp_path)
    rows = [f"{token}\tred  blue\t1.5 2" for token in "abc"] + ["d\t\t"]
    header = "item_id:token\tcolours:token_seq\tsizes:float_seq"
    (folder / "micro" / "micro.item").write_text("\n".join([header, *rows]) + "\n")
    columns = {"inter": ["user_id", "item_id"], "item": ["item_id", "colours", "sizes"]}
    config = open_micro(folder, "BPR", load_col=columns).config
    ours, theirs = (kind(config) for kind in (MultimodalDataset, RecBoles))
    assert ours.field2seqlen["colours"] == 2 and ours.field2type == theirs.field2type
    tokens = [list(data.field2id_token["item_id"]) for data in (ours, theirs)]
    assert tokens[0] == tokens[1]
    for field in ("colours", "sizes"):
        assert ours.field2seqlen[field] == theirs.field2seqlen[field]
        assert [list(row) for row in ours.item_feat[field][1:]] == [list(row) for row in theirs.item_feat[field][1:]]


def test_items_may_lack_attributes(tmp_path):
    folder = write_micro(tmp_path)
    rows = ["a\tNA\t1", "b\t\t", 'c\ta "red" one\t3', "d\tblue\t5"]
    (folder / "micro" / "micro.item").write_text("\n".join(["item_id:token\ttitle:token\tyear:float", *rows]) + "\n")
    columns = {"inter": ["user_id", "item_id"], "item": ["item_id", "title", "year"]}
    data = open_micro(folder, "BPR", load_col=columns).dataset
    titles = data.field2id_token["title"]
    found = {
        token: (titles[data.item_feat["title"][i]], data.item_feat["year"][i].item())
        for i, token in enumerate(data.field2id_token["item_id"])
        if i
    }
    assert found == {"a": ("NA", 1), "b": ("[PAD]", 3), "c": ('a "red" one', 3), "d": ("blue", 5)}


def test_a_byte_order_mark_is_passed_over(tmp_path):
    folder = write_micro(tmp_path)
    file = folder / "micro" / "micro.train.inter"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert open_micro(folder).dataset.inter_num == 13


def test_filtering_that_leaves_nothing(tmp_path):
    folder = write_micro(tmp_path)
    (folder / "micro" / "micro.yaml").write_text("modalities: [text]\n")
    train_part(HEADER, *(row.replace(" ", "\t") for row in TRAIN))(folder / "micro")
    (folder / "micro" / "micro.train.inter").rename(folder / "micro" / "micro.inter")
    with pytest.raises(UserError, match="filtering leaves nothing of micro"):
        open_micro(folder, user_inter_num_interval="[99,inf)")


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["a\t1 2", "b\t1 x"], "line 3 is malformed"),
        (["a\t1 2", "b"], "line 3 is malformed"),
        (["a\t1 2", "b\t1 2 3"], "line 3 has 3 numbers, the first line 2"),
        (["a\t1 2", "a\t3 4"], "line 3 names item 'a' a second time"),
        (["a\t1 2", "b\t1 nan"], "micro.text hold NaN or infinite numbers, first for item 'b'"),
        (["x\t1 2", "y\t3 4"], "names no item of micro"),
        ([], "holds no items"),
    ],
)
def test_inline_vectors(tmp_path, lines, sentence):
    folder = write_micro(tmp_path)
    (folder / "micro" / "micro.text.npy").unlink()
    (folder / "micro" / "micro.text").write_text("\n".join(["item_id:token\ttext:float_seq", *lines]) + "\n")
    with pytest.raises(UserError, match=sentence):
        open_micro(folder)


def test_a_float64_beyond_float32_is_refused(tmp_path):
    folder = write_micro(tmp_path)
    np.save(folder / "micro" / "micro.text.npy", np.full((5, 2), 1e300))
    with pytest.raises(UserError, match="NaN or infinite numbers, first for item 'a'"):
        open_micro(folder)


def save(**arrays):
    return lambda path: np.savez(path, **{**GRAPH, **arrays})


def cut(path):
    np.savez(path, **GRAPH)
    path.write_bytes(path.read_bytes()[:200])


def scramble(path):
    np.savez_compressed(path, **GRAPH)
    content = bytearray(path.read_bytes())
    content[60:75] = b"\xff" * 15
    path.write_bytes(bytes(content))


def bare_array(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda path: None, "there is no item graph"),
        (cut, "is damaged"),
        (scramble, "is damaged"),
        (bare_array, "is damaged"),
        (lambda path: path.write_bytes(b""), "is damaged"),
        (lambda path: np.savez(path, idx=GRAPH["idx"]), "does not hold the arrays idx and cos"),
        (save(cos=np.full((5, 2), None)), "holds pickled objects"),
        (save(cos=np.full((5, 2), "x")), "real numbers"),
        (save(cos=np.ones((5, 3))), "of one 2-D shape"),
        (save(idx=np.zeros((5, 2))), "whole numbers"),
        (save(idx=np.zeros((5, 0), dtype=int), cos=np.zeros((5, 0))), "of one 2-D shape"),
        (save(idx=np.zeros((4, 2), dtype=int), cos=np.ones((4, 2))), "has 4 rows, but there are 5 items"),
        (save(idx=np.full((5, 2), 5)), "names neighbours that are no items"),
        (save(idx=np.full((5, 2), -2)), "names neighbours that are no items"),
        (save(cos=np.array([[1, 1], [1, np.nan], [1, 1], [1, 1], [1, 1]])), "first in row 1"),
    ],
)
def test_graphs(tmp_path, write, sentence):
    folder = write_micro(tmp_path)
    settings = "benchmark_filename: [train, valid, test]\nmodalities: [text]\nitem_graphs: [text]\n"
    (folder / "micro" / "micro.yaml").write_text(settings)
    write(folder / "micro" / "micro.text.knn.npz")
    with pytest.raises(UserError, match=sentence):
        open_micro(folder).dataset.item_graph("text")


def test_blank_lines_are_left_out_and_counted(tmp_path):
    (tmp_path / "t").write_text('a\tb\n1\tNA\n\n"2\t\n\n')
    table = read_table(tmp_path / "t")
    assert table.to_numpy().tolist() == [["1", "NA"], ['"2', ""]]
    assert table.index.tolist() == [0, 2]  # lines 2 and 4


def test_held_out_users_and_repeated_interactions_are_counted(tmp_path, caplog):
    folder = write_micro(tmp_path, train=[*TRAIN, TRAIN[0], TEST[0]])
    settings = {"data_path": str(folder), "topk": [1, 2], "valid_metric": "Recall@2"}
    with caplog.at_level("WARNING"):
        open_session(Config("BPR", "micro", settings=settings), tmp_path / "run")
    said = [record.getMessage() for record in caplog.records]
    assert sum("1 user has held-out interactions only" in line for line in said) == 1
    assert sum("1 interactions of micro repeat a user and an item" in line for line in said) == 1
    (both,) = (line for line in said if "interactions, too" in line)
    assert "1 of 3 held-out test interactions of micro are train interactions" in both and "rm_dup_inter" in both


def test_columns_and_ids_of_a_table(tmp_path):
    (tmp_path / "t").write_text("u\tt\ti\nb\t1\tx\na\t2\ty\n\t\t\n\nb\t3\t\n")
    table = read_table(tmp_path / "t", columns=["i", "u"], ids=["u"])
    assert table.index.tolist() == [0, 1, 2, 4] and list(table) == ["u", "i"]
    assert table["u"].tolist() == ["b", "a", "", "b"] and table["u"].cat.codes.tolist() == [0, 1, 2, 0]
    assert table["i"].tolist() == ["x", "y", "", ""]


def test_a_line_beyond_the_longest_is_refused(tmp_path, monkeypatch):
    (tmp_path / "t").write_text("a\tb\n" + "1" * 1000 + "\tx\n")
    monkeypatch.setattr(atomic, "_LONGEST", 200)
    with pytest.raises(UserError, match="has a line of more than 200 bytes"):
        read_table(tmp_path / "t")


def test_parts_with_their_tokens_are_numbered_as_recbole_does(tmp_path):
    folder = write_micro(tmp_path)
    lines = ["item_id:token\tkind:token", "z\tn", "a\tm", "c\t", "d\tn"]
    (folder / "micro" / "micro.item").write_text("\n".join(lines) + "\n")
    columns = {"inter": ["user_id", "item_id"], "item": ["item_id", "kind"]}
    config = open_micro(folder, "BPR", load_col=columns).config
    ours, theirs = (kind(config) for kind in (MultimodalDataset, RecBoles))
    for field in ("user_id", "item_id", "kind"):
        assert ours.field2id_token[field].tolist() == theirs.field2id_token[field].tolist()
        assert ours.field2token_id[field] == theirs.field2token_id[field]
    assert ours.inter_feat.to_dict("list") == theirs.inter_feat.to_dict("list")
    assert ours.file_size_list == theirs.file_size_list and ours.field2seqlen == theirs.field2seqlen


@pytest.mark.parametrize("content", ["", "\n", "\nx\n"])
def test_a_file_without_a_header_is_refused(tmp_path, content):
    (tmp_path / "x.inter").write_text(content)
    with pytest.raises(UserError, match="has no header in its first line"):
        read_table(tmp_path / "x.inter")
