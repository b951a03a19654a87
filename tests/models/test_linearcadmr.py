"""LinearCADMR on a data set of four users and four items, against its formula written out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from recbole.data.interaction import Interaction

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers import content_autoencoder
from recbole_cadmr.layers.low_rank_autoencoder import LowRankPlusSparse
from tests.micro import IMAGE, PAIRS, TEXT, TRAIN, open_checkpoint, open_micro, train_matrix, write_micro
from tests.oracles.linear import linear_cadmr_scores


def fitted_session(folder, **settings):
    session = open_micro(folder, "LinearCADMR", reg_weight=2.0, **settings)
    session.model.eval().calculate_loss(Interaction({"user_id": torch.tensor([1])}))
    return session


def fitted(folder, **settings):
    return fitted_session(folder, **settings).model


def scores_of(model):
    return model.full_sort_predict(Interaction({"user_id": torch.arange(model.n_users)}))


@pytest.mark.parametrize("fit", ["exact", "sparse"])
@pytest.mark.parametrize(
    ("dtype", "popularity", "damping"), [("float32", 0.0, 0.0), ("float64", 0.0, 0.0), ("float32", 0.7, 0.4)]
)
def test_scores_agree_with_the_formula(tmp_path, fit, dtype, popularity, damping, monkeypatch):
    monkeypatch.setattr(content_autoencoder, "_BLOCK", 3)
    together = [*TRAIN, "cid b"]  # cid has all items
    folder = write_micro(tmp_path, train=together)
    degrees = {"neighbour_popularity": popularity, "attention_damping": damping}
    model = fitted(folder, modality_weights=[0.7, 0.3], two_hop=0.3, fit=fit, fit_dtype=dtype, **degrees)
    scores = scores_of(model)
    assert torch.equal(scores[:, 0], torch.zeros(6)) and torch.equal(scores[0], torch.zeros(5))
    R = train_matrix(together)[1:, 1:]
    expected = linear_cadmr_scores(R, TEXT, IMAGE, popularity=popularity, damping=damping)
    assert np.abs(scores[1:, 1:].numpy() - expected).max() < 1e-5


def test_pairs_and_histories_score_as_users_do(tmp_path):
    model = fitted(write_micro(tmp_path))
    scores = scores_of(model)
    users, items = torch.cartesian_prod(torch.arange(1, 6), torch.arange(1, 5)).T
    assert torch.equal(model.predict(Interaction({"user_id": users, "item_id": items})), scores[users, items])
    rows = torch.zeros(5, 5)
    rows[:, 1:] = torch.from_numpy(train_matrix()[1:, 1:])
    assert torch.equal(model.score_rows(rows), scores[1:])


def test_without_attention_it_is_ease(tmp_path):
    folder = write_micro(tmp_path)
    plain = {"attention": "none", "row_scaling": 0.0, "item_scaling": 0.0, "popularity_damping": 0.0}
    ease = open_micro(folder, "EASE", reg_weight=2.0).model
    expected = ease.full_sort_predict(Interaction({"user_id": torch.arange(6)})).view(6, 5)
    assert torch.allclose(scores_of(fitted(folder, **plain)), expected, atol=1e-6)


@pytest.mark.parametrize("fit", ["exact", "sparse"])
def test_with_content_as_rows_it_is_cease(tmp_path, fit):
    folder = write_micro(tmp_path, train=[row for row in TRAIN if not row.endswith(" c")])  # c is cold
    plain = dict.fromkeys(("row_scaling", "item_scaling", "popularity_damping"), 0.0)
    plain |= dict.fromkeys(("enhancement", "output_smoothing", "direct_path"), 0.0)
    cease = open_micro(folder, "CEASE", reg_weight=2.0, content_weight=1.5).model
    cease.calculate_loss(Interaction({}))
    found = scores_of(fitted(folder, **plain, content_rows=1.5, fit=fit))
    assert found[1:4, 4].abs().min() > 0.01
    assert torch.allclose(found, scores_of(cease), atol=1e-5)
    assert not torch.allclose(found, scores_of(fitted(folder, **plain)), atol=0.01)


def test_a_cold_item_is_scored_by_its_content(tmp_path):
    folder = write_micro(tmp_path, train=[row for row in TRAIN if not row.endswith(" c")])  # c is item 4 then
    model = fitted(folder)
    assert scores_of(model)[1:4, 4].min() > 0
    assert torch.equal(scores_of(fitted(folder, attention="none"))[:, 4], torch.zeros(6))


@pytest.mark.parametrize(
    "settings",
    [
        {"attention": "fused"},
        {"modalities": ["text"]},
        {"attention_neighbours": 1},
        {"two_hop": 0.5, "direct_path": 0.0},
    ],
)
def test_permuting_the_files_changes_no_score(tmp_path, settings):
    one, other = write_micro(tmp_path / "one"), write_micro(tmp_path / "other")
    for name, features in (("text", TEXT), ("image", IMAGE)):
        order = list(features)[::-1]
        (other / "micro" / f"micro.{name}").write_text("\n".join(["item_id:token", *order]) + "\n")
        np.save(other / "micro" / f"micro.{name}.npy", np.array([features[i] for i in order], dtype=np.float32))
    assert torch.allclose(scores_of(fitted(one, **settings)), scores_of(fitted(other, **settings)), atol=1e-6)


def test_constant_features_are_no_harm(tmp_path):
    same = {item: [1.0, 2.0] for item in "abcd"}
    folder = write_micro(tmp_path, text=same, image=same)
    for settings in ({}, {"attention": "fused"}):
        assert torch.isfinite(scores_of(fitted(folder, **settings))).all()


def test_one_user_is_enough(tmp_path):
    model = fitted(write_micro(tmp_path, train=["ann a", "ann b"]))
    assert torch.isfinite(scores_of(model)).all()


@pytest.mark.parametrize("fit", ["exact", "sparse"])
def test_a_checkpoint_holds_the_fit(tmp_path, fit):
    settings = {**PAIRS, "data_path": str(write_micro(tmp_path)), "fit": fit, "adaptive_fits": 1}
    run = recbole_cadmr.train("LinearCADMR", "micro", output=tmp_path / "run", settings=settings)
    assert recbole_cadmr.evaluate(run.checkpoint)["result"] == run.result["test_result"]
    model = open_checkpoint(run.checkpoint).model
    fresh = open_micro(tmp_path, "LinearCADMR", fit=fit).model
    fresh.calculate_loss(Interaction({"user_id": torch.tensor([1])}))
    assert torch.equal(scores_of(model), scores_of(fresh))


def test_a_sparse_fit_of_an_earlier_version_is_refused(tmp_path):
    model = fitted(write_micro(tmp_path))
    with pytest.raises(ValueError, match="sparse fit of an earlier version; train it again"):
        model._weights = sp.identity(4, format="csr")
    with pytest.raises(ValueError, match="no matrix of 4 items by 4"):
        model._weights = sp.identity(5, format="csr")


def test_of_several_ridges_the_best_on_validation_is_kept(tmp_path):
    values = [1000.0, 5.0, 116.0]
    quiet = {"show_progress": False, "adaptive_fits": 1}
    alone = {
        value: recbole_cadmr.train(
            "LinearCADMR", output=tmp_path / str(value), settings={**quiet, "reg_weight": value}
        ).result
        for value in values
    }
    run = recbole_cadmr.train("LinearCADMR", output=tmp_path / "all", settings={**quiet, "reg_weight": values})
    assert [e["valid_score"] for e in run.result["history"]] == [alone[v]["best_valid_score"] for v in values]
    with pytest.raises(UserError, match="several values of reg_weight need a validation"):
        settings = {**quiet, "reg_weight": values, "eval_step": 0}
        recbole_cadmr.train("LinearCADMR", output=tmp_path / "blind", settings=settings)
    best = max(values, key=lambda value: alone[value]["best_valid_score"])
    assert run.result["test_result"] == alone[best]["test_result"]


def test_mistakes_are_one_sentence(tmp_path, capsys):
    arguments = [f"--data_path={write_micro(tmp_path)}", "--dataset=micro", "--topk=[2]", "--valid_metric=Recall@2"]
    command = ["train", "--model=LinearCADMR", *arguments, f"--output={tmp_path / 'run'}"]
    for more, said in (
        (["--modality_weights=[1]"], "modality_weights must hold one weight for each of text, image"),
        (["--modality_weights=[0,0]"], "modality_weights must hold one weight for each of text, image"),
        (["--enhancment=1"], "did you mean enhancement?"),
        (["--reg_weight=-1"], "reg_weight must be at least 0"),
        (["--enhancement=1e39"], "enhancement must be at most 1000000, not 1e+39"),
        (["--output_smoothing=1e39"], "output_smoothing must be at most 1000000, not 1e+39"),
        (["--direct_path=1e39"], "direct_path must be at most 1000000, not 1e+39"),
        (["--modalities=[]"], "LinearCADMR needs item features"),
    ):
        assert main([*command, *more]) == 2
        error = capsys.readouterr().err
        assert said in error and "Traceback" not in error
        assert not (tmp_path / "run").exists()


def test_a_catalogue_past_memory_is_refused_or_fitted_sparse(tmp_path, monkeypatch):
    folder = write_micro(tmp_path)
    monkeypatch.setattr(content_autoencoder, "free_bytes", lambda device: 400)
    settings = {"sparse_rank": 1, "fit_dtype": "float64"}
    with pytest.raises(UserError, match=r"the exact fit of 4 items needs .*, the sparse one .* choose fit: sparse"):
        fitted(folder, fit="exact", fit_dtype="float64")
    with pytest.raises(
        UserError, match=r"the sparse one .* GiB; free some, or lower sparse_neighbours, sparse_rank and content_rows"
    ):
        fitted(folder, fit="auto", fit_dtype="float64")
    model = fitted(folder, fit="auto", **settings)
    assert isinstance(model.closed_form.weights, LowRankPlusSparse)
    assert torch.equal(scores_of(model), scores_of(fitted(folder, fit="sparse", **settings)))


def test_it_beats_every_linear_baseline_on_the_embedded_set(tmp_path):
    results = {}
    for model in ("LinearCADMR", "EASE", "Pop"):
        run = recbole_cadmr.train(model, output=tmp_path / model, settings={"show_progress": False})
        results[model] = json.loads((run.folder / "result.json").read_text())["test_result"]
    for metric in ("recall@20", "ndcg@20"):
        assert results["LinearCADMR"][metric] > 1.15 * results["EASE"][metric] > 2 * results["Pop"][metric]
