"""MicroLens, MovieLens, the Amazon release of 2023 and a user's own files, in their exact formats."""

from __future__ import annotations

import gzip
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from recbole_cadmr.cli.main import main
from tests.local_server import serve


def prepare(source, *arguments):
    return main(["prepare", source, *map(str, arguments), "--text_model", "none"])


def interactions(folder):
    """All interactions of a data set, sorted, each with its part."""
    rows = []
    for part in ("train", "valid", "test"):
        frame = pd.read_csv(folder / f"{folder.name}.{part}.inter", sep="\t", dtype=str)
        rows += [(*row, part) for row in frame.itertuples(index=False, name=None)]
    return sorted(rows)


def titles(folder):
    return dict(line.split("\t") for line in (folder / f"{folder.name}.item").read_text().splitlines()[1:])


def card(folder):
    return (folder / "dataset_card.md").read_text()


# MicroLens


def test_microlens_pairs_in_time_order(tmp_path):
    source = tmp_path / "raw"
    source.mkdir()
    (source / "MicroLens-50k_pairs.tsv").write_text("1\t10 11 12\n2\t11 10\nbroken\n3\t12\n")
    (source / "MicroLens-50k_titles.csv").write_text(
        'item,title\n10,"One, ""two"""\n11,Three  four\n12,\n99,Nobody\'s\n'
    )
    assert prepare("microlens", "--source", source, "--data_path", tmp_path) == 0
    folder = tmp_path / "microlens50k"
    assert interactions(folder) == [
        ("1", "10", "0", "train"), ("1", "11", "1", "valid"), ("1", "12", "2", "test"),
        ("2", "10", "1", "test"), ("2", "11", "0", "train"), ("3", "12", "0", "train"),
    ]  # fmt: skip
    assert titles(folder) == {"10": 'One, "two"', "11": "Three four"}
    assert "malformed lines of MicroLens-50k_pairs.tsv: 1 (line 3: it must hold a user, a tab and items)" in card(
        folder
    )


def test_microlens_pairs_with_timestamps(tmp_path):
    source = tmp_path / "raw"
    source.mkdir()
    (source / "MicroLens-50k_pairs.csv").write_text("user,item,timestamp\n1,10,300\n1,11,100\n1,12,200\n")
    (source / "MicroLens-50k_titles.csv").write_text("item,title\n10,a\n")
    assert prepare("microlens", "--source", source, "--data_path", tmp_path, "--name", "m") == 0
    assert interactions(tmp_path / "m") == [
        ("1", "10", "300", "2", "test"), ("1", "11", "100", "0", "train"), ("1", "12", "200", "1", "valid")
    ]  # fmt: skip


# MovieLens: the three layouts of its releases

RATINGS = [("1", "10", "5"), ("1", "20", "3"), ("1", "30", "4"), ("2", "10", "1"), ("2", "20", "4"), ("2", "30", "5")]


def write_movielens(folder, layout):
    folder.mkdir(parents=True)
    stamped = [(*row, str(978300760 + number)) for number, row in enumerate(RATINGS)]
    if layout == "100k":
        (folder / "u.data").write_text("".join("\t".join(row) + "\n" for row in stamped))
        flags = {"10": "0|0|0|1|1|1" + "|0" * 13, "20": "0" + "|0" * 18, "30": "0|1" + "|0" * 17}
        names = {"10": "Toy Story (1995)", "20": "Misérables, Les (1995)", "30": "GoldenEye (1995)"}
        lines = [f"{item}|{names[item]}|01-Jan-1995||http://x|{flags[item]}\n" for item in names]
        (folder / "u.item").write_bytes("".join(lines).encode("latin-1"))
    elif layout == "1m":
        (folder / "ratings.dat").write_text("".join("::".join(row) + "\n" for row in stamped))
        lines = ["10::Toy Story (1995)::Animation|Children's|Comedy\n", "20::Misérables, Les (1995)::\n",
                 "30::GoldenEye (1995)::Action\n"]  # fmt: skip
        (folder / "movies.dat").write_bytes("".join(lines).encode("latin-1"))
    else:
        (folder / "ratings.csv").write_text(
            "userId,movieId,rating,timestamp\n" + "".join(",".join(row) + "\n" for row in stamped)
        )
        (folder / "movies.csv").write_text(
            'movieId,title,genres\n10,Toy Story (1995),Animation|Children\'s|Comedy\n20,"Misérables, Les (1995)",'
            "(no genres listed)\n30,GoldenEye (1995),Action\n",
            encoding="utf-8",
        )
    return folder


@pytest.mark.parametrize("layout", ["100k", "1m", "25m"])
def test_movielens_layouts_give_one_data_set(tmp_path, layout):
    source = write_movielens(tmp_path / "raw" / "inside", layout)
    given = ["--source", source.parent, "--data_path", tmp_path, "--k_core", 1, "--split", "leave-last"]
    assert prepare("movielens", *given, "--name", "ml") == 0
    assert interactions(tmp_path / "ml") == [
        ("1", "10", "5", "978300760", "0", "train"), ("1", "20", "3", "978300761", "1", "valid"),
        ("1", "30", "4", "978300762", "2", "test"), ("2", "10", "1", "978300763", "0", "train"),
        ("2", "20", "4", "978300764", "1", "valid"), ("2", "30", "5", "978300765", "2", "test"),
    ]  # fmt: skip
    assert titles(tmp_path / "ml") == {
        "10": "Toy Story (1995)", "20": "Misérables, Les (1995)", "30": "GoldenEye (1995)"
    }  # fmt: skip
    assert prepare("movielens", *given, "--name", "good", "--min_rating", 4) == 0
    assert {row[:2] for row in interactions(tmp_path / "good")} == {("1", "10"), ("1", "30"), ("2", "20"), ("2", "30")}


def test_movielens_texts_hold_the_genres(tmp_path):
    from recbole_cadmr.data.prepare.movielens import read_movies
    from recbole_cadmr.data.prepare.skipped_rows import SkippedRows

    for layout, name in (("100k", "u.item"), ("1m", "movies.dat"), ("25m", "movies.csv")):
        folder = write_movielens(tmp_path / layout, layout)
        assert read_movies(folder / name, {"10", "20"}, SkippedRows())[1] == {
            "10": "Toy Story (1995) Animation Children's Comedy", "20": "Misérables, Les (1995)"
        }  # fmt: skip


def test_movielens_by_download_checks_the_archive(tmp_path, monkeypatch, capsys):
    source = write_movielens(tmp_path / "raw" / "ml-25m", "25m")
    with zipfile.ZipFile(tmp_path / "ml-25m.zip", "w") as archive:
        for path in source.iterdir():
            archive.write(path, f"ml-25m/{path.name}")
    monkeypatch.chdir(tmp_path)
    with serve() as site:
        site.files["/ml-25m.zip"] = (tmp_path / "ml-25m.zip").read_bytes()
        given = ["--size", "25m", "--download", "--base_address", site.address, "--k_core", 1]
        assert prepare("movielens", *given) == 2  # it is not the archive whose hash GroupLens states
        assert "its md5 is" in capsys.readouterr().err and not (tmp_path / "dataset" / "ml-25m").exists()
        monkeypatch.setattr(
            "recbole_cadmr.data.prepare.downloads.release_info",
            lambda release: {"base": "", "files": {"25m": {"path": "ml-25m.zip"}}, "licence": ""},
        )
        assert prepare("movielens", *given) == 0
    assert len(interactions(tmp_path / "dataset" / "ml-25m")) == 6


def test_movielens_that_is_not_there(tmp_path, capsys):
    assert prepare("movielens", "--data_path", tmp_path) == 2
    assert "give --source DIR" in capsys.readouterr().err
    assert prepare("movielens", "--source", tmp_path, "--data_path", tmp_path) == 2
    assert "u.data and u.item" in capsys.readouterr().err


# The Amazon release of 2023


def amazon_2023(folder, address):
    folder.mkdir(parents=True)
    reviews = [
        {"rating": 5.0, "title": "t", "text": "x", "images": [], "asin": f"V{item}", "parent_asin": f"P{item}",
         "user_id": f"U{user}", "timestamp": 1_600_000_000_000 + 10 * user + item, "helpful_vote": 0,
         "verified_purchase": True}
        for user in range(3) for item in range(3)
    ]  # fmt: skip
    meta = [
        {"main_category": "Baby", "title": "Soft blanket", "description": ["It is", "soft"], "price": "9",
         "images": [{"thumb": "x", "variant": "MAIN", "hi_res": None}, {"large": f"{address}/0.png"}],
         "store": "Brand", "categories": ["Baby", "Beds"], "parent_asin": "P0"},
        {"title": None, "images": {"large": [f"{address}/gone.jpg"]}, "store": None, "categories": [],
         "parent_asin": "P1"},
        {"title": "Other", "parent_asin": "P9", "images": []},
    ]  # fmt: skip
    for name, records in (("Baby_Products", reviews), ("meta_Baby_Products", meta)):
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    return folder


def test_amazon_2023_with_pictures_by_address(tmp_path, alexnet_weights):
    Image.new("RGB", (20, 30), (200, 10, 10)).save(tmp_path / "0.png")
    with serve() as site:
        source = amazon_2023(tmp_path / "raw", site.address)
        site.files["/0.png"] = (tmp_path / "0.png").read_bytes()
        given = ["--category", "Baby_Products", "--release", "2023", "--source", source, "--data_path", tmp_path]
        network = ["--image_model", "alexnet", "--weights", alexnet_weights]
        assert prepare("amazon", *given, "--k_core", 3, "--download", *network) == 0
    folder = tmp_path / "baby_products"
    assert len(interactions(folder)) == 9 and titles(folder) == {"P0": "Soft blanket"}
    assert (folder / "baby_products.image").read_text().splitlines() == ["item_id:token", "P0"]
    assert np.load(folder / "baby_products.image.npy").shape == (1, 4096)
    text = card(folder)
    assert "pictures that could not be fetched: 1 (P1: cannot fetch" in text and "items without a picture: 2" in text
    assert "alexnet, fc7" in text


def test_amazon_2023_texts(tmp_path):
    from recbole_cadmr.data.prepare.amazon import read_meta
    from recbole_cadmr.data.prepare.skipped_rows import SkippedRows

    source = amazon_2023(tmp_path / "raw", "http://x")
    _, texts, addresses = read_meta(source / "meta_Baby_Products.jsonl.gz", "2023", {"P0", "P1", "P2"}, SkippedRows())
    assert texts == {"P0": "Soft blanket Brand Baby Beds It is soft"}
    assert addresses == {"P0": "http://x/0.png", "P1": "http://x/gone.jpg"}


# A user's own files

OWN = pd.DataFrame(
    {
        "who": ["ann", "ann", "ann", "bob", "bob", "bob"],
        "what": ["007", "a b", "ü", "007", "a b", "ü"],
        "stars": [5, 4, 1, 5, 4.5, 4],
        "when": ["2020-01-01", "2020-01-02", "2020-01-03", "2021-01-03", "2021-01-02", "2021-01-01"],
    }
)
THINGS = pd.DataFrame(
    {"what": ["007", "a b", "other"], "name": ["Spy, film", "Letters", "No"], "more": ["x", "y", "z"]}
)


def write_table(frame, path):
    writers = {
        ".csv": lambda: frame.to_csv(path, index=False),
        ".tsv": lambda: frame.to_csv(path, index=False, sep="\t"),
        ".gz": lambda: frame.to_csv(path, index=False),
        ".jsonl": lambda: frame.to_json(path, orient="records", lines=True),
        ".parquet": lambda: frame.to_parquet(path),
    }
    writers[path.suffix]()
    return path


COLUMNS = ["--user_column", "who", "--item_column", "what", "--title_column", "name"]


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz", "jsonl", "parquet"])
def test_own_files_of_every_format_give_one_data_set(tmp_path, ending):
    inter, items = write_table(OWN, tmp_path / f"shop.{ending}"), write_table(THINGS, tmp_path / f"things.{ending}")
    given = ["--inter", inter, "--items", items, *COLUMNS, "--rating_column", "stars", "--time_column", "when"]
    assert prepare("files", *given, "--data_path", tmp_path / "dataset", "--k_core", 1, "--split", "leave-last") == 0
    folder = tmp_path / "dataset" / "shop"
    day = 86_400
    new_year = 1_577_836_800
    assert interactions(folder) == [
        ("ann", "007", "5", str(new_year), "0", "train"),
        ("ann", "a b", "4", str(new_year + day), "1", "valid"),
        ("ann", "ü", "1", str(new_year + 2 * day), "2", "test"),
        ("bob", "007", "5", str(new_year + 368 * day), "2", "test"),
        ("bob", "a b", "4.5", str(new_year + 367 * day), "1", "valid"),
        ("bob", "ü", "4", str(new_year + 366 * day), "0", "train"),
    ]
    assert titles(folder) == {"007": "Spy, film", "a b": "Letters"}
    assert "items that are not among --items: 1" in card(folder)


def test_own_files_with_malformed_rows(tmp_path, capsys):
    inter = tmp_path / "shop.csv"
    inter.write_text("user_id,item_id,stars\na,x,5\na,y\na,z,5,6\n,x,5\nb,x,good\nb,y,3\n")
    given = ["--inter", inter, "--data_path", tmp_path / "dataset", "--k_core", 1, "--rating_column", "stars"]
    assert prepare("files", *given) == 0
    folder = tmp_path / "dataset" / "shop"
    assert [row[:2] for row in interactions(folder)] == [("a", "x"), ("b", "y")]
    text = card(folder)
    assert (
        "malformed lines of shop.csv: 3 (line 3: it has 2 columns instead of 3; line 4: it has 4 columns instead of 3; "
        "the line of b and x: its rating cannot be read)" in text
    )
    assert "interactions without a usable user or item id: 1" in text
    assert prepare("files", *given, "--name", "strict", "--strict") == 2
    assert "shop.csv line 3 is malformed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--user_column", "user"], "has no column 'user'; did you mean user_id?"),
        (["--time_column", "date"], "has no column 'date'"),
        (["--encoding", "utf-9"], "cannot be read as a table in utf-9"),
        (["--split", "time"], "needs timestamps"),
        (["--images", "nowhere"], "there is no folder nowhere"),
        (["--items", "nowhere.csv"], "there is no file nowhere.csv"),
        (["--min_rating", "3"], "--min_rating needs --rating_column"),
        (["--k_core", "0"], "--k_core must be at least 1"),
        (["--name", "a/b"], "named by one word"),
        (["--image_model", "none", "--weights", "w.pth"], "--weights belongs to an image model"),
        (["--weights", "no.pth"], "there is no file no.pth; name the one of the weights"),
        (["--split", "tomorrow"], "invalid choice"),
        (["--smart", "1"], "there is no option '--smart'"),
    ],
)
def test_mistakes_with_own_files(tmp_path, capsys, change, said):
    inter = tmp_path / "shop.csv"
    inter.write_text("user_id,item_id\na,x\nb,x\n")
    given = ["--inter", inter, "--data_path", tmp_path / "dataset", "--k_core", 1]
    assert prepare("files", *given, *change) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and said in error
    assert not (tmp_path / "dataset").exists() or not [p for p in (tmp_path / "dataset").iterdir() if p.name[0] != "."]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b"user_id,item_id\nM\xfcller,x\n"), ("a.parquet", b"PAR1 no"), ("a.xlsx", b""), ("a.csv", b"")],
)
def test_own_files_that_cannot_be_read(tmp_path, capsys, name, content):
    (tmp_path / name).write_bytes(content)
    assert prepare("files", "--inter", tmp_path / name, "--data_path", tmp_path / "dataset") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and name in error


def test_own_pictures(tmp_path, alexnet_weights):
    inter, items, images = tmp_path / "shop.csv", tmp_path / "items.csv", tmp_path / "pictures"
    inter.write_text("user_id,item_id\na,x\na,y\na,z\nb,x\nb,y\nb,z\n")
    items.write_text("item_id,title,file\nx,X,one.png\ny,Y,broken.jpg\nz,Z,missing.jpg\n")
    images.mkdir()
    Image.new("L", (300, 200), 99).save(images / "one.png")
    (images / "broken.jpg").write_bytes(b"not a picture")
    network = ["--image_model", "alexnet", "--weights", alexnet_weights, "--dtype", "float16", "--graph", 3]
    given = ["--inter", inter, "--items", items, "--images", images, "--image_column", "file", "--k_core", 1, *network]
    assert prepare("files", *given, "--data_path", tmp_path / "dataset") == 0
    folder = tmp_path / "dataset" / "shop"
    assert (folder / "shop.image").read_text().splitlines()[1:] == ["x"]
    assert np.load(folder / "shop.image.npy").dtype == np.float16
    assert "damaged pictures: 1" in card(folder) and "items without a picture: 1" in card(folder)
    assert torch.load(alexnet_weights, weights_only=True)  # the weights are as they were
