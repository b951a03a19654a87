"""``recbole_cadmr.prepare`` and ``train`` as programs call them: what they refuse, and how values become options."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import recbole_cadmr
from recbole_cadmr.errors import UserError

PAIRS = [("a", "x"), ("a", "y"), ("a", "z"), ("b", "x"), ("b", "y"), ("b", "z")]
WITHOUT = {"text_model": "none", "image_model": "none", "k_core": 1}


@pytest.fixture
def files(tmp_path):
    """Interactions in two files, items and their vectors."""
    for name, pairs in (("one.csv", PAIRS[:3]), ("two.csv", PAIRS[3:])):
        (tmp_path / name).write_text("user_id,item_id\n" + "".join(f"{user},{item}\n" for user, item in pairs))
    (tmp_path / "items.csv").write_text("item_id,title,colour\nx,A,red\ny,B,blue\nz,C,red\n")
    np.save(tmp_path / "shape.npy", np.eye(3, dtype="float32"))
    return tmp_path


def test_lists_mappings_and_flags_become_options(files, capsys):
    inter = [files / "one.csv", files / "two.csv"]
    vectors = {"shape": files / "shape.npy"}
    given = {"items": files / "items.csv", "vectors": vectors, "strict": True, "min_rating": None, **WITHOUT}
    folder = recbole_cadmr.prepare("files", inter=inter, **given, keep_columns=["colour"], data_path=files, name="shop")
    assert folder == files / "shop" and (folder / "shop.shape.npy").is_file()
    parts = [(folder / f"shop.{part}.inter").read_text().splitlines()[1:] for part in ("train", "valid", "test")]
    assert sorted(tuple(line.split("\t")[:2]) for part in parts for line in part) == PAIRS
    header, *rows = (folder / "shop.item").read_text().splitlines()
    assert "colour" in header and rows[0].startswith("x\t") and "red" in rows[0]
    assert "wrote" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "options", "refusal"),
    [
        ("file", {}, "there is no source 'file'; did you mean files"),
        ("files", {"inter": "one.csv", "vector": {}}, "there is no option 'vector'; did you mean vectors"),
        ("files", {}, "the following arguments are required: `inter`$"),
        ("files", {"inter": "one.csv", "k_core": "many"}, "`k_core` must be a whole number, not 'many'$"),
        ("files", {"inter": []}, "`inter` is empty; give it a value, or leave it out$"),
        ("files", {"inter": "one.csv", "vectors": {"text": "t.npy"}}, "`vectors` needs `items`"),
    ],
)
def test_refusals_speak_of_arguments(source, options, refusal):
    with pytest.raises(UserError, match=refusal):
        recbole_cadmr.prepare(source, **options)


@pytest.mark.parametrize(
    ("call", "refusal"),
    [
        (lambda: recbole_cadmr.train("BPR", epoch=3), "there is no setting 'epoch'; did you mean epochs"),
        (lambda: recbole_cadmr.train("BPR", settings={"epochs": 2}, epochs=3), "`epochs` is given twice"),
        (lambda: recbole_cadmr.train("BPR", Path("here/shop")), "there is no folder .*/here"),
        (
            lambda: recbole_cadmr.train("BPR", Path("here/shop"), data_path="there"),
            "the data set .*/here/shop is not in data_path .there.; leave that out",
        ),
        (lambda: recbole_cadmr.run_benchmark("BPR", ["synthetic"], 1, "out"), r"given in lists, as in \['BPR'\]"),
        (lambda: recbole_cadmr.run_benchmark(["BPR"], ["synthetic"], 0, "out"), "at least one seed"),
    ],
)
def test_what_train_and_run_benchmark_refuse(call, refusal):
    with pytest.raises(UserError, match=refusal):
        call()
