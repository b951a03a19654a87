"""Products that came after training are scored as if they had been there, with nobody having them."""

from __future__ import annotations

import base64
import json
import re
import shutil
from dataclasses import replace

import msgspec
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.recommender.new_item_files import read_new_items
from recbole_cadmr.recommender.recommender import Recommender
from recbole_cadmr.serving.additions import Additions
from recbole_cadmr.serving.bodies import NewItem
from recbole_cadmr.serving.limits import Limits
from tests.extract.networks import minilm, write_weights
from tests.serving.running import KEY, sentence_of, serving

TITLES = {
    "mug": "Red coffee mug",
    "cup": "Blue tea cup",
    "saw": "Steel hand saw",
    "axe": "Heavy splitting axe",
    "hat": "Warm woollen hat",
    "cap": "Summer cap with a visor",
}
NEW = {"pot": "Enamel coffee pot", "tea": "Green tea, loose leaves", "bow": "Bow saw for branches"}
WITH_PICTURE = ["mug", "cup", "saw", "hat", "pot", "bow"]
SETTINGS = {"show_progress": False, "topk": [1, 3], "valid_metric": "Recall@3"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Where these tests keep vectors, and note where encoders lie."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "recbole_cadmr"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Orders of six products, and nine products with titles, six of them with a picture."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(3)
    pairs = [(f"u{u}", item) for u in range(14) for item in rng.permutation(list(TITLES))[:4]]
    (folder / "orders.csv").write_text("\n".join(["user_id,item_id", *map(",".join, pairs), ""]))
    everything = {**TITLES, **NEW}
    pd.DataFrame({"item_id": everything.keys(), "title": everything.values()}).to_csv(folder / "items.csv", index=False)
    (folder / "pictures").mkdir()
    for item in WITH_PICTURE:
        pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(folder / "pictures" / f"{item}.png")
    write_weights("alexnet", folder / "alexnet.pth")
    shutil.copytree(minilm(), folder / "minilm")
    return folder


def prepared(place, name, *options):
    how = ["--inter", "orders.csv", "--items", "items.csv", "--images", "pictures", "--text_model", "minilm"]
    how = [str(place / word) if not word.startswith("--") else word for word in how]
    how += ["--image_model", "alexnet", "--weights", str(place / "alexnet.pth"), "--k_core", "2"]
    assert main(["prepare", "files", *how, "--data_path", str(place / "data"), "--name", name, *options]) == 0
    return place / "data" / name


@pytest.fixture(scope="module")
def sets(place):
    return prepared(place, "before"), prepared(place, "after", "--keep_new_items")


def load(place, name, model, **settings):
    how = {**SETTINGS, "data_path": str(place / "data"), **settings}
    run = recbole_cadmr.train(model, name, output=place / f"{name}-{model}", settings=how)
    return recbole_cadmr.load(run.checkpoint)


@pytest.fixture(scope="module")
def recommender(place, sets):
    return load(place, "before", "LinearCADMR", adaptive_fits=1)


@pytest.fixture(scope="module")
def expected(place, sets):
    return load(place, "after", "LinearCADMR", adaptive_fits=1)


def pictures_of(place, items):
    return [place / "pictures" / f"{item}.png" if item in WITH_PICTURE else None for item in items]


@pytest.fixture(scope="module")
def grown(place, recommender):
    """The model without the new products, given them in two steps; a picture as a file and as bytes."""
    larger = Recommender(recommender.parts)
    pot, _, bow = pictures_of(place, NEW)
    assert larger.add_items(["pot"], [NEW["pot"]], [pot.read_bytes()], titles=[NEW["pot"]]) == 1
    how = {"texts": ["Green tea,\nloose  leaves", NEW["bow"]], "pictures": [None, bow], "titles": [None, NEW["bow"]]}
    assert larger.add_items(["tea", "bow"], **how) == 2
    return larger


def scores(recommender, items):
    lists = recommender.recommend(topk=9, leave_out="none")
    return lists.pivot(index="user_id", columns="item_id", values="score").loc[:, items]


def test_the_data_set_says_what_made_its_vectors(sets, place):
    for folder in sets:
        encoders = json.loads((folder / "encoders.json").read_text())
        assert encoders["text"]["model"] == encoders["text"]["weights"] == "minilm"
        assert encoders["image"]["model"] == "alexnet" and encoders["image"]["weights"] == "alexnet.pth"
        assert encoders["text"]["columns"] == ["title"] and encoders["image"]["columns"] == []
        assert "/" not in (folder / "encoders.json").read_text()
        assert encoders["text"]["card"]["SHA-256 of its weights"].startswith("53aa51172d14")
        assert encoders["image"]["card"]["weights"].startswith("SHA-256 ")


def test_scores_are_those_of_products_that_were_there_from_the_start(recommender, grown, expected):
    assert recommender.takes_new_items and len(recommender.items) == 6  # the one without them is as it was
    assert grown.items == [*recommender.items, "pot", "tea", "bow"]
    items = [*TITLES, *NEW]
    assert np.abs(scores(grown, items).to_numpy() - scores(expected, items).to_numpy()).max() < 1e-5
    assert scores(grown, list(NEW)).to_numpy().min() > 0
    assert grown.titles == {**TITLES, "pot": NEW["pot"], "bow": NEW["bow"]}


def test_they_stand_in_histories_and_beside_others_like_them(grown, expected):
    history = pd.DataFrame({"user_id": ["x", "x"], "item_id": ["pot", "saw"]})
    found, skipped = grown.recommend_from_history(history, topk=9)
    wanted, _ = expected.recommend_from_history(history, topk=9)
    assert skipped == 0 and found["item_id"].tolist() == wanted["item_id"].tolist()
    assert np.allclose(found["score"], wanted["score"], atol=1e-5)
    similar, same = (r.similar_items("pot", topk=9, by="content") for r in (grown, expected))
    assert dict(zip(similar["item_id"], similar["score"])) == pytest.approx(
        dict(zip(same["item_id"], same["score"])), abs=1e-5
    )
    assert grown.similar_items("bow", by="behaviour").empty
    explanation = grown.explain(history=["pot", "saw"], item="mug")
    assert explanation.score == pytest.approx(expected.explain(history=["saw", "pot"], item="mug").score, abs=1e-5)


def test_vectors_in_place_of_texts(place, recommender, expected):
    width = {name: modality.width for name, modality in recommender.catalogue.modalities.items()}
    vectors = {name: np.zeros((3, n), np.float32) for name, n in width.items()}
    for row, item in enumerate(NEW):
        number = expected.catalogue.item_number(item)
        for name, modality in expected.catalogue.modalities.items():
            vectors[name][row] = modality.features[number]
    larger = Recommender(recommender.parts)
    larger.add_items(list(NEW), vectors=vectors)
    items = [*TITLES, *NEW]
    assert np.abs(scores(larger, items).to_numpy() - scores(expected, items).to_numpy()).max() < 1e-5


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"ids": []}, "no item is given"),
        ({"ids": ["x", "x"]}, "the item 'x' is given more than once"),
        ({"ids": ["mug"]}, "1 of the 1 items are in the catalogue already, the first is 'mug'"),
        ({"ids": ["a\tb"]}, "an item cannot be called"),
        ({"ids": ["[PAD]"]}, "an item cannot be called"),
        ({"ids": ["x"], "texts": "a pot"}, "`texts` must be a list, one for each of `ids`, not str"),
        ({"ids": ["x"], "texts": ["a", "b"]}, "`texts` has 2 entries for 1 items"),
        ({"ids": ["x"], "texts": [7]}, "`texts` must hold texts, not 7"),
        ({"ids": ["x"]}, "nothing is known about the content of 'x': give it what the model reads, text, image"),
        ({"ids": ["x"], "texts": [" <br> "]}, "nothing is known about the content of 'x'"),
        ({"ids": ["x"], "pictures": ["gone.png"]}, "there is no picture 'gone.png' of 'x'"),
        ({"ids": ["x"], "pictures": [b"GIF89a no more"]}, "the picture of 'x' cannot be read as a picture"),
        ({"ids": ["x"], "pictures": [3]}, "`pictures` must hold names of files or their bytes, not int"),
        ({"ids": ["x"], "vectors": [[1.0]]}, "`vectors` must say of which modality they are: {text, image: array}"),
        ({"ids": ["x"], "vectors": {"smell": [[1.0]]}}, "the model reads no modality 'smell'; it reads text, image"),
        ({"ids": ["x"], "vectors": {"text": [[1.0, 2.0]]}}, "the text vectors must be 1 x 384 numbers, not 1 x 2"),
        ({"ids": ["x"], "vectors": {"text": [["a"] * 384]}}, "the text vectors must be numbers"),
        ({"ids": ["x"], "vectors": {"text": [[float("nan")] * 384]}}, "the text vector of 'x' holds NaN or infinite"),
        ({"ids": ["x"], "vectors": {"text": [[1e300] * 384]}}, "the text vector of 'x' holds NaN or infinite"),
        ({"ids": ["x"], "vectors": {"text": [[1e18] * 384]}}, "the text vector of 'x' holds numbers beyond 1e.15"),
        ({"ids": ["x"], "texts": ["t"], "vectors": {"text": [[1.0] * 384]}}, "both give the modality text"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(recommender, how, message):
    with pytest.raises(UserError, match=message) as error:
        recommender.add_items(**how)
    assert "\n" not in str(error.value) and len(recommender.items) == 6


def test_a_text_of_a_megabyte_is_read_as_far_as_the_model_reads(recommender, caplog):
    larger = Recommender(recommender.parts)
    larger.add_items(["long", "short"], ["coffee pot " * 100_000, "coffee pot " * 300])
    assert caplog.messages == ["of 1 texts with more than 100,000 characters only these are read"]
    features = larger.catalogue.modalities["text"].features
    assert np.allclose(features[-1], features[-2], atol=1e-6) and features[-1].any()


def test_another_encoder_than_the_data_sets_is_refused(place, recommender):
    other = place / "other"
    if not other.is_dir():
        from safetensors.torch import load_file, save_file

        shutil.copytree(place / "minilm", other)
        tensors = {name: tensor + 1e-3 for name, tensor in load_file(other / "model.safetensors").items()}
        save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        UserError, match="is not the one that made the data set: its weights are others; .*`text_model`"
    ):
        recommender.add_items(["x"], ["a pot"], text_model=other)


def test_the_same_encoder_may_lie_in_a_folder_of_another_name(place, recommender):
    elsewhere = place / "moved" / "text-encoder"
    shutil.copytree(place / "minilm", elsewhere)
    larger = Recommender(recommender.parts)
    assert larger.add_items(["x"], [NEW["pot"]], text_model=elsewhere) == 1


def test_where_an_encoder_lies_is_noted_where_the_data_set_was_made(recommender, cache, monkeypatch, tmp_path):
    notes = [json.loads(path.read_text()) for path in (cache / "encoders").iterdir()]
    assert sorted(note["kind"] for note in notes) == ["image", "text"]
    recommender.export(tmp_path / "export")
    texts = [path.read_text() for path in (tmp_path / "export").glob("*.json")]
    assert not any(note["place"] in text or str(tmp_path) in text for note in notes for text in texts)
    assert '"model": "minilm"' in "".join(texts)
    exported = recbole_cadmr.load(tmp_path / "export")
    assert exported.add_items(["pot"], [NEW["pot"]]) == 1
    # On another machine it is named, or another version of this package wrote where it lies.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    exported = recbole_cadmr.load(tmp_path / "export")
    with pytest.raises(UserError) as raised:
        exported.add_items(["pot"], [NEW["pot"]])
    said = (
        "the vectors of the data set were made by 'minilm' \\(model minilm, SHA-256 of its weights [0-9a-f]{64}, type "
    )
    assert re.fullmatch(f"{said}float32\\), which is not known on this machine; say by `text_model` where it lies",
                        str(raised.value))  # fmt: skip
    place = next(note["place"] for note in notes if note["kind"] == "text")
    own = recommender.catalogue.encoders
    former = msgspec.structs.replace(own["text"], model=place, weights="", columns=())
    assert former.named() == msgspec.structs.replace(own["text"], columns=())
    catalogue = replace(recommender.catalogue, encoders={**own, "text": former})
    assert Recommender(replace(recommender.parts, catalogue=catalogue)).add_items(["pot"], [NEW["pot"]]) == 1
    assert exported.add_items(["pot"], [NEW["pot"]], text_model=place) == 1


def test_vectors_that_are_kept_are_taken(place, recommender, cache):
    """Those of prepare, to the bit; what is new is kept for the next one."""
    bow = place / "pictures" / "bow.png"  # which prepare has seen, too
    first, second = Recommender(recommender.parts), Recommender(recommender.parts)
    before = {path.name for path in cache.glob("vectors/*/*.npz")}
    first.add_items(
        ["again", "new"], [TITLES["mug"], "Copper kettle"], [place / "pictures/mug.png", bow], vector_cache=1
    )
    found = first.catalogue.modalities
    for name in ("text", "image"):
        features = found[name].features
        assert torch.equal(features[-2], features[recommender.catalogue.item_number("mug")])
    after = {path.name for path in cache.glob("vectors/*/*.npz")}
    assert len(after - before) == 1 and before <= after
    second.add_items(["new"], ["Copper kettle"], [bow], vector_cache=1)
    assert torch.equal(second.catalogue.modalities["text"].features[-1], found["text"].features[-1])
    assert {path.name for path in cache.glob("vectors/*/*.npz")} == after


def test_a_data_set_that_does_not_name_its_encoders_takes_vectors_alone(place, sets, recommender):
    catalogue = recommender.catalogue
    unnamed = Recommender(recommender.parts)
    unnamed.replace(replace(unnamed.parts, catalogue=replace(catalogue, encoders={})))
    with pytest.raises(UserError, match="texts cannot be encoded: the data set does not say what made vectors of them"):
        unnamed.add_items(["x"], ["a pot"])


def test_models_that_learn_every_item_take_none(place, sets):
    other = load(place, "before", "BPR", epochs=1)
    assert not other.takes_new_items
    with pytest.raises(UserError, match="BPR takes no new items: it learns every item by itself"):
        other.add_items(["x"], ["a pot"])


def test_the_command_takes_a_file_of_them(place, sets, recommender, expected, capsys):
    table = pd.DataFrame({"sku": list(NEW), "title": list(NEW.values())})
    table["picture"] = [f"pictures/{item}.png" if item in WITH_PICTURE else "" for item in NEW]
    file, output = place / "new.csv", place / "lists.csv"
    table.to_csv(file, index=False)
    how = ["--checkpoint", str(recommender.parts.source.file), "--topk", "9", "--leave_out", "none"]
    assert (
        main(
            [
                "recommend",
                *how,
                "--new_items",
                str(file),
                "--item_column",
                "sku",
                "--with",
                "title",
                "--output",
                str(output),
            ]
        )
        == 0
    )
    assert f"3 new items of {file}" in capsys.readouterr().out
    lists = pd.read_csv(output)
    found = lists.pivot(index="user_id", columns="item_id", values="score")[[*TITLES, *NEW]]
    assert np.abs(found.to_numpy() - scores(expected, [*TITLES, *NEW]).to_numpy()).max() < 1e-5
    assert set(lists.loc[lists["item_id"] == "tea", "title"]) == {NEW["tea"]}


def test_the_command_counts_and_skips_products_without_content(place, recommender, tmp_path, capsys):
    how = ["recommend", "--checkpoint", str(recommender.parts.source.file), "--topk", "7", "--leave_out", "none"]
    file, output = tmp_path / "new.jsonl", tmp_path / "lists.csv"
    width = recommender.catalogue.modalities["text"].width
    rows = [{"item_id": "pot", "text_vector": [1.0] * width}, {"item_id": "nil", "title": "Nil"}, {"item_id": "nul"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main([*how, "--new_items", str(file), "--output", str(output)]) == 0
    said = capsys.readouterr().out
    assert f"1 new items of {file}" in said
    assert f"2 items of {file} have no text, picture, sound or vector; they were skipped" in said
    assert set(pd.read_csv(output)["item_id"]) == {*TITLES, "pot"}
    file.write_text(json.dumps({"item_id": "nul", "title": " "}) + "\n")
    assert main([*how, "--new_items", str(file), "--output", str(tmp_path / "none.csv")]) == 2
    said = capsys.readouterr().err
    assert f"no item of {file} has a text (the data set's texts were made of title), a picture, a sound or a" in said
    assert not (tmp_path / "none.csv").exists()


def test_the_command_says_where_it_looks_for_pictures(recommender, tmp_path, capsys):
    file = tmp_path / "new.jsonl"
    file.write_text(json.dumps({"item_id": "pot", "picture": "pot.png"}) + "\n")
    how = ["--checkpoint", str(recommender.parts.source.file), "--new_items", str(file), "--topk=3", "--output=x"]
    assert main(["recommend", *how]) == 2
    said = f"there is no picture {tmp_path / 'pot.png'}, which {file} names; say by --images where the pictures are"
    assert said in capsys.readouterr().err


def test_the_command_passes_over_products_that_are_there(recommender, tmp_path, capsys):
    known = next(iter(TITLES))
    file, output = tmp_path / "new.jsonl", tmp_path / "lists.csv"
    file.write_text(json.dumps({"item_id": known, "title": "another one"}) + "\n")
    how = ["--checkpoint", str(recommender.parts.source.file), "--topk", "6", "--leave_out", "none"]
    assert main(["recommend", *how, "--new_items", str(file), "--with", "title", "--output", str(output)]) == 0
    assert f"1 items of {file} are in the catalogue already, and stay as they are there" in capsys.readouterr().out
    lists = pd.read_csv(output)
    assert set(lists.loc[lists["item_id"] == known, "title"]) == {TITLES[known]}


def test_files_of_vectors(place, recommender, expected):
    rows = []
    for item in NEW:
        number = expected.catalogue.item_number(item)
        modalities = expected.catalogue.modalities.items()
        rows.append({"item_id": item} | {f"{name}_vector": m.features[number].tolist() for name, m in modalities})
    (place / "v.jsonl").write_text("\n".join(map(json.dumps, rows)))
    larger = Recommender(recommender.parts)
    larger.add_items(**read_new_items(place / "v.jsonl", recommender.catalogue.modalities))
    items = [*TITLES, *NEW]
    assert np.abs(scores(larger, items).to_numpy() - scores(expected, items).to_numpy()).max() < 1e-5


def test_pictures_and_texts_come_over_http(place, recommender, tmp_path, monkeypatch):
    recommender.export(tmp_path / "shop")
    content = (place / "pictures" / "bow.png").read_bytes()
    alone = recbole_cadmr.load(tmp_path / "shop")
    alone.add_items(["bow"], [NEW["bow"]], [content])
    encoded = base64.b64encode(content).decode()

    def item(**what):
        return {"items": [{"id": "x", "title": "X", **what}]}

    with serving({"shop": tmp_path / "shop"}, key=KEY, limits=Limits(body=100_000)) as running:
        served = running.models.get("shop").recommender

        def refused(what, status):
            return sentence_of(running.post("/v1/items", item(**what), x_api_key=KEY), status)

        for picture in (encoded, f"data:image/png;base64,{encoded}"):
            body = {"items": [{"id": f"bow{len(picture)}", "text": NEW["bow"], "picture": picture}]}
            assert running.post("/v1/items", body, x_api_key=KEY).json() == {"models": {"shop": {"new_items": 1}}}
        for name, modality in alone.catalogue.modalities.items():
            assert torch.equal(served.catalogue.modalities[name].features[-2:], modality.features[[-1, -1]])
        for junk in ("", "R0lGODlh", base64.b64encode(b"<svg/>").decode()):
            assert refused({"picture": junk}, 400) == "shop: the picture of 'x' cannot be read as a picture"
        for wrong in ("no base64", "a", 7, ["a"], encoded[:-2] + "\n"):
            assert "`items[0].picture` must be the file of a picture in base64" in refused({"picture": wrong}, 422)
        assert "at most 100,000 bytes" in refused({"picture": encoded + "A" * 100_000}, 413)
        assert len(served.items) == 8
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        said = refused({"picture": encoded}, 400)
        assert (
            "made by 'alexnet.pth' (model alexnet, fc7, weights SHA-256 " in said and "say by `weights` where" in said
        )


def test_the_next_export_is_given_what_came_as_text_and_what_came_as_vectors(recommender, tmp_path):
    recommender.export(tmp_path / "shop")
    served, following = (recbole_cadmr.load(tmp_path / "shop") for _ in range(2))
    told, vector = Additions(3), [0.5] * recommender.catalogue.modalities["text"].width
    for item in ({"text": "A bowl"}, {"vectors": {"text": vector}}, {"text": "A rug"}):
        told.add_items(served, [NewItem(id=f"new-{len(served.items)}", **item)])
    assert told.replay(following) == {"new_items": 3, "new_pairs": 0, "lost_items": 0, "lost_pairs": 0}
    for item in served.items[-3:]:
        scores = [shop.recommend(["u1"], topk=1, candidates=[item])["score"].item() for shop in (served, following)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-6) and scores[0] != 0


def test_texts_of_some_items_and_vectors_of_others_are_taken_at_once(recommender):
    vector = [0.5] * recommender.catalogue.modalities["text"].width
    none = [0.0] * len(vector)
    apart, together = Recommender(recommender.parts), Recommender(recommender.parts)
    apart.add_items(["one"], ["A copper bowl"])
    apart.add_items(["two"], vectors={"text": [vector]})
    together.add_items(["one", "two"], ["A copper bowl", None], vectors={"text": [none, vector]})
    for modality, other in zip(*(each.catalogue.modalities.values() for each in (apart, together))):
        assert torch.allclose(modality.features, other.features, atol=1e-6) and modality.present.equal(other.present)
    items = [NewItem(id="x", text="A copper bowl"), NewItem(id="y", vectors={"text": vector}), NewItem(id="z", text="")]
    assert Additions(9).add_items(Recommender(recommender.parts), items[:2]) == {"new_items": 2}
    with pytest.raises(UserError, match="nothing is known about the content of 'z'"):
        Additions(9).add_items(Recommender(recommender.parts), items)
    both = {"vectors": {"text": [none, vector]}, "texts": ["A bowl", "A rug"]}
    with pytest.raises(UserError, match="texts and vectors both give the modality text of 'y'; give one of them"):
        Recommender(recommender.parts).add_items(["x", "y"], **both)
