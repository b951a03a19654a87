"""Modalities added to a finished data set, replaced and removed: all of it changes, or nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal

import numpy as np
import pandas as pd
import pytest
import yaml

from recbole_cadmr.cli.main import main
from recbole_cadmr.config.config import Config
from recbole_cadmr.data.change import swapped
from recbole_cadmr.data.change.swapped import changed_folder
from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.encoders import Encoder, read_encoders, write_encoders
from recbole_cadmr.errors import UserError
from tests.micro import IMAGE, PAIRS, write_micro
from tests.prepare.test_mmrec import prepare_mmrec, write_source

AUDIO = {"a": [1.0, 0.5], "d": [2.0, -1.0], "z": [9.0, 9.0]}


@pytest.fixture
def place(tmp_path):
    return write_micro(tmp_path / "data") / "micro"


@pytest.fixture
def vectors(tmp_path):
    np.savez(tmp_path / "audio.npz", **{name: np.array(row) for name, row in AUDIO.items()})
    return tmp_path / "audio.npz"


def prepare(command, place, *more, modality="audio"):
    """The exit status of a change of the data set in ``place``."""
    arguments = ["--modality", modality, "--data_path", str(place.parent), *map(str, more)]
    return main(["prepare", f"{command}-modality", place.name, *arguments])


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def shown(page):
    """The modalities on the page of a data set."""
    (facts,) = re.findall(r'<script[^>]*id="facts"[^>]*>(.*?)</script>', page.read_text(), re.DOTALL)
    return [modality["name"] for modality in json.loads(facts)["modalities"]]


def dataset_of(place):
    settings = {"data_path": str(place.parent), "topk": [1], "valid_metric": "Recall@1"}
    return MultimodalDataset(Config("CADMR", place.name, settings=settings))


def test_a_modality_is_added_read_and_removed(place, vectors, capsys):
    before = content(place)
    assert prepare("add", place, "--vectors", vectors, "--graph", 1) == 0
    out, err = capsys.readouterr()
    assert out == (
        f"audio: 2 of 4 items have it (50.0%)\nwrote {place}\n"
        f"train on it with:\n  python -m recbole_cadmr train --dataset micro --data_path {place.parent}\n"
    )
    assert err == (
        "note: vectors of audio whose id is no item of the data set: 1 (z)\n"
        "note: items without a vector, which lack audio: 2\n"
    )
    settings = yaml.safe_load((place / "micro.yaml").read_text())
    assert settings["modalities"] == ["text", "image", "audio"] and settings["item_graphs"] == ["audio"]
    modality = dataset_of(place).modality("audio")
    tokens = dataset_of(place).field2id_token["item_id"]
    assert {tokens[i]: modality.features[i].tolist() for i in modality.present.nonzero().flatten()} == {
        name: AUDIO[name] for name in "ad"
    }
    assert dataset_of(place).item_graph("audio") is not None
    assert prepare("remove", place) == 0
    assert yaml.safe_load((place / "micro.yaml").read_text())["modalities"] == ["text", "image"]
    after = content(place)
    assert {**after, "micro.yaml": before["micro.yaml"]} == before
    assert [path.name for path in place.parent.iterdir()] == ["micro"]


def test_what_was_prepared_is_the_same_after_removal_and_addition(tmp_path):
    place = prepare_mmrec(write_source(tmp_path / "source", n_rows=12), "set", tmp_path / "data")
    encoder = Encoder("image", "alexnet", {"model": "x"})
    write_encoders(place, {"image": encoder, "text": encoder})
    before, rows = content(place), tmp_path / "source" / "image_feat.npy"
    assert prepare("remove", place, modality="image") == 0
    assert list(read_encoders(place)) == ["text"] and not list(place.glob("set.image*"))
    assert "## Modality `image`, removed from the finished data set" in (place / "dataset_card.md").read_text()
    assert shown(place / "set.html") == ["text"]
    # Only items with interactions come back, 0 to 3 of the twelve rows.
    assert prepare("add", place, "--vectors", rows, "--by_number", modality="image") == 0
    assert content(place)["set.yaml"] == before["set.yaml"]
    assert np.load(place / "set.image.npy").tolist() == np.load(rows)[:4].tolist()
    card = (place / "dataset_card.md").read_text()
    assert "| image | 4 (100.0%) | 2-D float32 | none | the user: image_feat.npy |" in card and "removed" not in card
    section = card.partition("## Modality `image`, added to the finished data set\n")[2]
    assert "- vectors of image whose id is no item of the data set: 8 (4; 5; 6; ...)" in section
    assert f"| `image_feat.npy` | {rows.stat().st_size:,} | `" in section
    assert shown(place / "set.html") == ["text", "image"]
    assert prepare("remove", place, modality="text") == 0 and prepare("remove", place, modality="image") == 0
    assert (
        not (place / "encoders.json").exists() and "items that have it" not in (place / "dataset_card.md").read_text()
    )


def test_a_replaced_modality_keeps_its_place_and_loses_its_encoder_and_graph(place, vectors):
    write_encoders(place, {"image": Encoder("image", "alexnet", {"model": "x"})})
    (place / "micro.yaml").write_text(
        "benchmark_filename: [train, valid, test]\n"
        "# which of them\n"
        "modalities:   # two\n"
        "- image\n"
        "- text\n"
        "item_graphs: [image]   # one\n"
        "mask_valid_at_test: true\n"
    )
    (place / "micro.image.knn.npz").write_bytes(b"junk")
    assert prepare("add", place, "--vectors", vectors, "--replace", modality="image") == 0
    assert (place / "micro.yaml").read_text() == (
        "benchmark_filename: [train, valid, test]\n"
        "# which of them\n"
        "modalities: [image, text]\n"
        "item_graphs: []   # one\n"
        "mask_valid_at_test: true\n"
    )
    assert not read_encoders(place) and not (place / "micro.image.knn.npz").exists()
    assert (place / "micro.image").read_text() == "item_id:token\na\nd\n"


def test_a_set_by_hand_without_a_yaml_and_with_another_name_of_items(tmp_path, vectors):
    place = tmp_path / "data" / "shop"
    place.mkdir(parents=True)
    (place / "shop.inter").write_text("user_id:token\tproduct:token\nu\ta\nu\td\nv\ta\n")
    (place / "shop.yaml").write_text("ITEM_ID_FIELD: product")
    assert prepare("add", place, "--vectors", vectors) == 0
    assert (place / "shop.yaml").read_text() == "ITEM_ID_FIELD: product\nmodalities: [audio]\n"
    assert (place / "shop.audio").read_text() == "product:token\na\nd\n"
    (place / "shop.inter").write_text("user_id:token\titem_id:token\nu\ta\nu\td\nv\ta\n")
    (place / "shop.yaml").unlink()
    assert prepare("add", place, "--vectors", vectors, "--replace") == 0
    assert (place / "shop.yaml").read_text() == "modalities: [audio]\n"
    assert dataset_of(place).modality("audio").present.tolist() == [False, True, True]


def test_new_items_are_items_and_are_told_when_nothing_is_known_about_them(place, vectors, capsys):
    (place / "micro.yaml").write_text("benchmark_filename: [train, valid, test]\nmodalities: [text]\nnew_items: true\n")
    (place / "micro.item").write_text("item_id:token\na\nz\n")
    assert prepare("add", place, "--vectors", vectors) == 0
    assert (place / "micro.audio").read_text() == "item_id:token\na\nd\nz\n"
    assert "audio: 2 of 4 items have it" in capsys.readouterr().out
    assert prepare("remove", place) == 0
    assert "new items about whose content nothing is known now: 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "more", "said"),
    [
        ("add", ["--modality=image"], "the modality 'image' of micro is there already; give --replace to put another"),
        ("add", ["--replace"], "the modality 'audio' of micro is not there to be replaced; leave out --replace"),
        ("add", ["--modality=item"], "a modality cannot be called 'item', as a data set has something else of"),
        ("add", ["--modality=noise"], "a modality cannot be called 'noise'"),
        ("add", ["--modality=a/b"], "a modality is called by one word of letters and digits, such as audio, not 'a/b'"),
        ("add", ["--modality=" + "a" * 61], "a modality is called by one word"),
        ("add", ["--modality=Image"], "the data set has a modality 'image', from which 'Image' differs in case alone"),
        ("add", ["--extractor=x"], "--extractor needs --folder"),
        ("add", ["--folder=x"], "give --vectors FILE, or --folder DIR with --extractor MODEL"),
        ("add", ["--ids=x", "--by_number"], "--ids and --by_number both say"),
        ("add", ["--by_number"], "--by_number is for items called 0, 1, 2 and so on, and one is called 'a'"),
        ("add", ["--data_path=nowhere"], "there is no data set .*nowhere/micro; prepare it first"),
        ("remove", [], "micro has no modality 'audio'; it has text, image"),
        ("remove", ["--modality=imgae"], "micro has no modality 'imgae'; did you mean image\\?"),
    ],
)
def test_what_cannot_be_done_changes_nothing(place, vectors, capsys, monkeypatch, command, more, said):
    monkeypatch.chdir(place.parent)
    before = content(place)
    given = ["--vectors", vectors] if command == "add" else []
    assert prepare(command, place, *given, *more) == 2
    error = capsys.readouterr().err
    assert re.search(said, error), error
    assert content(place) == before and [path.name for path in place.parent.iterdir()] == ["micro"]


def test_a_yaml_that_cannot_be_changed_is_left_as_it_is(place, vectors, capsys):
    (place / "micro.yaml").write_text("{benchmark_filename: [train, valid, test], mask_valid_at_test: true}\n")
    before = content(place)
    assert prepare("add", place, "--vectors", vectors) == 2
    assert "modalities cannot be changed in micro.yaml as it is written" in capsys.readouterr().err
    assert content(place) == before


def killed_where(where, monkeypatch):
    """Let a change kill its process before two folders exchange their names, after, or between (without renameat2)."""

    def kill():
        os.kill(os.getpid(), signal.SIGKILL)

    exchange, rename = swapped._exchange, os.rename
    if where == "between":
        monkeypatch.setattr(swapped, "ctypes", None)
        monkeypatch.setattr(os, "rename", lambda *paths: (rename(*paths), kill()))
    elif where == "after":
        monkeypatch.setattr(swapped, "_exchange", lambda *paths: (exchange(*paths), kill()))
    else:
        monkeypatch.setattr(swapped, "_exchange", lambda *_: kill())


@pytest.mark.parametrize("where", ["before", "after", "between"])
def test_a_killed_change_leaves_a_whole_data_set(tmp_path, monkeypatch, where):
    place = tmp_path / "set"
    place.mkdir()
    (place / "a").write_text("old")
    if not (process := os.fork()):
        try:
            killed_where(where, monkeypatch)
            with changed_folder(place) as (work, copy):
                (work / "kept").write_text("to resume with")
                (copy / "a").unlink()
                (copy / "b").write_text("new")
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(process, 0)[1]) == signal.SIGKILL
    if where == "between":
        assert not place.exists()  # the next change puts it back
    else:
        assert content(place) == ({"b": b"new"} if where == "after" else {"a": b"old"})
    with changed_folder(place) as (work, copy):
        assert content(copy) == ({"b": b"new"} if where == "after" else {"a": b"old"})
        assert (work / "kept").read_text() == "to resume with"
        (copy / "c").write_text("more")
    assert (place / "c").is_file() and [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_changed_folder_keeps_links_subfolders_and_other_files(tmp_path, monkeypatch):
    place = tmp_path / "set"
    (place / "notes").mkdir(parents=True)
    (place / "notes" / "a").write_text("a")
    (place / "link").symlink_to("notes/a")
    (tmp_path / "other").symlink_to(place)
    for _ in range(2):  # with an exchange of names and without
        with changed_folder(tmp_path / "other") as (work, copy):
            assert (copy / "notes" / "a").stat().st_ino == (place / "notes" / "a").stat().st_ino
            (work / "x").write_text("x")
            shutil.rmtree(copy / "notes")
            (copy / "notes").mkdir()
            (copy / "notes" / "a").write_text("b")
            with pytest.raises(UserError, match="another preparation of .* is using"), changed_folder(place):
                pass
        assert os.readlink(place / "link") == "notes/a" and (place / "link").read_text() == "b"
        assert (tmp_path / "other").is_symlink() and {path.name for path in tmp_path.iterdir()} == {"set", "other"}
        monkeypatch.setattr(swapped, "ctypes", None)


def test_what_checkpoints_say_of_a_changed_data_set(tmp_path, place, vectors):
    """Those that did not read the modality go on; others say that it has changed, until it is as it was."""
    from recbole_cadmr.recommender.load import load
    from recbole_cadmr.runs.train import train

    settings = {"data_path": str(place.parent), **PAIRS, "adaptive_fits": 1}
    train("LinearCADMR", "micro", output=tmp_path / "run", settings=settings)
    checkpoint = tmp_path / "run" / "model.pt"
    lists = load(checkpoint).recommend(["ann"], topk=2)
    assert prepare("add", place, "--vectors", vectors) == 0
    assert load(checkpoint).recommend(["ann"], topk=2).equals(lists)
    assert prepare("add", place, "--vectors", vectors, "--replace", modality="image") == 0
    with pytest.raises(UserError, match="its interactions or features have changed"):
        load(checkpoint)
    assert prepare("remove", place, modality="image") == 0
    with pytest.raises(UserError, match=r"was trained with the modality 'image', which micro in .* does not have"):
        load(checkpoint)
    np.save(tmp_path / "image.npy", np.array([*IMAGE.values()], dtype=np.float32))
    pd.DataFrame({"item_id": [*IMAGE]}).to_csv(tmp_path / "ids.csv", index=False)
    given = ["--vectors", tmp_path / "image.npy", "--ids", tmp_path / "ids.csv"]
    assert prepare("add", place, *given, modality="image") == 0
    assert load(checkpoint).recommend(["ann"], topk=2).equals(lists)
