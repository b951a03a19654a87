"""RP3beta, against its walks counted one by one."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from recbole.data.interaction import Interaction

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import ModelError
from recbole_cadmr.models import item_weights, rp3beta
from recbole_cadmr.models.rp3beta import largest_of_rows
from tests.micro import open_checkpoint, open_drawn, open_micro, train_matrix, write_drawn, write_micro
from tests.oracles.linear import rp3beta_weights


def fitted(session):
    model = session.model.eval()
    model.calculate_loss(Interaction({"user_id": torch.tensor([1])}))
    return model


def scores_of(model):
    return model.full_sort_predict(Interaction({"user_id": torch.arange(model.n_users)})).numpy()


def test_four_items_by_hand(tmp_path):
    # ann has a and b, bob b and c, cid a, c and d, dot d: of the walks from d a sixth each ends at a and at c.
    model = fitted(open_micro(write_micro(tmp_path), "RP3beta", alpha=1.0, beta=0.0, normalise=False))
    expected = [[0, 1 / 4, 1 / 6, 1 / 6], [1 / 4, 0, 1 / 4, 0], [1 / 6, 1 / 4, 0, 1 / 6], [1 / 6, 0, 1 / 6, 0]]
    assert sp.issparse(model.weights) and model.weights.dtype == np.float32
    assert np.allclose(model.weights.toarray(), expected, atol=1e-7)
    assert np.allclose(scores_of(model)[1, 1:], [1 / 4, 1 / 4, 5 / 12, 1 / 6])


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(("alpha", "beta", "k"), [(1.0, 0.6, 100), (0.7, 0.3, 3), (0.0, 1.2, 2), (1.6, 0.0, 1)])
def test_scores_are_those_of_walks_counted_one_by_one(tmp_path, monkeypatch, alpha, beta, k, normalise):
    monkeypatch.setattr(rp3beta, "_BLOCK", 7)  # so that there are several, the last one short
    draw = np.random.default_rng(3)
    pairs = np.argwhere(draw.random((30, 18)) < draw.random(18) / 2)
    rows = [f"u{user} i{item}" for user, item in pairs]
    settings = {"alpha": alpha, "beta": beta, "neighbours": k, "normalise": normalise}
    model = fitted(open_drawn(write_drawn(tmp_path, rows), "RP3beta", **settings))
    R = model.given.R.toarray().astype(np.float64)
    assert R.shape[1] > 14 and R.sum(0).max() > 2 * R.sum(0)[R.sum(0) > 0].min()
    expected = rp3beta_weights(R, alpha, beta, k, normalise)
    assert np.allclose(scores_of(model)[:, 1:], R @ expected, atol=1e-5)
    assert not scores_of(model)[0].any() and not scores_of(model)[:, 0].any()
    assert k >= 18 or max((expected > 0).sum(0).max(), (expected > 0).sum(1).max()) == k


def test_rows_keep_their_largest_entries_and_of_equal_ones_the_first():
    dense = np.array([[1.0, 3.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0], [2.0, 0.0, 2.0, 2.0]])
    kept = largest_of_rows(sp.csr_matrix(dense), 2).toarray()
    assert np.array_equal(kept, [[0, 3, 0, 3], [0, 0, 0, 0], [2, 0, 2, 0]])
    assert np.array_equal(largest_of_rows(sp.csr_matrix(dense), 9).toarray(), dense)


def test_what_nobody_else_has_leads_nowhere_and_people_without_a_history_score_nothing(tmp_path):
    model = fitted(open_micro(write_micro(tmp_path, train=["ann a", "bob b", "bob c"]), "RP3beta"))
    scores, ids = scores_of(model), model.given.content.field2token_id
    ann, bob = ids["user_id"]["ann"], ids["user_id"]["bob"]
    assert not scores[ann].any()
    assert scores[bob, ids["item_id"]["c"]] == scores[bob, ids["item_id"]["b"]] == 1
    assert not model.score_rows(torch.zeros(1, model.n_items)).any()


def test_large_catalogues_are_ranked_by_the_entries_of_sparse_scores(tmp_path, monkeypatch):
    draw = np.random.default_rng(4)
    rows = [f"u{user} i{item}" for user, item in np.argwhere(draw.random((30, 40)) < 0.2)]
    settings = {"alpha": 0.7, "beta": 0.3, "neighbours": 3, "topk": [2, 5], "valid_metric": "NDCG@5"}
    session = open_drawn(write_drawn(tmp_path, rows), "RP3beta", **settings)
    model, users = fitted(session), Interaction({"user_id": torch.arange(session.dataset.user_num)})
    assert model.listed_scores(users) is None
    expected = session.trainer.evaluate(session.test_data, load_best_model=False)
    monkeypatch.setattr(item_weights, "_LARGE", 0)
    listed = model.listed_scores(users)
    assert np.array_equal(listed.toarray(), scores_of(model)) and not listed[:, 0].nnz
    assert 0 < listed.nnz < listed.shape[0] * listed.shape[1] / 2
    assert session.trainer.evaluate(session.test_data, load_best_model=False) == expected
    assert expected["ndcg@5"] > 0
    model._weights = model.weights - 2 * model.weights  # below the items without an entry
    assert model.listed_scores(users) is None


def test_a_history_scores_as_the_user_who_has_it(tmp_path):
    model = fitted(open_micro(write_micro(tmp_path), "RP3beta"))
    rows = torch.from_numpy(train_matrix()[1:]).float()
    assert torch.equal(model.score_rows(rows), torch.from_numpy(scores_of(model)[1:]))


def test_a_run_needs_no_features_and_its_checkpoint_holds_the_fit(tmp_path):
    data = write_micro(tmp_path, modalities="[]")
    settings = {"data_path": str(data), "topk": [1, 2], "valid_metric": "Recall@2", "show_progress": False}
    run = recbole_cadmr.train("RP3beta", "micro", output=tmp_path / "run", settings=settings)
    assert len(run.result["history"]) == 1
    assert recbole_cadmr.evaluate(run.checkpoint)["result"] == run.result["test_result"]
    weights = open_checkpoint(run.checkpoint).model.weights
    assert (weights != fitted(open_micro(data, "RP3beta")).weights).nnz == 0
    assert weights.nnz == 10


def test_weights_past_the_range_of_numbers_are_refused(tmp_path):
    with pytest.raises(ModelError, match="alpha 70 and beta 0.6 leave weights too small to compute with; lower them"):
        fitted(open_micro(write_micro(tmp_path), "RP3beta", alpha=70.0))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("--alpha=-1", "alpha must be at least 0, not -1"),
        ("--beta=-0.5", "beta must be at least 0, not -0.5"),
        ("--neighbours=0", "neighbours must be at least 1, not 0"),
        ("--normalise=1", "normalise must be True or False, not 1"),
        ("--topK=50", "there is no setting 'topK'; did you mean topk?"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, capsys, setting, said):
    arguments = [f"--data_path={write_micro(tmp_path)}", "--dataset=micro", "--topk=[2]", "--valid_metric=Recall@2"]
    assert main(["train", "--model=RP3beta", *arguments, f"--output={tmp_path / 'run'}", setting]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
