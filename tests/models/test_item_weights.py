"""Models that weigh items by items in closed form, against their equations on four users and four items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from recbole.data.interaction import Interaction

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.data.modality import Modality
from recbole_cadmr.errors import ModelError, UserError
from recbole_cadmr.layers.linear_autoencoder import exact_autoencoder, guided_autoencoder
from recbole_cadmr.models import item_weights
from recbole_cadmr.models.mmgf import refined
from tests.micro import IMAGE, TEXT, TRAIN, open_checkpoint, open_micro, train_matrix, write_micro
from tests.oracles.linear import content_features, guided_columns, mmgf_weights, ridge_columns

MODELS = ("CEASE", "AddEASE", "L3AE", "MMGF")
R = train_matrix()[1:, 1:]
F = content_features(TEXT, IMAGE)


def fitted(folder, model, **settings):
    model = open_micro(folder, model, **settings).model.eval()
    model.calculate_loss(Interaction({"user_id": torch.tensor([1])}))
    return model


def scores_of(model):
    return model.full_sort_predict(Interaction({"user_id": torch.arange(model.n_users)})).numpy()


def agrees(model, W):
    scores = scores_of(model)
    assert not scores[0].any() and not scores[:, 0].any()
    return np.abs(scores[1:, 1:] - R @ W).max() < 1e-5


def test_cease_is_the_ridge_regression_on_interactions_and_content(tmp_path):
    model = fitted(write_micro(tmp_path), "CEASE", reg_weight=0.7, content_weight=1.5)
    assert agrees(model, ridge_columns(np.vstack([R, 1.5 * F.T]), 0.7))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_addease_is_the_weighted_sum_of_two_ridge_regressions(tmp_path, share):
    settings = {"reg_weight": 0.7, "content_reg_weight": 0.4, "content_weight": share}
    model = fitted(write_micro(tmp_path), "AddEASE", **settings)
    assert agrees(model, (1 - share) * ridge_columns(R, 0.7) + share * ridge_columns(F.T, 0.4))


@pytest.mark.parametrize("ridge", [0.7, -0.5])
def test_l3ae_is_the_ridge_regression_drawn_towards_that_of_content(tmp_path, ridge):
    settings = {"reg_weight": ridge, "content_reg_weight": 0.4, "content_weight": 1.3}
    model = fitted(write_micro(tmp_path), "L3AE", **settings)
    assert agrees(model, guided_columns(R, ridge_columns(F.T, 0.4), ridge, 1.3))


@pytest.mark.parametrize("coefficients", [[1.0], [2.0, -1.0], [0.5, 0.0, 0.25]])
def test_mmgf_filters_the_graphs_of_interactions_and_of_each_modality(tmp_path, coefficients):
    settings = {"normalisation": 0.8, "adjustment": 0.7, "content_weight": 2.0}
    shares = {"text": 3.0, "image": 1.0}
    model = fitted(write_micro(tmp_path), "MMGF", coefficients=coefficients, modality_weights=shares, **settings)
    weights = {"text": (TEXT, 1.5), "image": (IMAGE, 0.5)}
    assert agrees(model, mmgf_weights(R, weights, 0.8, 0.7, coefficients))


def test_without_content_cease_addease_and_l3ae_are_ease(tmp_path):
    folder = write_micro(tmp_path)
    ease = open_micro(folder, "EASE", reg_weight=2.0).model
    expected = ease.full_sort_predict(Interaction({"user_id": torch.arange(6)})).view(6, 5).numpy()
    for name in ("CEASE", "AddEASE", "L3AE"):
        assert np.allclose(scores_of(fitted(folder, name, reg_weight=2.0, content_weight=0.0)), expected, atol=1e-6)


def test_a_guide_that_is_the_solution_or_weighs_all_is_what_comes_out():
    X = torch.from_numpy(np.random.default_rng(1).normal(size=(9, 5))).float()
    B = exact_autoencoder(X.T @ X, 2.0)
    A = torch.from_numpy(np.random.default_rng(2).normal(size=(5, 5))).float().fill_diagonal_(0)
    assert torch.allclose(guided_autoencoder(X.T @ X, A, 2.0, 1e6), A, atol=1e-4)
    assert torch.allclose(guided_autoencoder(X.T @ X, A, 2.0, 0.0), B, atol=1e-6)
    with pytest.raises(ModelError, match="singular at reg_weight -10000; raise it"):
        guided_autoencoder(X.T @ X, A, -1e4, 1.0)


@pytest.mark.parametrize("name", MODELS)
def test_what_an_item_lacks_counts_nothing(tmp_path, name):
    # b has no picture; with no text either it has no content at all, and none can reach it but by interactions.
    text = {item: vector for item, vector in TEXT.items() if item != "b"}
    train = [row for row in TRAIN if not row.endswith(" b")]
    model = fitted(write_micro(tmp_path, train=train, text=text), name)
    b = model.given.content.field2token_id["item_id"]["b"]
    scores = scores_of(model)
    assert not scores[:, b].any() and np.isfinite(scores).all() and scores.any()


@pytest.mark.parametrize("name", MODELS)
def test_constant_features_are_no_harm(tmp_path, name):
    same = {item: [1.0, 2.0] for item in "abcd"}
    assert np.isfinite(scores_of(fitted(write_micro(tmp_path, text=same, image=same), name))).all()


def test_a_column_that_is_rounding_is_not_scaled_up():
    features = torch.tensor([[0.0, 0.0], [1.0, 1e-30], [2.0, 3e-30], [3.0, 0.0], [5.0, 2e-30]])
    present = torch.tensor([False, True, True, True, True])
    scaled = refined(Modality("text", features, present))
    # (x - 2.5) / 1.75 and 0, moved up by 1.5 / 1.75.
    assert np.allclose(1.75 * scaled, [[0.0, 1.5], [1.0, 1.5], [2.0, 1.5], [4.0, 1.5]], atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_people_who_were_not_seen_score_by_their_history(tmp_path, name):
    model = fitted(write_micro(tmp_path), name)
    rows = torch.from_numpy(train_matrix()[1:]).float()
    assert torch.equal(model.score_rows(rows), torch.from_numpy(scores_of(model)[1:]))


@pytest.mark.parametrize("name", MODELS)
def test_a_run_has_one_epoch_and_its_checkpoint_holds_the_fit(tmp_path, name):
    settings = {"data_path": str(write_micro(tmp_path)), "topk": [1, 2], "valid_metric": "Recall@2"}
    run = recbole_cadmr.train(name, "micro", output=tmp_path / "run", settings={**settings, "show_progress": False})
    assert len(run.result["history"]) == 1
    assert recbole_cadmr.evaluate(run.checkpoint)["result"] == run.result["test_result"]
    assert torch.equal(open_checkpoint(run.checkpoint).model.weights, fitted(tmp_path, name).weights)


@pytest.mark.parametrize("name", ["CEASE", "RP3beta", "LinearCADMR"])
@pytest.mark.parametrize("sparse", [True, False])
def test_weights_of_another_shape_in_a_checkpoint_are_one_sentence(tmp_path, name, sparse):
    model = open_micro(write_micro(tmp_path), name).model
    for shape in ((3, 3), (4, 3)):
        given = sp.csr_matrix(shape, dtype=np.float32) if sparse else torch.zeros(shape)
        with pytest.raises(ValueError, match="its weights are no matrix of 4 items by 4"):
            setattr(model, model.other_parameter_name[0], given)


@pytest.mark.parametrize("name", MODELS)
def test_a_catalogue_past_memory_is_refused(tmp_path, name, monkeypatch):
    monkeypatch.setattr(item_weights, "free_bytes", lambda device: 100)
    with pytest.raises(UserError, match=rf"{name} weighs 4 items by each other, for which it needs .* GiB free"):
        fitted(write_micro(tmp_path), name)


@pytest.mark.parametrize(
    ("model", "setting", "said"),
    [
        ("L3AE", "--reg_weight=-500", "singular at reg_weight -500; raise it"),
        ("L3AE", "--content_weight=1e39", "content_weight 1e+39 is too large to compute with; lower it"),
        ("L3AE", "--reg_weight=1e39", "reg_weight 1e+39 is too large to compute with; lower it"),
        ("AddEASE", "--content_weight=1.5", "content_weight must be at most 1"),
        ("AddEASE", "--content_reg_weight=1e39", "content_reg_weight 1e+39 is too large"),
        ("MMGF", "--coefficients=[]", "coefficients must not be empty"),
        ("CEASE", "--modalities=[]", "CEASE needs item features"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, capsys, model, setting, said):
    data: Path = write_micro(tmp_path)
    arguments = [f"--data_path={data}", "--dataset=micro", "--topk=[2]", "--valid_metric=Recall@2"]
    assert main(["train", f"--model={model}", *arguments, f"--output={tmp_path / 'run'}", setting]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
