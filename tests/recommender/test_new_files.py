"""New items with pictures and sounds, encoded by the models of transformers that made the data set."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.data.encoders import read_encoders
from recbole_cadmr.errors import UserError
from recbole_cadmr.extract.registry import extract
from recbole_cadmr.recommender.new_item_files import Columns, read_new_items
from recbole_cadmr.recommender.recommender import Recommender
from tests.extract.networks import audio_model, image_model
from tests.micro import PAIRS, write_micro


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A data set of which texts are vectors, and looks and voices are encoded; the models are in the folder, too."""
    soundfile = pytest.importorskip("soundfile", reason="the extra audio is not installed")
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(1)
    write_micro(folder / "data", modalities="[text]")
    (folder / "sounds").mkdir()
    for item in "abdn":
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(folder / f"{item}.png")
        soundfile.write(folder / "sounds" / f"take {item}.wav", rng.normal(0, 0.1, 16_000), 16_000)
    (folder / "sounds" / "junk.wav").write_text("junk")
    image_model("vit", folder)
    image_model("dinov2", folder)
    audio_model("wav2vec2", folder)
    names = [f"take {item}.wav" for item in "abn"]
    pd.DataFrame({"song": [*"abnd"], "file": [*names, "junk.wav"]}).to_csv(folder / "songs.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


def add(place, modality, model, folder, *more):
    where = ["--data_path", str(place / "data"), "--extractor", str(place / model), "--folder", str(folder)]
    return main(["prepare", "add-modality", "micro", "--modality", modality, *where, *map(str, more)])


@pytest.fixture(scope="module")
def recommender(place):
    assert add(place, "look", "vit", place) == add(place, "style", "dinov2", place) == 0
    named = ["--files", place / "songs.csv", "--item_column", "song", "--files_column", "file"]
    assert add(place, "voice", "wav2vec2", place / "sounds", *named) == 0
    how = {**PAIRS, "data_path": str(place / "data"), "adaptive_fits": 1}
    return recbole_cadmr.load(
        recbole_cadmr.train("LinearCADMR", "micro", output=place / "run", settings=how).checkpoint
    )


def vector(place, kind, file, model):
    found = extract(kind, [file], place / "work", str(place / model))
    return np.load(found.features)[0]


def test_an_added_modality_says_what_made_it(place, recommender, capfd):
    encoders = read_encoders(place / "data" / "micro")
    assert {name: (encoder.kind, encoder.model, encoder.columns) for name, encoder in encoders.items()} == {
        "look": ("image", "vit", ()), "style": ("image", "dinov2", ()), "voice": ("audio", "wav2vec2", ("file",)),
    }  # fmt: skip
    features = recommender.catalogue.modalities
    assert {name: modality.present[1:].tolist() for name, modality in features.items()} == {
        "text": [True] * 4, "look": [True, True, False, True], "style": [True, True, False, True],
        "voice": [True, True, False, False],
    }  # fmt: skip
    expected = vector(place, "audio", place / "sounds" / "take b.wav", "wav2vec2")
    assert features["voice"].features[2].numpy().tobytes() == expected.tobytes()
    named = ["--files", place / "songs.csv", "--item_column", "song", "--files_column", "file", "--replace"]
    assert add(place, "voice", "wav2vec2", place / "sounds", *named) == 0
    said = capfd.readouterr()
    assert "voice: 2 of 4 items have it (50.0%)\n" in said.out
    assert "note: voice vectors: 0 encoded, 2 kept from before\n" in said.err
    assert "note: damaged sounds: 1 (" in said.err and "note: items without a sound: 1\n" in said.err


def test_new_items_are_encoded_by_what_made_each_modality(place, recommender, monkeypatch):
    larger, sound = Recommender(recommender.parts), place / "sounds" / "take n.wav"
    given = {"pictures": [place / "n.png"], "sounds": [sound.read_bytes()], "vectors": {"text": [[1.0, 0, 0]]}}
    assert larger.add_items(["n"], **given) == 1
    features = larger.catalogue.modalities
    for name, kind, file, model in (
        ("look", "image", place / "n.png", "vit"),
        ("style", "image", place / "n.png", "dinov2"),
        ("voice", "audio", sound, "wav2vec2"),
    ):
        assert features[name].features[-1].numpy().tobytes() == vector(place, kind, file, model).tobytes()
    assert "n" in set(larger.recommend(["ann"], topk=4)["item_id"])
    with pytest.raises(UserError, match="the sound of 'm' cannot be read as a sound"):
        larger.add_items(["m"], sounds=[place / "sounds" / "junk.wav"])
    with pytest.raises(UserError, match=r"there is no sound '.*nowhere\.wav' of 'm'"):
        larger.add_items(["m"], sounds=[place / "nowhere.wav"])
    with pytest.raises(UserError, match="sounds and vectors both give the modality voice"):
        larger.add_items(["m"], sounds=[sound], vectors={"voice": [[1.0] * 8]})


def test_a_model_that_has_moved_is_found_by_an_argument_and_another_is_refused(place, recommender):
    sound = place / "sounds" / "take n.wav"
    moved = (place / "wav2vec2").rename(place / "elsewhere")
    try:
        with pytest.raises(UserError, match=r"made by 'wav2vec2' \(.*\), which is not known .* say by `audio_model`"):
            Recommender(recommender.parts).add_items(["n"], sounds=[sound])
        assert Recommender(recommender.parts).add_items(["n"], sounds=[sound], audio_model=moved) == 1
    finally:
        moved.rename(place / "wav2vec2")
    with pytest.raises(UserError, match="does not read sounds"):
        Recommender(recommender.parts).add_items(["n"], sounds=[sound], audio_model=place / "vit")


def test_a_table_of_new_items_names_sounds(place, recommender, capsys):
    (place / "new.csv").write_text("item_id,file,picture\nn,sounds/take n.wav,\n")
    columns = Columns.of(recommender.catalogue.encoders, "item_id", "title", (), None)
    read = read_new_items(place / "new.csv", recommender.catalogue.modalities, columns)
    assert read["sounds"] == [place / "sounds" / "take n.wav"] and read["pictures"] == [None]


def test_the_image_model_of_a_new_data_set_is_a_folder(place, capsys):
    (place / "orders.csv").write_text("user_id,item_id\n" + "".join(f"u{u},{i}\n" for u in range(5) for i in "abd"))
    how = ["prepare", "files", "--inter", place / "orders.csv", "--images", place, "--text_model", "none"]
    how = list(map(str, [*how, "--data_path", place / "data", "--name", "shop", "--k_core", 1]))
    assert main([*how, "--image_model", str(place / "vit"), "--weights", str(place / "songs.csv")]) == 2
    assert f"--weights has no effect on {place / 'vit'}, a model of another kind" in capsys.readouterr().err
    assert main([*how, "--image_model", str(place / "wav2vec2")]) == 2
    assert "wav2vec2 reads no pictures; name the folder of another model" in capsys.readouterr().err
    assert main([*how, "--image_model", "vgg"]) == 2
    assert "there is no folder vgg, and torchvision's networks here are alexnet" in capsys.readouterr().err
    assert main([*how, "--image_model", str(place / "vit")]) == 0
    rows = dict(
        zip((place / "data/shop/shop.image").read_text().split()[1:], np.load(place / "data/shop/shop.image.npy"))
    )
    assert rows["d"].tobytes() == vector(place, "image", place / "d.png", "vit").tobytes()
    assert "vector pooled output" in (place / "data" / "shop" / "dataset_card.md").read_text()
