"""Products that have content and that nobody has: from the source into the catalogue, and into nobody's metrics."""

from __future__ import annotations

import gzip
import json
import shutil

import numpy as np
import pytest
import yaml

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.config.config import Config
from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.errors import UserError
from recbole_cadmr.recommender.list_files import with_columns, write_lists
from tests.extract.networks import minilm
from tests.prepare.raw import ITEMS as RAW_ITEMS
from tests.prepare.raw import write_amazon_2014, write_image_features

# Everybody has four of the items i0 to i5, but rare, which one person has; new0 and new1 nobody has, and blank has no
# content either.
ITEMS = ["new1", "i0", "i1", "i2", "rare", "i3", "i4", "i5", "new0", "blank"]
QUIET = {"show_progress": False, "topk": [1, 3], "valid_metric": "Recall@3"}


def prepared(folder, *options):
    rng = np.random.default_rng(7)
    pairs = [(f"u{u}", f"i{i}") for u in range(12) for i in rng.permutation(6)[:4]] + [("u0", "rare")]
    lines = ["user_id,item_id", *map(",".join, pairs), ""]
    (folder / "orders.csv").write_text("\n".join(lines))
    (folder / "items.csv").write_text("\n".join(["item_id,title", *(f"{i},  The  {i} " for i in ITEMS), ""]))
    vectors = rng.normal(size=(len(ITEMS), 5)).astype(np.float32)
    vectors[ITEMS.index("blank")] = 0
    np.save(folder / "v.npy", vectors)
    given = ["--inter", folder / "orders.csv", "--items", folder / "items.csv", "--vectors", f"text={folder / 'v.npy'}"]
    how = ["--text_model", "none", "--k_core", 2, "--data_path", folder / "dataset", "--name", "shop", *options]
    assert main(["prepare", "files", *map(str, [*given, *how])]) == 0
    return folder / "dataset" / "shop", vectors


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("shop"), "--keep_new_items")


def run_of(folder, place, model, **settings):
    """A run, and its recommender."""
    how = {**QUIET, "data_path": str(folder.parent), **settings}
    run = recbole_cadmr.train(model, "shop", output=place / model, settings=how)
    return run, recbole_cadmr.load(run.checkpoint)


def test_they_stand_in_the_table_of_items_and_in_the_features(shop):
    folder, vectors = shop
    kept = sorted(set(ITEMS) - {"blank"})
    assert (folder / "shop.item").read_text().split("\n")[1:-1] == [f"{item}\t  The  {item} " for item in kept]
    assert (folder / "shop.text").read_text().split("\n")[1:-1] == kept
    assert np.array_equal(np.load(folder / "shop.text.npy"), vectors[[ITEMS.index(item) for item in kept]])
    assert yaml.safe_load((folder / "shop.yaml").read_text())["new_items"] is True
    card = (folder / "dataset_card.md").read_text()
    assert "| new items | 3 with content, of which 1 had interactions |" in card and "| items | 6 |" in card
    assert "items without interactions and without content, which are left out: 1" in card


def test_without_the_option_nothing_changes(tmp_path):
    folder, _ = prepared(tmp_path)
    assert "new" not in (folder / "shop.item").read_text() + (folder / "shop.text").read_text()
    assert "new_items" not in yaml.safe_load((folder / "shop.yaml").read_text())
    assert "new items" not in (folder / "dataset_card.md").read_text()


def test_they_are_numbered_behind_the_others(shop):
    folder, vectors = shop
    dataset = MultimodalDataset(Config("LinearCADMR", "shop", settings={**QUIET, "data_path": str(folder.parent)}))
    tokens = list(dataset.field2id_token["item_id"])
    assert tokens[-3:] == ["new0", "new1", "rare"] and dataset.new_item_count == 3 and len(tokens) == 10
    assert dataset.item_num == 10 and dataset.inter_matrix(form="csr").getnnz(0)[-3:].tolist() == [0, 0, 0]
    assert np.array_equal(dataset.modality("text").features[-3], vectors[ITEMS.index("new0")])


@pytest.mark.parametrize("model", ["EASE", "RP3beta"])
def test_metrics_are_those_without_them(shop, model, tmp_path):
    folder, _ = shop
    results = []
    for new_items in (True, False):
        place = tmp_path / str(new_items)
        run, recommender = run_of(folder, place, model, new_items=new_items)
        results.append((run.result["best_valid_result"], run.result["test_result"]))
        frame = recommender.recommend(topk=6)
        assert not set(frame["item_id"]) & {"new0", "new1", "rare"}
    assert results[0] == results[1]


SOFTMAX = {"objective": "softmax", "attention_size": 4, "epochs": 2, "attention_trials": 1}


@pytest.mark.parametrize(
    ("model", "settings"),
    [("LinearCADMR", {}), ("CADMR", {**SOFTMAX, "linear_settings": {"fit": "sparse", "adaptive_fits": 1}})],
)
def test_a_model_that_scores_by_content_recommends_them_and_is_not_measured_on_them(shop, tmp_path, model, settings):
    folder, _ = shop
    run, recommender = run_of(folder, tmp_path, model, save_lists=True, **settings)
    frame = recommender.recommend(topk=9, leave_out="all")
    assert {"new0", "new1", "rare"} <= set(frame["item_id"])
    with np.load(run.checkpoint.parent / "test_lists.npz") as lists:
        assert max(lists[name].max() for name in lists.files if "item" in name) <= 6
    assert recommender.titles["new0"] == "  The  new0 "  # as it stands in the file
    write_lists(with_columns(frame, recommender.catalogue.table, ["title"])[0], tmp_path / "lists.csv")
    assert ",model,  The  new0 \n" in (tmp_path / "lists.csv").read_text()
    similar = recommender.similar_items("new0", by="content")
    assert set(similar["item_id"]) <= set(recommender.items)


def test_the_table_of_items_must_be_there(shop, tmp_path):
    folder, _ = shop
    shutil.copytree(folder, tmp_path / "shop")
    (tmp_path / "shop" / "shop.item").unlink()
    with pytest.raises(UserError, match="new_items: there is no file .*shop.item"):
        MultimodalDataset(Config("EASE", "shop", settings={**QUIET, "data_path": str(tmp_path)}))


def test_the_option_needs_a_table_of_items(tmp_path, capsys):
    (tmp_path / "o.csv").write_text("user_id,item_id\nu,i\n")
    assert main(["prepare", "files", "--inter", str(tmp_path / "o.csv"), "--keep_new_items"]) == 2
    assert "--keep_new_items needs --items" in capsys.readouterr().err


def new_items_of(folder, name):
    """The ids of a data set's table of items that no interaction names, and those of the features."""
    place = folder / name
    has = {
        line.split("\t")[1]
        for part in ("train", "valid", "test")
        for line in (place / f"{name}.{part}.inter").read_text().splitlines()[1:]
    }
    table = [line.split("\t")[0] for line in (place / f"{name}.item").read_text().splitlines()[1:]]
    files = list(place.glob(f"{name}.*.npy"))
    described = set().union(*(path.with_suffix("").read_text().splitlines()[1:] for path in files))
    assert set(table) - has <= described
    return [item for item in table if item not in has]


def test_amazon_2014(tmp_path):
    meta = [
        repr({"asin": "B000000099", "title": "New"}).encode(),
        repr({"asin": "B000000098", "title": "Bare"}).encode(),
    ]
    source = write_amazon_2014(tmp_path / "raw", extra_meta=meta)
    write_image_features(source / "image_features_Baby.b", [*RAW_ITEMS, "B000000099"])
    how = [
        "--category",
        "Baby",
        "--source",
        source,
        "--data_path",
        tmp_path,
        "--text_model",
        "none",
        "--keep_new_items",
    ]
    assert main(["prepare", "amazon", *map(str, how)]) == 0
    assert new_items_of(tmp_path, "baby") == ["B000000099"]
    assert "B000000099\tNew" in (tmp_path / "baby" / "baby.item").read_text()
    assert "1 with content, of which 0 had interactions" in (tmp_path / "baby" / "dataset_card.md").read_text()


def test_amazon_2023(tmp_path):
    (tmp_path / "raw").mkdir()
    reviews = [
        {"user_id": f"u{u}", "parent_asin": f"i{i}", "rating": 5, "timestamp": u + i}
        for u in range(3)
        for i in range(3)
    ]
    meta = [{"parent_asin": item, "title": f"Product {item}"} for item in ("i0", "i1", "i2", "new")]
    for name, rows in (("Toys", reviews), ("meta_Toys", meta)):
        (tmp_path / "raw" / f"{name}.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    how = ["--category", "Toys", "--release", "2023", "--source", tmp_path / "raw", "--data_path", tmp_path]
    how += ["--text_model", minilm(), "--k_core", "1", "--keep_new_items"]
    assert main(["prepare", "amazon", *map(str, how)]) == 0
    assert new_items_of(tmp_path, "toys") == ["new"]


def test_microlens(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "Tiny_pairs.tsv").write_text("1\t10 11 12\n2\t11 10\n3\t12\n")
    (tmp_path / "raw" / "Tiny_titles.csv").write_text("item,title\n10,One\n11,Two\n12,Three\n99,Nobody's\n98,\n")
    how = ["--source", tmp_path / "raw", "--data_path", tmp_path, "--text_model", minilm(), "--keep_new_items"]
    assert main(["prepare", "microlens", *map(str, how)]) == 0
    assert new_items_of(tmp_path, "tiny") == ["99"]


@pytest.mark.parametrize("release", ["csv", "dat", "item"])
def test_movielens(tmp_path, release):
    (tmp_path / "raw").mkdir()
    ratings = [(u, i, 5, u * 10 + i) for u in range(1, 4) for i in range(1, 4)]
    movies = [(1, "One"), (2, "Two"), (3, "Three"), (4, "Four")]
    if release == "csv":
        head, name, other, separator = "userId,movieId,rating,timestamp\n", "ratings.csv", "movies.csv", ","
        lines = "movieId,title,genres\n" + "".join(f"{i},{title},Drama\n" for i, title in movies)
    elif release == "dat":
        head, name, other, separator = "", "ratings.dat", "movies.dat", "::"
        lines = "".join(f"{i}::{title}::Drama\n" for i, title in movies)
    else:
        head, name, other, separator = "", "u.data", "u.item", "\t"
        lines = "".join(f"{i}|{title}|||{'|0' * 19}\n" for i, title in movies)
    rows = "".join(separator.join(map(str, row)) + "\n" for row in ratings)
    (tmp_path / "raw" / name).write_text(head + rows)
    (tmp_path / "raw" / other).write_text(lines)
    how = ["--source", tmp_path / "raw", "--data_path", tmp_path, "--name", "ml", "--k_core", "1", "--keep_new_items"]
    assert main(["prepare", "movielens", *map(str, [*how, "--text_model", minilm()])]) == 0
    assert new_items_of(tmp_path, "ml") == ["4"]
