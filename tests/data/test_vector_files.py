"""Vectors from files of other tools: every format gives the same numbers to the same items; errors are a sentence."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from recbole_cadmr.data.prepare.skipped_rows import SkippedRows
from recbole_cadmr.data.vector_files import arrays, block, tables
from recbole_cadmr.data.vector_files.block import Reading
from recbole_cadmr.data.vector_files.by_item import vectors_of_items
from recbole_cadmr.data.vector_files.files import blocks_of
from recbole_cadmr.data.vector_files.row_ids import RowIds, in_order
from recbole_cadmr.errors import UserError

ITEMS = ["a", "b", "c", "d"]
# c has none, b has one of zeros, x and y are no items.
GIVEN = {"x": [9.0, 9.5, 9], "d": [1.5, -2, 3], "b": [0, 0, 0], "a": [0.25, 0.5, 1], "y": [8, 8, 8]}
MATRIX, IDS = np.array([*GIVEN.values()], dtype=np.float32), [*GIVEN]


def read(path, items=ITEMS, row_ids=None, **reading):
    """Vectors by item, and the notes."""
    skipped, target = SkippedRows(), path.parent / "out.npy"
    blocks = blocks_of(path, Reading(**reading))
    features = vectors_of_items("audio", path, blocks, row_ids or RowIds.by_order(items), items, target, skipped)
    rows = np.load(target)
    assert rows.shape[0] == len(items) and features.at is not None
    assert not rows[np.setdiff1d(np.arange(len(items)), features.at)].any()
    return dict(zip(features.items, rows[features.at].tolist())), skipped.lines(), rows.dtype


def write_ids(folder, ids=IDS):
    path = folder / "ids.txt"
    path.write_text("\n".join(ids) + "\n")
    return RowIds.by_file(path, "item_id")


def lists(folder):
    pd.DataFrame({"item_id": IDS, "v": MATRIX.tolist()}).to_parquet(folder / "v.parquet")
    return folder / "v.parquet"


def dimensions(folder):
    frame = pd.DataFrame(MATRIX, columns=["d0", "d1", "d2"]).assign(item_id=IDS).set_index("item_id")
    frame.to_parquet(folder / "v.parquet")
    return folder / "v.parquet"


def separated(folder):
    pd.DataFrame(MATRIX, columns=["d0", "d1", "d2"]).assign(item_id=IDS).to_csv(folder / "v.csv", index=False)
    return folder / "v.csv"


def one_cell(folder):
    rows = [f"{name}\t[{', '.join(map(str, row))}]" for name, row in GIVEN.items()]
    (folder / "v.tsv.gz").write_bytes(gzip.compress("\n".join(["item_id\tvector", *rows, ""]).encode()))
    return folder / "v.tsv.gz"


def named_arrays(folder):
    np.savez(folder / "v.npz", **{name: np.array(row) for name, row in GIVEN.items()})
    return folder / "v.npz"


def matrix_and_ids(folder):
    np.savez(folder / "v.npz", names=np.array(IDS), rows=MATRIX)
    return folder / "v.npz"


def named_tensors(folder):
    save_file({name: np.array([row], dtype=np.float32) for name, row in GIVEN.items()}, folder / "v.safetensors")
    return folder / "v.safetensors"


def ducho(folder):
    place = folder / "audio" / "transformers" / "wav2vec2-base" / "3"
    place.mkdir(parents=True)
    for name, row in GIVEN.items():
        np.save(place / f"{name}.npy", np.array([row], dtype=np.float32))
    return folder / "audio"


FORMATS = [lists, dimensions, separated, one_cell, named_arrays, matrix_and_ids, named_tensors, ducho]


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("numbers", [4, 2**21])
def test_every_format_that_names_ids(tmp_path, monkeypatch, write, numbers):
    """In one block, and in blocks of a row."""
    for module in (block, arrays, tables):
        monkeypatch.setattr(module, "NUMBERS", numbers)
    found, notes, dtype = read(write(tmp_path))
    assert found == {"a": GIVEN["a"], "d": GIVEN["d"]} and dtype == np.float32
    first, *others = notes
    assert first.startswith("vectors of audio whose id is no item of the data set: 2 (") and "x" in first
    assert others == [
        "items whose audio vector is zeros, so that they lack audio: 1",
        "items without a vector, which lack audio: 1",
    ]


@pytest.mark.parametrize(
    "array",
    [
        MATRIX, MATRIX.astype(">f8"), np.asfortranarray(MATRIX), MATRIX.astype(np.float16),
        (MATRIX * 4).astype(np.int16), (MATRIX * 4 + 8).astype(">u4"),
    ],
    ids=["float32", "big-endian", "Fortran", "float16", "int16", "unsigned"],
)  # fmt: skip
def test_rows_of_any_type_and_layout_by_a_file_of_ids(tmp_path, array):
    np.save(tmp_path / "v.npy", array)
    found, _, dtype = read(tmp_path / "v.npy", row_ids=write_ids(tmp_path))
    expected = {name: array.astype(float)[IDS.index(name)].tolist() for name in ("a", "b", "d")}
    assert found == {name: row for name, row in expected.items() if any(row)}
    assert dtype == (np.float16 if array.dtype == np.float16 else np.float32)


def test_rows_without_ids_are_in_the_order_of_the_items(tmp_path):
    items = in_order({"10", "9", "0", "2"})
    assert items == ["0", "2", "9", "10"] and in_order({"10", "9", "x"}) == ["10", "9", "x"] == in_order(
        ["x", "9", "10"]
    )
    assert in_order({"10", "9", "07"}) == ["07", "10", "9"]
    np.save(tmp_path / "v.npy", np.array([[1, 1], [2, 2], [3, 3], [4, 4]], dtype=np.float32))
    found, notes, _ = read(tmp_path / "v.npy", items)
    assert found == {"0": [1, 1], "2": [2, 2], "9": [3, 3], "10": [4, 4]}
    assert notes == ["v.npy names no ids: its rows were taken as those of the items '0', '2', '9', ..., '10'"]
    np.save(tmp_path / "n.npy", np.arange(12.0)[:, None] + [0, 1])
    found, notes, _ = read(tmp_path / "n.npy", items, RowIds.by_number(items))
    assert found == {name: [float(name), float(name) + 1] for name in items}
    assert notes == ["vectors of audio whose id is no item of the data set: 8 (1; 3; 4; ...)"]


def test_ids_in_a_table_or_an_array(tmp_path):
    np.save(tmp_path / "v.npy", np.array([[1.0], [2.0]]))
    (tmp_path / "ids.csv").write_text("item,name\nb,x\na,y\n")
    np.save(tmp_path / "ids.npy", np.array(["b", "a"]))
    (tmp_path / "micro.audio").write_text("item_id:token\nb\na\n")
    for file, column in (("ids.csv", "item"), ("ids.npy", "item_id"), ("micro.audio", "item_id")):
        found, *_ = read(tmp_path / "v.npy", row_ids=RowIds.by_file(tmp_path / file, column))
        assert found == {"a": [2.0], "b": [1.0]}


def test_a_matrix_in_safetensors_of_half_precision_and_one_with_numbers_as_ids(tmp_path):
    save_tensors({"rows": torch.tensor(MATRIX).bfloat16()}, tmp_path / "v.safetensors")
    found, *_ = read(tmp_path / "v.safetensors", row_ids=write_ids(tmp_path))
    assert found == {"a": GIVEN["a"], "d": GIVEN["d"]}
    save_file({"ids": np.array([7, 3]), "rows": MATRIX[:2]}, tmp_path / "w.safetensors")
    found, *_ = read(tmp_path / "w.safetensors", ["3", "5"])
    assert found == {"3": GIVEN["d"]}


def test_several_vectors_of_an_item_become_what_the_option_says(tmp_path):
    frames = np.array([[[1.0, 2], [3, 6]]], dtype=np.float32)
    np.save(ducho(tmp_path) / "transformers/wav2vec2-base/3/a.npy", frames)
    with pytest.raises(UserError, match=r"a\.npy holds 2 vectors \(shape \(1, 2, 2\)\), not one; give --pool mean"):
        read(tmp_path / "audio")
    np.savez(tmp_path / "v.npz", a=frames, b=frames[0], d=frames[:, 0])
    assert read(tmp_path / "v.npz", pool="mean")[0] == {"a": [2, 4], "b": [2, 4], "d": [1, 2]}
    assert read(tmp_path / "v.npz", pool="first")[0] == {"a": [1, 2], "b": [1, 2], "d": [1, 2]}


@pytest.mark.parametrize("numbers", [4, 2**21])
def test_several_vectors_a_row_of_one_array(tmp_path, monkeypatch, numbers):
    for module in (block, arrays):
        monkeypatch.setattr(module, "NUMBERS", numbers)
    frames = np.array([[[1.0, 2], [3, 6]], [[0, 1], [0, 3]]], dtype=np.float16)
    np.save(tmp_path / "v.npy", frames)
    np.savez(tmp_path / "v.npz", frames)
    np.savez(tmp_path / "ids.npz", ids=np.array(["a", "b"]), v=frames)
    save_file({"v": frames}, tmp_path / "v.safetensors")
    for name in ("v.npy", "v.npz", "ids.npz", "v.safetensors"):
        with pytest.raises(UserError, match=r"holds 2 vectors a row \(shape \(\d, 2, 2\)\), not one; give --pool mean"):
            read(tmp_path / name, ["a", "b"])
        assert read(tmp_path / name, ["a", "b"], pool="mean")[0] == {"a": [2, 4], "b": [0, 2]}
        assert read(tmp_path / name, ["a", "b"], pool="first")[0] == {"a": [1, 2], "b": [0, 1]}


@pytest.mark.parametrize("write", [lists, separated, matrix_and_ids])
def test_pooling_one_vector_a_row_is_refused(tmp_path, write):
    with pytest.raises(UserError, match="one vector a row, and --pool would do nothing; leave it out"):
        read(write(tmp_path), pool="mean")


def test_nothing_in_a_table_is_an_item_without_a_vector(tmp_path):
    pd.DataFrame({"item_id": ITEMS, "v": [None, [1.0], [], [2.0]]}).to_parquet(tmp_path / "v.parquet")
    assert read(tmp_path / "v.parquet")[0] == {"b": [1.0], "d": [2.0]}
    pd.DataFrame({"item_id": ITEMS, "v": [None, 1, None, 2], "w": [None, 3, None, 4]}).to_parquet(
        tmp_path / "w.parquet"
    )
    assert read(tmp_path / "w.parquet")[0] == {"b": [1, 3], "d": [2, 4]}
    (tmp_path / "v.csv").write_text("item_id;v;w\na;;\nb;1e1;2\n")
    assert read(tmp_path / "v.csv")[0] == {"b": [10, 2]}


def test_a_column_of_vectors_beside_others(tmp_path):
    frame = pd.DataFrame({"item_id": [1, 2], "title": ["x", "y"], "v": [[1.0], [2.0]], "w": [[3.0], [4.0]]})
    frame.to_parquet(tmp_path / "v.parquet")
    assert read(tmp_path / "v.parquet", ["1", "2"], vector_column="w")[0] == {"1": [3.0], "2": [4.0]}
    with pytest.raises(UserError, match="has vectors in v, w; name one of them with --vector_column"):
        read(tmp_path / "v.parquet", ["1"])


class Hostile:
    def __reduce__(self):
        return (Path("hacked").touch, ())


def bad(folder, name, content):
    """A file of ``name`` with this content."""
    path = folder / name
    if name.endswith(".npy"):
        np.save(path, content, allow_pickle=True)
    elif name.endswith(".npz"):
        np.savez(path, **content)
    elif name.endswith(".parquet"):
        pd.DataFrame(content).to_parquet(path)
    elif name.endswith(".safetensors"):
        save_file(content, path)
    else:
        path.write_text(content)
    return path


F = np.float32
WRONG = [
    ("v.npy", F([[1, 2], [np.nan, 2], [1, 2], [1, 2]]), r"the vector of 'b' holds NaN or infinite numbers"),
    ("v.npy", np.full((4, 2), 1e300), r"the vector of 'a' holds NaN or infinite numbers \(as float32\)"),
    ("v.npy", np.array([Hostile()]), "holds pickled objects, which may run code and are not loaded"),
    ("v.npz", {"a": np.array([Hostile()])}, "holds pickled objects, which may run code and are not loaded"),
    ("v.npy", F([[1]] * 3), r"has 3 rows, but the data set has 4 items, 'a', 'b', 'c', \.\.\., 'd': without --ids it"),
    ("v.npy", F([[0]] + [[1]] * 4), "its first row is all zeros, as of a padding item: leave it out"),
    ("v.npy", F([[0]] * 4), "holds only zeros for the items of the data set"),
    ("v.npy", F([1, 2, 3, 4]), r"must hold a 2-D array of numbers, a vector a row, not float32 of shape \(4,\)"),
    ("v.npy", np.zeros((0, 3)), r"must hold a 2-D array .* of shape \(0, 3\)"),
    ("v.npy", np.array([["a", "b"]]), "must hold a 2-D array of numbers, a vector a row, not <U1"),
    ("v.npz", {"a": F([1, 2]), "b": F([1])}, "the array 'b' of .* has 1 numbers, the first vector 2"),
    ("v.npz", {"a": F([1]), "b": np.array(["x"]), "c": F([1])}, "the array 'b' of .* must hold a vector of numbers"),
    ("v.npz", {}, "holds no arrays"),
    ("v.npz", {"p": F([1]), "q": F([2]), "r": F([3]), "s": F([4])}, "'p', 'q', 'r' there and 'a', 'b', 'c' here"),
    ("v.safetensors", {"a": F([1, 2]), "b": F([1])}, "the tensor 'b' of .* has 1 numbers"),
    ("v.safetensors", {"a": F([1, 2])}, "must hold a matrix, a vector a row, or a tensor for each item"),
    ("v.parquet", {"item_id": ["a", "b"], "v": [[1.0], [1.0, 2.0]]}, "of 'b' in .* has 2 numbers, the first one 1"),
    ("v.parquet", {"item_id": ["a", "a"], "v": [1.0, 2.0]}, "names 'a' twice; it needs one vector of each item"),
    ("v.parquet", {"item_id": ["a", None], "v": [1.0, 2.0]}, "has a row without an id"),
    ("v.parquet", {"id": ["a"], "v": [1.0]}, "has no column 'item_id'.*; it has id, v"),
    ("v.parquet", {"item_id": ["a"], "title": ["x"]}, r"the column 'title' \(.*string\) holds no numbers"),
    ("v.parquet", {"item_id": ["a"], "v": [["x"]]}, "holds lists of .*string, not of numbers"),
    ("v.parquet", {"item_id": ["a"]}, "has no column but 'item_id', and so no vectors"),
    ("v.parquet", {"item_id": ["a"], "v": [1.0], "w": [None]}, r"the column 'w' \(null\) holds no numbers"),
    ("v.parquet", {"item_id": ["a", "b"], "v": [1.0, None], "w": [1.0, 1.0]}, "the vector of 'b' holds NaN"),
    ("v.csv", "item_id,v,w\na,1,2\nb,1\n", "line 3 is malformed: it has 2 columns instead of 3"),
    ("v.csv", "item_id,v,w\na,1,2\nb,1,x\n", "the vector of 'b' in .* holds something other than numbers"),
    ("v.csv", "item_id,v,w\na,1,\n", "the vector of 'a' in .* holds something other than numbers"),
    ("v.csv", "item_id,v\na,1 2\nb,1\n", "the vector of 'b' in .* has 1 numbers, the first one 2"),
    ("v.csv", "item_id,v\n", "holds no vectors"),
    ("v.csv", "", "is empty"),
    ("v.tsv", "item_id\ta\n", "holds no vectors"),
    ("v.txt", "", r"must be a folder of \.npy files, or one of \.npy"),
    ("v.npy.parquet", {"item_id": [], "v": []}, "holds no numbers|holds no vectors"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "said"), WRONG)
def test_what_is_wrong_is_one_sentence(tmp_path, monkeypatch, name, content, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=said):
        read(bad(tmp_path, name, content))
    assert not Path("hacked").exists() and not (tmp_path / "out.npy").exists()


def test_files_that_are_damaged_missing_or_hostile(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("v.npy", "v.npz", "v.safetensors", "v.parquet"):
        for content in (b"", b"junk" * 100, pickle.dumps(Hostile())):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(UserError, match=rf"v\.{name[2:]} is (truncated, )?damaged"):
                read(tmp_path / name)
        (tmp_path / name).unlink()
        with pytest.raises(UserError, match=f"there is no file .*{name}"):
            read(tmp_path / name)
    assert not Path("hacked").exists()
    with pytest.raises(UserError, match="names its items itself; leave out --ids"):
        read(lists(tmp_path), row_ids=write_ids(tmp_path))
    with pytest.raises(UserError, match="--vector_column is for tables"):
        read(named_arrays(tmp_path), vector_column="v")


def test_ids_that_do_not_fit(tmp_path):
    np.save(tmp_path / "v.npy", MATRIX)
    with pytest.raises(UserError, match="has 5 rows, but .*ids.txt names 4 items"):
        read(tmp_path / "v.npy", row_ids=write_ids(tmp_path, IDS[:4]))
    with pytest.raises(UserError, match="names 'd' twice"):
        read(tmp_path / "v.npy", row_ids=write_ids(tmp_path, ["d", "d", *IDS[:3]]))
    with pytest.raises(UserError, match="has 5 rows, but items are numbered up to 5"):
        read(tmp_path / "v.npy", ["1", "5"], RowIds.by_number(["1", "5"]))
    with pytest.raises(UserError, match="one is called 'a'"):
        RowIds.by_number(ITEMS)
    with pytest.raises(UserError, match="if row i, from 0 on, is that of item i, give --by_number"):
        read(tmp_path / "v.npy", ["1", "2"])


def test_folders_of_several_models_or_none(tmp_path):
    place = ducho(tmp_path)
    (place / "transformers" / "wav2vec2-base" / "4").mkdir()
    np.save(place / "transformers" / "wav2vec2-base" / "4" / "a.npy", F([[1]]))
    with pytest.raises(UserError, match=r"holds vectors in 2 folders; name one of them: .*/3, .*/4"):
        read(place)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no .npy files"):
        read(tmp_path / "empty")
