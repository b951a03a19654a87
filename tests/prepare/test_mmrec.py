"""Folders in the layout of the MMRec toolbox come through with every interaction and every number."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from recbole_cadmr.config.config import Config
from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.prepare.mmrec import add_arguments, features_of, run
from recbole_cadmr.errors import UserError

ROWS = [(0, 0, 0), (0, 2, 0), (1, 1, 0), (1, 0, 1), (2, 2, 0), (2, 1, 2), (3, 3, 2)]
REAL = Path(os.environ.get("RECBOLE_CADMR_DATA", Path(__file__).parents[3] / "shared" / "data"))


def write_source(folder, rows=ROWS, extra=False, dtype=np.float32, n_rows=4, derived=False):
    """A folder in the toolbox's layout; features say which item and column they belong to."""
    folder.mkdir(parents=True)
    header, middle = (
        ("userID\titemID\trating\ttimestamp\tx_label", "\t4.5\t1375056000")
        if extra
        else ("userID\titemID\tx_label", "")
    )
    lines = [f"{user}\t{item}{middle}\t{label}" for user, item, label in rows]
    (folder / "shop.inter").write_text("\n".join([header, *lines]) + "\n")
    features = (np.arange(n_rows)[:, None] * 10 + np.arange(3)).astype(dtype)
    np.save(folder / ("text_feat_derived3.npy" if derived else "text_feat.npy"), features)
    np.save(folder / "image_feat.npy", features[:, :2] + 100)
    idx = np.array([[i, (i + 1) % n_rows] for i in range(n_rows)], dtype=np.int32)
    np.savez(folder / "text_knn2.npz", idx=idx, cos=np.array([[1, 0.5]] * n_rows, dtype=np.float32))
    return folder


def prepare_mmrec(source, name, data_path, *more):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    named = [] if name is None else ["--name", name]
    return run(parser.parse_args(["--source", str(source), "--data_path", str(data_path), *named, *more]))


def dataset_of(data_path, name):
    settings = {"data_path": str(data_path), "topk": [1], "valid_metric": "Recall@1"}
    return MultimodalDataset(Config("CADMR", name, settings=settings))


@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_interaction_and_every_vector_come_through(tmp_path, extra, dtype):
    source = write_source(tmp_path / "source", extra=extra, dtype=dtype)
    assert prepare_mmrec(source, None, tmp_path / "dataset") == tmp_path / "dataset" / "shop"
    dataset = dataset_of(tmp_path / "dataset", "shop")
    parts = dataset.build()
    users, items = (dataset.field2id_token[field] for field in ("user_id", "item_id"))
    found = [
        (int(users[user]), int(items[item]), label)
        for label, part in enumerate(parts)
        for user, item in zip(part.inter_feat["user_id"].tolist(), part.inter_feat["item_id"].tolist())
    ]
    assert sorted(found) == sorted(ROWS)
    for i in range(1, 5):
        assert dataset.modality("text").features[i].tolist() == [int(items[i]) * 10 + c for c in range(3)]
        assert dataset.modality("image").features[i].tolist() == [int(items[i]) * 10 + c + 100 for c in range(2)]
        assert items[dataset.item_graph("text").idx[i, 0]] == str((int(items[i]) + 1) % 4)


def test_another_split_is_drawn_from_all_interactions(tmp_path):
    rows = [(user, item, 0) for user in range(10) for item in range(20) if (user + item) % 3]
    source = write_source(tmp_path / "source", rows=rows, n_rows=20)
    place = prepare_mmrec(source, "cold", tmp_path / "dataset", "--split=cold-items", "--seed=5")
    parts = [
        [tuple(map(int, line.split("\t"))) for line in (place / f"cold.{part}.inter").read_text().splitlines()[1:]]
        for part in ("train", "valid", "test")
    ]
    assert sorted(pair for part in parts for pair in part) == sorted((user, item) for user, item, _ in rows)
    items = [{item for _, item in part} for part in parts]
    assert [len(part) for part in items] == [16, 2, 2] and not (items[0] & items[1] or items[0] & items[2])


def test_repeated_pairs_leave_no_held_out_pair_in_train(tmp_path, capsys):
    rows = [(user, item, max(item - 5, 0)) for user in range(10) for item in range(8)]
    source = write_source(tmp_path / "source", rows=[*rows, *((user, 0, 2) for user in range(4))], n_rows=8)
    prepare_mmrec(source, "own", tmp_path / "dataset")
    assert "held-out interactions that repeat one of the train part: 4" in capsys.readouterr().err
    place = prepare_mmrec(source, "drawn", tmp_path / "dataset", "--split=random")
    assert "repeated interactions of a user with an item: 4" in capsys.readouterr().err
    parts = [(place / f"drawn.{part}.inter").read_text().splitlines()[1:] for part in ("train", "valid", "test")]
    assert len({row for part in parts for row in part}) == sum(map(len, parts)) == len(rows)


def test_times_order_a_split_as_they_stand(tmp_path):
    source = write_source(tmp_path / "source", n_rows=8)
    start = 1_600_000_000_000_000_000
    lines = [f"{user}\t{item}\t{start + item}\t0" for user in range(3) for item in (5, 7, 6)]
    lines[0] = f"0\t5\t{start + 5}.5\t0"
    (source / "shop.inter").write_text("\n".join(["userID\titemID\ttimestamp\tx_label", *lines, ""]))
    place = prepare_mmrec(source, "timed", tmp_path / "dataset", "--split=leave-last")
    test = [line.split("\t")[:2] for line in (place / "timed.test.inter").read_text().splitlines()[1:]]
    assert test == [["0", "7"], ["1", "7"], ["2", "7"]]


def test_an_order_without_times_is_told(tmp_path, capsys):
    place = prepare_mmrec(write_source(tmp_path / "source"), "rows", tmp_path / "dataset", "--split=leave-last")
    said = "--split leave-last uses the order of the rows, since there are no times"
    assert said in capsys.readouterr().err and said in (place / "dataset_card.md").read_text()
    prepare_mmrec(write_source(tmp_path / "timed", extra=True), "timed", tmp_path / "dataset", "--split=leave-last")
    assert said not in capsys.readouterr().err


def test_the_settings_of_the_set(tmp_path):
    prepare_mmrec(write_source(tmp_path / "a"), "one", tmp_path / "dataset")
    settings = yaml.safe_load((tmp_path / "dataset" / "one" / "one.yaml").read_text())
    assert settings == {
        "benchmark_filename": ["train", "valid", "test"],
        "mask_valid_at_test": False,
        "modalities": ["text", "image"],
        "item_graphs": ["text"],
    }
    prepare_mmrec(write_source(tmp_path / "b", derived=True), "two", tmp_path / "dataset")
    settings = yaml.safe_load((tmp_path / "dataset" / "two" / "two.yaml").read_text())
    assert settings["data_note"] == "derived features"
    card = (tmp_path / "dataset" / "two" / "dataset_card.md").read_text()
    assert (
        "| train / validation / test interactions | 4 / 1 / 2 |" in card and "| 3-D float32 | 2 | derived from" in card
    )


def test_the_same_input_gives_the_same_bytes(tmp_path):
    source = write_source(tmp_path / "source")
    first, second = (prepare_mmrec(source, "shop", tmp_path / place) for place in ("one", "two"))
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda d: (d / "shop.inter").unlink(), "one .inter file, not 0"),
        (lambda d: (d / "other.inter").write_text("x"), "one .inter file, not 2"),
        (lambda d: (d / "shop.inter").write_text("userID\titemID\n0\t0\n"), "must have the columns"),
        (lambda d: (d / "shop.inter").write_text("userID\titemID\tx_label\n0\t0\t0\n0\t1\t3\n"), "line 3"),
        (lambda d: (d / "shop.inter").write_text("userID\titemID\tx_label\n0\tx\t0\n"), "line 2"),
        (lambda d: (d / "shop.inter").write_text("userID\titemID\tx_label\n0\t0\n"), "line 2"),
        (lambda d: (d / "shop.inter").write_text("userID\titemID\tx_label\n0\t0\t0\n0\t0\t0\t9\n"), "line 3"),
        (lambda d: (d / "shop.inter").write_text("userID\titemID\tx_label\n0\t0\t1\n"), "no train interaction"),
        (lambda d: (d / "shop.inter").write_bytes(b"userID\titemID\tx_label\n\xff\t0\t0\n"), "UTF-8"),
        (lambda d: (d / "shop.inter").write_bytes(b""), "shop.inter"),
        (lambda d: np.save(d / "text_feat.npy", np.zeros((3, 2))), "3 rows, but items are numbered up to 3"),
        (lambda d: np.save(d / "text_feat.npy", np.full((4, 2), np.nan)), "NaN"),
        (lambda d: np.save(d / "text_feat.npy", np.zeros(4)), "2-D"),
        (lambda d: np.save(d / "text_feat.npy", np.array([{}] * 4), allow_pickle=True), "holds pickled objects"),
        (lambda d: (d / "text_feat.npy").write_bytes((d / "text_feat.npy").read_bytes()[:140]), "damaged"),
        (lambda d: (d / "text_knn2.npz").write_bytes((d / "text_knn2.npz").read_bytes()[:99]), "damaged"),
        (lambda d: np.savez(d / "text_knn2.npz", idx=np.zeros((4, 2), int)), "idx and cos"),
        (lambda d: np.savez(d / "text_knn2.npz", idx=np.zeros((4, 2), int), cos=np.zeros((4, 3))), "one 2-D shape"),
        (lambda d: np.savez(d / "text_knn2.npz", idx=np.full((4, 2), 4), cos=np.zeros((4, 2))), "no items"),
        (lambda d: np.savez(d / "text_knn2.npz", idx=np.zeros((5, 2), int), cos=np.zeros((5, 2))), "5 rows"),
        (lambda d: np.save(d / "text_feat.npy", np.zeros((4, 2), dtype=int)), "real numbers"),
        (lambda d: np.save(d / "text_feat.npy", np.zeros((4, 0))), "2-D"),
        (lambda d: np.save(d / "text_feat.npy", np.array(1.0)), "2-D"),
        (lambda d: np.save(d / "item_feat.npy", np.zeros((4, 2))), "cannot be the modality 'item'"),
        (lambda d: np.save(d / "html_feat.npy", np.zeros((4, 2))), "cannot be the modality 'html'"),
        (lambda d: np.save(d / "YAML_feat.npy", np.zeros((4, 2))), "cannot be the modality 'YAML'"),
        (lambda d: np.save(d / "text_feat.npy", np.zeros((4, 2))), "zeros for every item"),
        (lambda d: np.save(d / "text_feat.npy", np.full((4, 2), 1e308)), "infinite numbers .* first in row 0"),
        (lambda d: ((d / "shop.inter").unlink(), (d / "shop.inter").mkdir()), "not a file that can be read"),
        (lambda d: ((d / "shop.inter").unlink(), (d / "shop.inter").symlink_to("gone")), "not a file that can be read"),
        (lambda d: (d / "shop.inter").write_text("userID\titemID\tx_label\n0\t1\t0\t1\n2\t0\t1\t2\n"), "line 2"),
        (lambda d: (d / "shop.inter").write_text("userID\titemID\tx_label\n0\t0\t0\n\n07\t0\t0\n"), "line 4"),
        (lambda d: (d / "shop.inter").write_text(f"userID\titemID\tx_label\n{10**20}\t0\t0\n"), "line 2"),
        (lambda d: np.save(d / "text_feat_more.npy", np.zeros((4, 2))), "both of the modality 'text'"),
    ],
)
def test_bad_folders_leave_nothing(tmp_path, damage, sentence):
    source = write_source(tmp_path / "source")
    damage(source)
    with pytest.raises(UserError, match=sentence):
        prepare_mmrec(source, "shop", tmp_path / "dataset")
    assert not (tmp_path / "dataset").exists() or not list((tmp_path / "dataset").iterdir())


def test_rows_of_zeros_are_items_without_the_modality(tmp_path, capsys):
    source = write_source(tmp_path / "source", n_rows=6)  # items 4 and 5 have no interaction
    image = np.load(source / "image_feat.npy")
    image[[1, 5]] = 0
    np.save(source / "image_feat.npy", image)
    # Item 1 of zeros, with the cosines NaN and 0 that it gets, is named by items 0 and 2.
    idx = [[0, 1, 2], [0, 1, 2], [2, 1, 3], [3, 0, 4], [4, 3, 0], [5, 0, 1]]
    cos = [[1, np.nan, 0.5], [0, 0, np.nan], [1, 0, 0.5], [1, 0.25, 0.5], [1, 0.5, 0.5], [0, 0, 0]]
    np.savez(source / "image_knn3.npz", idx=np.array(idx), cos=np.array(cos, dtype=np.float32))
    place = prepare_mmrec(source, "shop", tmp_path / "dataset")
    assert (place / "shop.image").read_text().split() == ["item_id:token", "0", "2", "3", "4"]
    assert np.load(place / "shop.image.npy").tolist() == image[[0, 2, 3, 4]].tolist()
    with np.load(place / "shop.image.knn.npz") as graph:
        assert graph["idx"].tolist() == [[0, -1, 1], [1, -1, 2], [2, 0, 3], [3, 2, 0]]
        assert graph["cos"].tolist() == [[1, 0, 0.5], [1, 0, 0.5], [1, 0.25, 0.5], [1, 0.5, 0.5]]
    card, said = (place / "dataset_card.md").read_text(), capsys.readouterr().err
    assert "| image | 3 (75.0%) | 2-D float32 | 3 |" in card and "| text | 4 (100.0%) |" in card
    for line in (
        "items whose image features are a row of zeros, so that they lack image: 1",
        "rows of image features whose item has no interaction: 2",
    ):
        assert f"- {line}\n" in card and f"note: {line}\n" in said
    dataset = dataset_of(tmp_path / "dataset", "shop")
    assert dataset.coverage()["image"] == {"items": 3, "of": 4, "width": 2}


def test_a_graph_alone_tells_items_of_zeros(tmp_path):
    source = write_source(tmp_path / "source")
    (source / "text_feat.npy").unlink()
    cos = np.array([[1, 0.5], [0, 0], [1, np.nan], [1, 0.5]], dtype=np.float32)
    np.savez(source / "text_knn2.npz", idx=np.array([[0, 2], [1, 0], [2, 1], [3, 1]]), cos=cos)
    place = prepare_mmrec(source, "shop", tmp_path / "dataset")
    assert (place / "shop.text").read_text().split() == ["item_id:token", "0", "2", "3"]
    with np.load(place / "shop.text.knn.npz") as graph:
        assert graph["idx"].tolist() == [[0, 1], [1, -1], [2, -1]]


def test_arrays_of_other_names_are_named_or_refused(tmp_path):
    source = write_source(tmp_path / "source")
    for old in ("text_knn2.npz", "image_feat.npy"):
        (source / old).unlink()
    (source / "text_feat.npy").rename(source / "all-MiniLM-L6-v2.npy")
    (source / "clip.pt").write_bytes(b"")
    with pytest.raises(UserError, match=r"--features text=all-MiniLM-L6-v2.npy .*clip.pt"):
        prepare_mmrec(source, "shop", tmp_path / "dataset")
    with pytest.raises(UserError, match="save it as .npy"):
        prepare_mmrec(source, "shop", tmp_path / "dataset", "--features", "image=clip.pt")
    with pytest.raises(UserError, match="there is no file"):
        prepare_mmrec(source, "shop", tmp_path / "dataset", "--features", "image=clip.npy")
    place = prepare_mmrec(source, "shop", tmp_path / "dataset", "--features", "text=all-MiniLM-L6-v2.npy")
    assert np.load(place / "shop.text.npy").shape == (4, 3)
    assert "--features MODALITY=FILE: 1 (clip.pt)" in (place / "dataset_card.md").read_text()
    place = prepare_mmrec(source, "bare", tmp_path / "dataset", "--features", "none")
    assert yaml.safe_load((place / "bare.yaml").read_text())["modalities"] == []
    for text in (["text"], ["text="], ["=a.npy"], ["text=a.npy", "text=b.npy"]):
        with pytest.raises(UserError, match="--features"):
            features_of(text)


@pytest.mark.parametrize("name", ["../shop", "a/b", "..", ".hidden"])
def test_a_name_stays_inside_the_folder_of_data_sets(tmp_path, name):
    source = write_source(tmp_path / "place" / "source")
    with pytest.raises(UserError, match="one word"):
        prepare_mmrec(source, name, tmp_path / "place" / "dataset")
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["source"]


def test_what_is_there_is_not_overwritten(tmp_path):
    source = write_source(tmp_path / "source")
    prepare_mmrec(source, "shop", tmp_path / "dataset")
    before = (tmp_path / "dataset" / "shop" / "shop.yaml").stat().st_mtime_ns
    with pytest.raises(UserError, match="already there"):
        prepare_mmrec(source, "shop", tmp_path / "dataset")
    assert (tmp_path / "dataset" / "shop" / "shop.yaml").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("name", "users", "items", "parts"),
    [
        ("baby", 19445, 7050, [118551, 20559, 21682]),
        ("sports", 35598, 18357, [218409, 37899, 40029]),
        ("tiktok", 9308, 6710, [59541, 3051, 6130]),
    ],
)
def test_real_sets_import_with_every_interaction(tmp_path, name, users, items, parts):
    if not (REAL / name).is_dir():
        pytest.skip(f"real data are not at {REAL / name}; name their folder in RECBOLE_CADMR_DATA")
    prepare_mmrec(REAL / name, None, tmp_path)
    dataset = dataset_of(tmp_path, name)
    assert (dataset.user_num - 1, dataset.item_num - 1) == (users, items)
    assert [len(part) for part in dataset.build()] == parts
    assert all(modality.present[1:].all() for modality in dataset.modalities().values())
