"""What scores are made of: parts that add up to them, model by model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_cadmr.errors import UserError
from recbole_cadmr.layers.score_paths import score_of
from recbole_cadmr.models import softmaxcadmr
from tests.micro import open_micro, write_micro

CID = torch.tensor([1, 3, 4])  # a, c, d
SOFTMAX = {"objective": "softmax", "attention_weights": [0.3], "ensemble_size": 2, "attention_size": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_micro(tmp_path_factory.mktemp("micro"))


def fitted(folder, model, **settings):
    model = open_micro(folder, model, **settings).model
    if not settings.get("objective"):
        model.calculate_loss(Interaction({"user_id": torch.tensor([1]), "item_id": [1], "neg_item_id": [2]}))
    return model.eval()


@torch.no_grad()
def scores_of(model):
    return model.full_sort_predict(Interaction({"user_id": torch.tensor([3])})).view(-1)


@pytest.mark.parametrize("model", ["LinearCADMR", "CEASE", "AddEASE", "L3AE", "MMGF", "RP3beta"])
def test_the_contributions_of_what_was_chosen_add_up_to_the_score(folder, model):
    model = fitted(folder, model)
    for item, score in enumerate(scores_of(model).tolist()[1:], 1):
        paths = model.score_paths(CID, item, 3)
        assert score_of(paths) == pytest.approx(score, rel=1e-5, abs=1e-6)
        assert all(path.by_item and len(path.contributions) == 3 for path in paths)
    if type(model).__name__ not in ("LinearCADMR",):
        assert [path.name for path in paths] == ["item weights"]


def softmax(folder, **settings):
    torch.manual_seed(3)
    model = fitted(folder, "CADMR", **SOFTMAX, **settings)
    with torch.no_grad():
        for member in model.attentions:
            member.embedding.normal_()
            member.content_map.normal_()
        model.attention_weight.fill_(0.3)
    return model


def test_the_attention_of_each_chosen_item_is_its_share_of_log_p(folder):
    model = softmax(folder, linear_settings={"fit": "exact"})
    scores = scores_of(model)
    for item in range(1, 5):
        paths = model.score_paths(CID, item)
        assert score_of(paths) == pytest.approx(float(scores[item]), rel=1e-5)
        *_, attention, uniform = paths
        expected = np.zeros(3)
        for member in model.attentions:
            query, key = (side.detach().double() for side in member(model.features))
            A = (query @ key.T).softmax(1)[CID - 1, item - 1].numpy()
            expected += A / A.sum() * math.log(4 * A.mean()) / 2
        assert (attention.name, uniform.name) == ("attention", "uniform attention")
        assert np.allclose(attention.contributions, 0.3 * expected, rtol=1e-5, atol=1e-8)
        assert uniform.contributions == pytest.approx(-0.3 * math.log(4))


def test_an_item_that_the_attention_does_not_look_at_is_said_to_be_behind(folder, monkeypatch):
    monkeypatch.setattr(softmaxcadmr, "_CANDIDATES", 2)
    model = softmax(folder, linear_settings={"fit": "sparse"})
    scores, names = scores_of(model), []
    for item in range(1, 5):
        paths = model.score_paths(CID, item)
        assert score_of(paths) == pytest.approx(float(scores[item]), rel=1e-5)
        names.append(paths[-1].name)
    assert sorted(names) == ["not looked at by the attention"] * 2 + ["uniform attention"] * 2


def test_vbpr_by_free_vectors_and_content(folder):
    model = fitted(folder, "VBPR")
    scores = scores_of(model)
    for item in range(1, 5):
        paths = model.score_paths(CID, item, 3)
        assert score_of(paths) == pytest.approx(float(scores[item]), rel=1e-5, abs=1e-8)
        names = [("free vectors", ""), ("content", "text"), ("content", "image"), ("content of any item", "")]
        assert [(path.name, path.modality) for path in paths] == names and not any(path.by_item for path in paths)
    with pytest.raises(UserError, match="the scores of VBPR do not fall into parts"):
        model.score_paths(CID, 1)


def test_other_models_say_that_they_cannot(folder):
    model = open_micro(folder, "BM3").model
    assert not model.traits.explains
    with pytest.raises(UserError, match="^the scores of BM3 do not fall into parts that can be named$"):
        model.score_paths(CID, 1, 3)
