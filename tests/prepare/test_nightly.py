"""Prepared again the next night: only what is new is encoded, and the data set is what it would be anew."""

from __future__ import annotations

from recbole_cadmr.cli.main import main
from tests.extract.networks import minilm

TITLES = {"a": "Soft blanket", "b": "Warm quilt", "c": "Steel screwdriver", "d": "Wooden train"}


def prepare(folder, name, titles, *options):
    (folder / "orders.csv").write_text(
        "user_id,item_id\n" + "".join(f"{user},{item}\n" for user in "uvw" for item in titles)
    )
    (folder / "items.csv").write_text(
        "item_id,title\n" + "".join(f"{item},{title}\n" for item, title in titles.items())
    )
    files = ["--inter", str(folder / "orders.csv"), "--items", str(folder / "items.csv")]
    where = ["--name", "shop", "--data_path", str(folder / name), "--k_core", "1", "--graph", "2"]
    assert main(["prepare", "files", *files, *where, "--text_model", str(minilm()), *options]) == 0
    return folder / name / "shop"


def test_only_new_and_changed_texts_are_encoded(tmp_path, capsys):
    prepare(tmp_path, "monday", TITLES)
    assert "note: text vectors: 4 encoded, 0 kept from before\n" in capsys.readouterr().err
    titles = {**TITLES, "b": "Very warm quilt", "e": "Soft blanket", "f": "Rubber duck"}
    tuesday = prepare(tmp_path, "tuesday", titles)
    assert "note: text vectors: 2 encoded, 4 kept from before\n" in capsys.readouterr().err
    assert "| text vectors | 2 encoded, 4 kept from before |" in (tuesday / "dataset_card.md").read_text()
    anew = prepare(tmp_path, "anew", titles, "--vector_cache", "0")
    assert "note: text vectors: 6 encoded, 0 kept from before\n" in capsys.readouterr().err
    told = {"dataset_card.md", "shop.html"}  # how it was made stands there
    names = {path.name for path in tuesday.iterdir()} - told
    assert names == {path.name for path in anew.iterdir()} - told
    assert {name for name in names if (tuesday / name).read_bytes() != (anew / name).read_bytes()} == set()
    assert not list((tmp_path / "anew").glob(".*"))


def test_a_cache_of_a_size_that_is_none(tmp_path, capsys):
    assert main(["prepare", "files", "--inter", "orders.csv", "--vector_cache", "-1"]) == 2
    assert "--vector_cache must be at least 0" in capsys.readouterr().err
