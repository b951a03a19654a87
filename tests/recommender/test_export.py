"""Exports: the lists of the checkpoint without it, refused when anything is not as it was written."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from recbole.data.interaction import Interaction

from recbole_cadmr.data.modality import Modality
from recbole_cadmr.errors import UserError
from recbole_cadmr.recommender.attention_engine import AttentionEngine
from recbole_cadmr.recommender.load import load
from recbole_cadmr.recommender.load_checkpoint import parts_of
from recbole_cadmr.recommender.pruning import prune
from recbole_cadmr.recommender.recommender import Recommender
from recbole_cadmr.recommender.vectors_engine import VectorsEngine
from recbole_cadmr.recommender.weights_engine import WeightsEngine
from tests.micro import SMALL, TRAIN, open_micro, write_micro
from tests.models.two_domains import opened as opened_two
from tests.models.two_domains import write_two
from tests.recommender.made import made

BEST = {**SMALL, "preset": "best", "attention_size": 4, "linear_settings": {"adaptive_fits": 1}}
MODELS = {
    "LinearCADMR": ("LinearCADMR", {"reg_weight": 2.0}),
    "low rank": ("LinearCADMR", {"reg_weight": 2.0, "fit": "sparse"}),
    "best": ("CADMR", BEST),
    "best, two members": ("CADMR", {**BEST, "ensemble_size": 2}),
    "CEASE": ("CEASE", {}),
    "RP3beta": ("RP3beta", {}),
    "EASE": ("EASE", {"reg_weight": 2.0}),
    "ItemKNN": ("ItemKNN", {"k": 3}),
    "SLIMElastic": ("SLIMElastic", {"alpha": 0.01}),
    "BPR": ("BPR", {"embedding_size": 3}),
    "LightGCN": ("LightGCN", {"embedding_size": 4, "n_layers": 2}),
    "VBPR": ("VBPR", {"embedding_size": 4}),
    "MultiVAE": ("MultiVAE", {"mlp_hidden_size": [5], "latent_dimension": 3}),
}


def opened(folder, name):
    model, settings = MODELS[name]
    session = open_micro(write_micro(folder), model, **settings)
    session.model.eval()
    if model in ("LinearCADMR", "CEASE", "RP3beta"):
        session.model.calculate_loss(Interaction({"user_id": torch.tensor([1])}))
    return session


@pytest.fixture(scope="module")
def two_domains(tmp_path_factory):
    """A data set whose interactions have an order."""
    return write_two(tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A recommender of LinearCADMR and the folder of its export."""
    folder = tmp_path_factory.mktemp("linear")
    recommender = Recommender(parts_of(opened(folder, "LinearCADMR")))
    recommender.export(folder / "export")
    return recommender, folder / "export"


@pytest.fixture
def folder(exported, tmp_path):
    """A copy of that folder."""
    shutil.copytree(exported[1], tmp_path / "export")
    return tmp_path / "export"


@pytest.mark.parametrize("name", MODELS)
def test_an_export_recommends_what_the_model_does(tmp_path, name):
    session = opened(tmp_path, name)
    whole = Recommender(parts_of(session))
    users = torch.arange(1, 6)
    with torch.no_grad():
        scores = session.model.full_sort_predict(Interaction({"user_id": users})).view(5, -1)[:, 1:]
    whole.export(tmp_path / "export")
    again = load(tmp_path / "export")
    kinds = {"BPR": VectorsEngine, "LightGCN": VectorsEngine, "VBPR": VectorsEngine, "MultiVAE": VectorsEngine}
    kinds |= {"best": AttentionEngine, "best, two members": AttentionEngine}
    assert isinstance(again.engine, kinds.get(name, WeightsEngine))
    assert again.model_name == MODELS[name][0] and again.users == whole.users and again.items == whole.items
    frame = again.recommend(topk=4, leave_out="none", popular=False)
    for place, user in enumerate(whole.users):
        rows = frame[frame["user_id"] == user].sort_values("item_id")
        assert rows["score"].to_numpy() == pytest.approx(scores[place].numpy(), abs=1e-5)
    # The same lists as before, with what is left out, the most popular and all.
    first, second = whole.recommend(topk=4), again.recommend(topk=4)
    assert first.drop(columns="score").equals(second.drop(columns="score"))
    assert whole.explains or name in ("BPR", "LightGCN", "MultiVAE")
    assert again.explains == whole.explains
    if whole.takes_histories:
        for explanation in (again.explain("cid", item=item) for item in "abcd"):
            score = frame.set_index(["user_id", "item_id"])["score"]["cid", explanation.item]
            assert explanation.parts["contribution"].sum() == pytest.approx(score, abs=1e-5)
        history = pd.DataFrame({"user_id": "x", "item_id": ["a", "c"]})
        one, two = (r.recommend_from_history(history, 2)[0] for r in (whole, again))
        assert two["score"].to_numpy() == pytest.approx(one["score"].to_numpy(), abs=1e-5)
        assert one["item_id"].tolist() == two["item_id"].tolist()
    else:
        with pytest.raises(UserError, match="it takes no `history`"):
            again.recommend_from_history(pd.DataFrame({"user_id": "x", "item_id": ["a"]}))
    again.export(tmp_path / "twice")
    assert load(tmp_path / "twice").recommend(topk=4).equals(second)


@pytest.mark.parametrize("trained", [False, True])
def test_an_export_of_vbpr_explains_as_its_checkpoint_does(tmp_path, trained):
    session = open_micro(write_micro(tmp_path), "VBPR", embedding_size=4, trainable_features=trained)
    whole = Recommender(parts_of(session))
    whole.export(tmp_path / "export")
    again = load(tmp_path / "export")
    scores = again.recommend(topk=4, leave_out="none", popular=False).set_index(["user_id", "item_id"])["score"]
    for item in "abcd":
        expected, found = (each.explain("cid", item=item).by_path() for each in (whole, again))
        assert found["contribution"].sum() == pytest.approx(scores["cid", item], abs=1e-6)
        if not trained:
            assert found[["path", "modality"]].equals(expected[["path", "modality"]])
            assert found["contribution"].to_numpy() == pytest.approx(expected["contribution"].to_numpy(), abs=1e-6)
        else:  # it holds the map, but not the features that it was trained with
            assert found["path"].tolist() == ["free vectors", "content"]
            assert found["contribution"][0] == pytest.approx(expected["contribution"][0], abs=1e-6)
    again.update(pd.DataFrame({"user_id": ["new"], "item_id": ["a"]}))
    with pytest.raises(UserError, match="'new'; people the model has not seen need a `history`"):
        again.explain("new", item="b")


def test_models_that_cannot_be_exported_say_so(tmp_path):
    session = open_micro(write_micro(tmp_path), "CADMR")
    with pytest.raises(UserError, match="CADMR cannot be exported: neither weights"):
        Recommender(parts_of(session)).export(tmp_path / "export")
    with pytest.raises(UserError, match="Given cannot be exported"):
        made().export(tmp_path / "export")
    assert not (tmp_path / "export").exists() and not list(tmp_path.glob(".export*"))
    with pytest.raises(UserError, match="neighbours must be a whole number from 1 on, not 0"):
        made().export(tmp_path / "export", neighbours=0)


def test_weights_that_are_not_those_of_items_stay_with_their_model(tmp_path):
    session = open_micro(write_micro(tmp_path), "ItemKNN", k=3, knn_method="user")
    of_users = Recommender(parts_of(session))
    assert not of_users.takes_histories and not of_users.explains
    with pytest.raises(UserError, match="ItemKNN cannot be exported: neither weights of items by items"):
        of_users.export(tmp_path / "export")


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "BERT4Rec", "TwoDomainSASRec"])
def test_models_of_sequences_say_that_they_are(tmp_path, two_domains, model):
    session = opened_two(two_domains, model, **({"MAX_ITEM_LIST_LENGTH": 5} if model != "TwoDomainSASRec" else {}))
    recommender = Recommender(parts_of(session))
    assert not recommender.explains
    user, item = recommender.users[0], recommender.items[0]
    with pytest.raises(UserError, match=f"{model} is a model of sequences: its scores come from the order of all"):
        recommender.explain(user, item=item)
    with pytest.raises(UserError, match=f"{model} cannot be exported: it is a model of sequences, whose scores come"):
        recommender.export(tmp_path / "export")
    with pytest.raises(UserError, match=f"{model} has no embeddings to export: its scores are no inner products"):
        recommender.export_embeddings(tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_why_is_kept_and_adds_up_on_what_is_pruned(exported, tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_cadmr.recommender.pruning._MOST", 2)  # of four items, all are kept otherwise
    whole, folder = exported
    again = load(folder)
    assert again.explains and again.titles == whole.titles
    for item in "abcd":
        expected, found = (r.explain("cid", item=item) for r in (whole, again))
        assert found.score == pytest.approx(expected.score, abs=1e-6)
        assert found.parts["contribution"].sum() == pytest.approx(found.score, abs=1e-12)
        one, two = (e.by_path().set_index(["path", "modality"])["contribution"] for e in (expected, found))
        assert two.reindex(one.index, fill_value=0.0).to_numpy() == pytest.approx(one.to_numpy(), abs=1e-3)
    weighed = [r.recommend(["cid"], 4, "none", content_weight=0.3)["score"].to_numpy() for r in (whole, again)]
    assert weighed[1] == pytest.approx(weighed[0], abs=1e-3)
    whole.export(tmp_path / "small", neighbours=1)
    small = load(tmp_path / "small")
    assert 4 <= small.engine.weights.nnz <= 8
    rows = small.recommend(["cid"], 4, "none").set_index("item_id")["score"]
    for item in rows.index:
        assert small.explain("cid", item=item).score == pytest.approx(rows[item], abs=1e-6)


def of_two(W):
    """Which entries are the two largest of their rows, by magnitude."""
    return np.abs(W) >= np.partition(np.abs(W), -2, 1)[:, [-2]]


def test_the_largest_entries_are_kept_and_some_of_every_row_and_column():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((40, 40)).astype(np.float32)
    W[:5] *= 0.01  # rare items
    W[:, 30:] *= 0.01
    cold = np.zeros(40, dtype=bool)
    kept = prune(torch.from_numpy(W), 8, cold).toarray()
    assert (kept != 0).sum() == 320 and np.array_equal(kept[kept != 0], W[kept != 0])
    assert (kept != 0).sum(1).min() == 2 and (kept != 0).sum(0).min() == 2
    sure = of_two(W) | of_two(W.T).T
    assert (kept[sure] != 0).all()
    others = ~sure
    assert np.abs(W[others & (kept == 0)]).max() <= np.abs(kept[others & (kept != 0)]).min()
    assert np.array_equal(prune(sp.csr_matrix(W), 8, cold).toarray(), kept)
    assert np.array_equal(prune(torch.from_numpy(W), 10, cold).toarray(), W)  # four times as many are all


def test_of_items_that_nobody_has_four_times_as_many_are_kept():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((40, 40)).astype(np.float32)
    W[:, 39] *= 1e-3
    cold = np.arange(40) == 39
    kept = prune(torch.from_numpy(W), 4, cold).toarray()
    assert (kept != 0).sum() == 160 and (kept[:, 39] != 0).sum() == 16
    assert np.abs(W[kept[:, 39] == 0, 39]).max() < np.abs(W[kept[:, 39] != 0, 39]).min()


def test_the_card_says_what_it_is_and_what_pruning_costs(exported):
    whole, folder = exported
    card = json.loads((folder / "card.json").read_text())
    assert card["model"] == "LinearCADMR" and card["fingerprint"] == whole.parts.card["fingerprint"]
    assert card["versions"]["torch"] == torch.__version__ and "hand on" in card["licence"]
    measured = card["measured"]
    assert measured["recall@20 on validation"] == measured["recall@20 on validation, as exported"] == 1.0
    assert measured["shared of the best 20"] == 1.0 and measured["users"] == 2  # ann and bob have validation items
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["reg_weight"] == 2.0 and "data_path" not in settings
    neighbours = pd.read_parquet(folder / "neighbours.parquet").astype({"item": str, "neighbour": str})
    S = whole.engine.weights.numpy()
    for row in neighbours.itertuples():
        assert row.weight == S["abcd".index(row.item), "abcd".index(row.neighbour)]
    rows = pd.read_parquet(folder / "histories.parquet").astype(str)
    train = rows[rows["part"] == "train"]
    assert sorted(train["user_id"] + " " + train["item_id"]) == sorted(TRAIN)
    names = {path.name for path in folder.iterdir()}
    assert names == {*json.loads((folder / "manifest.json").read_text())["files"], "manifest.json"}
    assert load(folder).version == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()[:12]


def edit(folder, name, change):
    """Change a file, and the manifest so that it does not show."""
    file, manifest = folder / name, json.loads((folder / "manifest.json").read_text())
    file.write_bytes(change(file.read_bytes()))
    content = file.read_bytes()
    manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_features_too_small_for_half_precision_are_kept_whole(exported, tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_cadmr.recommender.export._WHOLE", 100)
    parts = exported[0].parts
    text = parts.catalogue.modalities["text"]
    tiny = Modality("text", text.features * 1e-7, text.present)
    catalogue = replace(parts.catalogue, modalities={**parts.catalogue.modalities, "text": tiny})
    Recommender(replace(parts, catalogue=catalogue)).export(tmp_path / "tiny")
    found = load(tmp_path / "tiny").catalogue.modalities
    assert torch.equal(found["text"].features, tiny.features)
    assert torch.equal(found["image"].features, parts.catalogue.modalities["image"].features.half().float())


@pytest.mark.parametrize("name", ["items.parquet", "neighbours.parquet", "engine.safetensors", "card.json"])
def test_what_was_cut_short_or_changed_is_refused(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1])
    with pytest.raises(UserError, match=f"was cut short: {name} has [0-9,]+ of [0-9,]+ bytes; export"):
        load(folder)
    (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=f"{name} was changed after the export: its hash is another"):
        load(folder)
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"was cut short: {name} is missing"):
        load(folder)


def test_other_versions_and_strangers_are_refused(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    for change, sentence in (
        ({"format_version": 3}, "is an export of format version 3, this package reads 2; export the checkpoint again"),
        ({"format": "another"}, "is not the manifest of an export of this package"),
        (
            {"files": {**manifest["files"], "../evil": {"bytes": 1, "sha256": 64 * "0"}}},
            "does not name the files of an export",
        ),
        ({"files": {}}, "does not name the files of an export"),
        ({"files": 3}, "does not give size and SHA-256 of each file"),
    ):
        (folder / "manifest.json").write_text(json.dumps({**manifest, **change}))
        with pytest.raises(UserError, match=sentence):
            load(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(UserError, match="is a folder; give the model.pt in it, or the folder of an export"):
        load(folder)


def damaged(manifest):
    """Manifests with something else in each place, in turn, and cut short."""
    text = json.dumps(manifest)
    yield from (text[:end] for end in range(0, len(text), 97))
    yield from (
        "[]",
        "7",
        "null",
        '"a"',
        "{}",
        "[" * 10_000,
        "{" + text,
        "\0",
        "1e999",
        text.replace('"', "'"),
        text + "x",
    )
    yield text.replace('"format_version": 2', f'"format_version": 2{"0" * 5000}')
    for junk in (None, True, -1, 1.5, 10**400, float("inf"), "", "x" * 10_000, [], [1], {}, {"a": {}}):
        yield from (json.dumps({**manifest, key: junk}) for key in manifest)
        for name, identity in [*manifest["files"].items()][:1]:
            yield json.dumps({**manifest, "files": {**manifest["files"], name: junk}})
            for key in identity:
                files = {**manifest["files"], name: {**identity, key: junk}}
                yield json.dumps({**manifest, "files": files})
    for key in manifest:
        yield json.dumps({name: value for name, value in manifest.items() if name != key})


def test_every_damage_of_a_manifest_is_one_sentence_in_the_words_of_users(folder):
    manifest, words = json.loads((folder / "manifest.json").read_text()), set()
    for content in damaged(manifest):
        (folder / "manifest.json").write_text(content)
        with pytest.raises(UserError) as raised:
            load(folder)
        said = str(raised.value)
        assert said.endswith("; export the checkpoint again") and "\n" not in said and len(said) < 400, content[:200]
        words |= set(said.replace(str(folder), "").split())
    (folder / "manifest.json").write_bytes(b'{"format": "\xff"}')
    with pytest.raises(UserError, match="it is not an object of JSON; export the checkpoint again$"):
        load(folder)
    assert not words & {"'NoneType'", "'list'", "attribute", "Expected", "byte", "int", "str", "indices"}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("card.json", lambda content: content.replace(b'"weights"', b'"pickle"')),
        ("card.json", lambda content: content.replace(b'"scale"', b'"scales"')),
        ("items.parquet", lambda content: b"PAR1" + content),
        ("items.parquet", lambda content: pickle.dumps("evil")),
        ("engine.safetensors", lambda content: pickle.dumps("evil")),
        ("engine.safetensors", lambda content: content[:8] + content[8:].replace(b"term 0", b"term 9")),
        ("neighbours.parquet", lambda content: content.replace(b"neighbour", b"neighbouR")),
        ("settings.json", lambda content: b"{"),
    ],
)
def test_what_was_edited_with_its_hash_is_refused_without_running_it(folder, name, change):
    edit(folder, name, change)
    with pytest.raises(UserError, match="is damaged or was edited"):
        load(folder)


def test_a_link_to_an_export_is_followed_and_one_inside_refused(folder, exported):
    link = folder.with_name("now")
    link.symlink_to(folder.name, target_is_directory=True)
    assert load(link).recommend(topk=2).equals(exported[0].recommend(topk=2))
    (folder / "items.parquet").rename(folder.with_name("items.parquet"))
    (folder / "items.parquet").symlink_to(folder.with_name("items.parquet"))
    with pytest.raises(UserError, match="items.parquet is a link"):
        load(link)


def test_what_happens_to_the_files_later_changes_nothing(folder):
    recommender = load(folder)
    before = recommender.recommend(topk=2)
    for path in folder.iterdir():
        path.write_bytes(b"\0" * path.stat().st_size)
    assert recommender.recommend(topk=2, diversity=0.2) is not None and recommender.recommend(topk=2).equals(before)
    with pytest.raises(UserError, match="an export needs no data set"):
        (folder / "manifest.json").write_text("{}")
        load(folder, data_path=folder)


def test_copies_and_pickles_recommend_the_same(exported):
    whole, folder = exported
    for recommender in (whole, load(folder)):
        expected = recommender.recommend(topk=3)
        for twin in (copy.deepcopy(recommender), pickle.loads(pickle.dumps(recommender))):
            assert twin.recommend(topk=3).equals(expected) and twin.version == recommender.version
            assert twin.explain("cid", item="b").score == recommender.explain("cid", item="b").score


def test_an_export_is_asked_without_recbole(exported):
    code = (
        "import sys, recbole_cadmr; r = recbole_cadmr.load(sys.argv[1]); r.recommend(topk=2); r.similar_items('a', 2);"
        "r.explain('cid', item='b'); print(sorted({m.split('.')[0] for m in sys.modules} &"
        " {'recbole', 'ray', 'sklearn', 'transformers', 'torchvision', 'optuna', 'matplotlib'}))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(exported[1])], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
