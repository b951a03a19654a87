"""A model on more than it was trained on is the same model on data that had it from the start."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_cadmr.data.dataset import MultimodalDataset
from recbole_cadmr.data.modality import Modality
from recbole_cadmr.runs.rebuilt import rebuilt
from recbole_cadmr.training.state import random_state
from tests.micro import IMAGE, TEXT, TRAIN, open_micro, write_micro

WITHOUT_C = [row for row in TRAIN if not row.endswith(" c")]
NEW = ["c", "e"]  # e has a text alone
EVERYBODY = Interaction({"user_id": torch.arange(1, 6)})
SOFTMAX = {"objective": "softmax", "attention_size": 4, "attention_weights": [0.3]}


@pytest.fixture(scope="module", params=[False, True], ids=["vectors", "graphs"])
def folders(request, tmp_path_factory):
    """The micro set in which nobody has c or e, with these as new items and without them."""
    places = []
    for name in ("with", "without"):
        folder = write_micro(tmp_path_factory.mktemp(name), train=WITHOUT_C, text=TEXT, image=IMAGE)
        place = folder / "micro"
        (place / "micro.valid.inter").write_text("user_id:token\titem_id:token\nbob\ta\n")
        (place / "micro.test.inter").write_text("user_id:token\titem_id:token\ndot\tb\neve\ta\n")
        if request.param:
            write_graphs(place, [*TEXT] if name == "with" else [item for item in TEXT if item not in NEW])
        if name == "with":
            (place / "micro.item").write_text("\n".join(["item_id:token", *TEXT, ""]))
            with (place / "micro.yaml").open("a") as file:
                file.write("new_items: true\n")
        places.append(folder)
    return places


def write_graphs(place, items):
    """The two nearest of each modality among ``items``; the files hold all."""
    for name, features in (("text", TEXT), ("image", IMAGE)):
        rows = np.array(list(features.values()), dtype=np.float32)
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        cos = unit @ unit.T
        inside = np.array([item in items for item in features])
        cos[:, ~inside], cos[~inside] = -2, -2
        np.fill_diagonal(cos, -2)
        idx = np.argsort(-cos, axis=1)[:, :2]
        cos = np.take_along_axis(cos, idx, 1)
        np.savez(place / f"micro.{name}.knn.npz", idx=np.where(cos > -2, idx, -1), cos=np.where(cos > -2, cos, 0))
    with (place / "micro.yaml").open("a") as file:
        file.write("item_graphs: [text, image]\n")


def opened(folder, model, settings):
    torch.manual_seed(1)
    session = open_micro(folder, model, **settings)
    if not settings.get("objective"):
        session.model.calculate_loss(
            Interaction({name: torch.tensor([1]) for name in ("user_id", "item_id", "neg_item_id")})
        )
    session.model.eval()
    return session


@torch.no_grad()
def scores_of(session):
    return session.model.full_sort_predict(EVERYBODY).view(5, -1)


def copied(session, smaller):
    """Put the parameters of a model into the one of fewer items."""
    tables = {name: value.clone() for name, value in session.model.state_dict().items()}
    for name, own in smaller.model.state_dict().items():
        tables[name] = tables[name][: len(own)] if own.ndim else tables[name]
    smaller.model.load_state_dict(tables)


def with_new(session, smaller):
    """The smaller one with the items that it lacks, and their features."""
    whole = session.train_data._dataset
    return rebuilt(smaller, NEW, {name: whole.modality(name) for name in whole.modality_names})


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("LinearCADMR", {"reg_weight": 2.0}),
        ("LinearCADMR", {"reg_weight": 2.0, "two_hop": 0.3, "attention_neighbours": 1}),
        ("LinearCADMR", {"reg_weight": 2.0, "attention": "fused"}),
        ("LinearCADMR", {"reg_weight": 2.0, "fit": "sparse", "fit_dtype": "float64"}),
        *((name, {}) for name in ("AddEASE", "CEASE", "L3AE", "MMGF", "VBPR")),
        ("CADMR", {**SOFTMAX, "linear_settings": {"reg_weight": 2.0}}),
    ],
)
def test_scores_are_those_of_items_that_were_cold_from_the_start(folders, model, settings):
    session, smaller = (opened(folder, model, settings) for folder in folders)
    if model == "CADMR":
        with torch.no_grad():
            for member in session.model.attentions:
                member.embedding.normal_()
                member.embedding[-2:] = 0.0  # nothing was learned about the new items
                member.content_map.normal_()
    copied(session, smaller)
    before, drawn = scores_of(smaller).clone(), random_state()["torch"]
    grown = with_new(session, smaller)
    assert torch.equal(random_state()["torch"], drawn)
    assert list(grown.dataset.field2id_token["item_id"]) == ["[PAD]", "a", "b", "d", "c", "e"]
    assert torch.allclose(scores_of(grown), scores_of(session), atol=1e-5)
    assert torch.equal(scores_of(smaller), before)  # who asks meanwhile gets what it was
    assert scores_of(grown)[:3, 4:].abs().min() > 1e-6


def test_components_of_new_items_are_those_of_the_known_ones(folders):
    settings = {**SOFTMAX, "linear_settings": {"reg_weight": 2.0}, "content_components": 2}
    session, smaller = (opened(folder, "CADMR", settings) for folder in folders)
    features = smaller.model.features.clone()
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])  # as another machine may have found them
    features[:, :2] = features[:, :2] @ turn
    smaller.model.features.copy_(features)
    grown = with_new(session, smaller).model
    assert torch.equal(grown.features[:3], features)
    text = {item: np.array(TEXT[item], dtype=np.float64) for item in TEXT}
    known = np.stack([text[item] for item in "abd"])
    mean, scale = known.mean(0), 2.0  # content_scale
    unit = (known - mean) / np.linalg.norm(known - mean, axis=1, keepdims=True)
    V = np.linalg.svd(unit)[2][:2].T
    own = unit @ V
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    left, _, right = np.linalg.svd(own.T @ (features[:, :2].numpy() / scale))
    for row, item in ((3, "c"), (4, "e")):
        x = (text[item] - mean) @ V @ left @ right
        assert np.allclose(grown.features[row, :2].numpy(), scale * x / np.linalg.norm(x), atol=1e-5)
    assert not grown.features[4, 2:].any() and grown.features[3, 2:].any()  # e has no picture


def test_there_are_no_more_components_than_known_items_had(tmp_path):
    wide = {item: [*vector, vector[0] * vector[1], 1.0] for item, vector in TEXT.items()}
    held = ["bob a"], ["dot b", "eve a"]
    folder = write_micro(tmp_path, train=WITHOUT_C, text=wide)
    for part, rows in zip(("valid", "test"), held):
        lines = ["user_id:token item_id:token", *rows, ""]
        (folder / "micro" / f"micro.{part}.inter").write_text("\n".join(lines).replace(" ", "\t"))
    settings = {**SOFTMAX, "linear_settings": {"reg_weight": 2.0}, "content_components": 4, "modalities": ["text"]}
    smaller = opened(folder, "CADMR", settings)
    modality = smaller.train_data._dataset.modality("text")
    rows = torch.tensor([[0.0] * 5, *(wide[item] for item in "abdce")])
    grown = rebuilt(smaller, NEW, {"text": Modality("text", rows, rows.any(1))})
    assert modality.features.shape == (4, 5) and smaller.model.features.shape == (3, 3)
    assert grown.model.features.shape == (5, 3) and torch.equal(grown.model.features[:3], smaller.model.features)
    assert scores_of(grown)[:3, 4:].abs().min() > 1e-6


@pytest.mark.parametrize("model", ["LinearCADMR", "CEASE", "RP3beta"])
def test_further_interactions_are_as_a_fresh_fit(tmp_path, model):
    added = [("eve", "b"), ("fay", "a"), ("fay", "d"), ("dot", "a")]
    settings = {"reg_weight": 2.0} if model != "RP3beta" else {}
    smaller = opened(write_micro(tmp_path / "fewer"), model, settings)
    fresh = opened(write_micro(tmp_path / "more", train=[*TRAIN, *map(" ".join, added)]), model, settings)
    dataset: MultimodalDataset = smaller.train_data._dataset
    users = {**dataset.field2token_id["user_id"], "fay": dataset.user_num}
    items = dataset.field2token_id["item_id"]
    pairs = np.array([users[user] for user, _ in added]), np.array([items[item] for _, item in added])
    grown = rebuilt(smaller, users=["fay"], pairs=pairs)
    names = list(grown.dataset.field2id_token["user_id"][1:])
    assert names == ["ann", "bob", "cid", "dot", "eve", "fay"]
    of_fresh = [fresh.dataset.field2token_id["user_id"][name] for name in names]
    with torch.no_grad():
        found = grown.model.full_sort_predict(Interaction({"user_id": torch.arange(1, 7)})).view(6, -1)
        expected = fresh.model.full_sort_predict(Interaction({"user_id": torch.tensor(of_fresh)})).view(6, -1)
    order = [fresh.dataset.field2token_id["item_id"][item] for item in dataset.field2id_token["item_id"]]
    assert torch.allclose(found, expected[:, order], atol=1e-6) and found.abs().max() > 0.1
