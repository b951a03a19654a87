"""Items like an item, by who has them, by content and by the model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_cadmr.errors import UserError
from recbole_cadmr.recommender.load import load
from recbole_cadmr.recommender.load_checkpoint import parts_of
from recbole_cadmr.recommender.recommender import Recommender
from tests.micro import IMAGE, TEXT, open_micro, train_matrix, write_micro
from tests.models.test_linearcadmr import fitted_session


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_micro(tmp_path_factory.mktemp("micro"))


@pytest.fixture(scope="module")
def recommender(folder):
    return Recommender(parts_of(fitted_session(folder, modality_weights=[0.75, 0.25])))


def found(recommender, item, **how):
    frame = recommender.similar_items(item, **how)
    assert frame["rank"].tolist() == list(range(1, len(frame) + 1)) and frame["score"].is_monotonic_decreasing
    return dict(zip(frame["item_id"], frame["score"]))


def cosine(x, y):
    return float(np.dot(x, y) / np.linalg.norm(x) / np.linalg.norm(y))


def test_by_behaviour_it_is_the_cosine_of_the_columns(recommender):
    R = train_matrix()[1:, 1:]
    expected = {j: cosine(R[:, 2], R[:, "abcd".index(j)]) for j in "abd"}
    assert found(recommender, "c", by="behaviour") == pytest.approx({j: c for j, c in expected.items() if c})
    assert list(found(recommender, "d", by="behaviour")) == ["a", "c"]  # nobody has b and d


def test_by_content_modalities_weigh_as_in_the_model(recommender):
    expected = {j: 0.75 * cosine(TEXT["a"], TEXT[j]) + 0.25 * cosine(IMAGE["a"], IMAGE[j]) for j in "cd"}
    expected["b"] = 0.75 * cosine(TEXT["a"], TEXT["b"])  # which has no picture
    assert found(recommender, "a", by="content") == pytest.approx(
        {j: c for j, c in expected.items() if c > 0}, rel=1e-5
    )
    assert found(recommender, "b", by="content", topk=1) == pytest.approx({"a": cosine(TEXT["b"], TEXT["a"])}, rel=1e-5)


def test_by_the_model_it_is_what_somebody_with_this_item_alone_is_recommended(recommender):
    frame, _ = recommender.recommend_from_history(pd.DataFrame({"user_id": ["x"], "item_id": ["a"]}), topk=3)
    assert found(recommender, "a") == dict(zip(frame["item_id"], frame["score"]))


def test_by_the_vectors_of_a_model_of_inner_products(folder):
    session = open_micro(folder, "VBPR")
    _, vectors = session.model.forward()
    vectors = vectors.detach().numpy()
    ids = session.dataset.field2id_token["item_id"]
    item = list(ids).index("a")
    expected = {ids[j]: cosine(vectors[item], vectors[j]) for j in range(1, 5) if j != item}
    recommender = Recommender(parts_of(session))
    assert found(recommender, "a") == pytest.approx({j: c for j, c in expected.items() if c > 0}, abs=1e-5)


@pytest.mark.parametrize(("model", "known"), [("RP3beta", "abc"), ("EASE", "abc"), ("LightGCN", "abc")])
def test_what_a_model_knows_nothing_about_is_like_nothing(tmp_path, model, known):
    """d is in the catalogue, and nobody has it."""
    folder = write_micro(tmp_path, train=["ann a", "ann b", "bob b", "bob c", "cid a", "cid c", "dot b"])
    place = folder / "micro"
    for part, row in (("valid", "dot\ta"), ("test", "bob\ta")):
        (place / f"micro.{part}.inter").write_text(f"user_id:token\titem_id:token\n{row}\n")
    (place / "micro.item").write_text("item_id:token\na\nb\nc\nd\n")
    with (place / "micro.yaml").open("a") as file:
        file.write("new_items: true\n")
    session = open_micro(folder, model, modalities=[], item_graphs=[])
    session.model.eval()
    if model == "RP3beta":
        session.model.calculate_loss(Interaction({"user_id": torch.tensor([1])}))
    recommender = Recommender(parts_of(session))
    assert recommender.items[-1] == "d" and session.dataset.new_item_count == 1
    assert set(found(recommender, "a", topk=10)) <= set(known) - {"a"}
    assert recommender.similar_items("d").empty
    recommender.export(tmp_path / "export")
    assert load(tmp_path / "export").similar_items("d").empty
    for asked in (recommender, load(tmp_path / "export")):
        assert "d" not in set(asked.recommend(topk=4, leave_out="none")["item_id"])


def test_what_cannot_be_asked_is_said_in_a_sentence(recommender, folder):
    with pytest.raises(UserError, match="by must be one of model, behaviour, content, not 'taste'"):
        recommender.similar_items("a", by="taste")
    with pytest.raises(UserError, match="the item 'z' is not in the catalogue"):
        recommender.similar_items("z")
    for topk in (0, True, 2.0):
        with pytest.raises(UserError, match="topk must be a whole number from 1 on"):
            recommender.similar_items("a", topk=topk)
    with pytest.raises(UserError, match="NeuMF does not compare items with each other"):
        Recommender(parts_of(open_micro(folder, "NeuMF"))).similar_items("a")
