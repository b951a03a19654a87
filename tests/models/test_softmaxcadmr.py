"""CADMR with a softmax objective on four users and four items, against its formula written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.config.config import Config
from recbole_cadmr.data import loaders
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers import attention_scores, content_autoencoder
from recbole_cadmr.models import softmaxcadmr
from recbole_cadmr.models.contract import traits
from recbole_cadmr.models.softmaxcadmr import SoftmaxCADMR
from recbole_cadmr.runs.folder import scratch_folder
from recbole_cadmr.runs.session import open_session
from recbole_cadmr.training.callbacks import TrainingCallback
from recbole_cadmr.training.checkpoint import load_checkpoint, save_checkpoint
from tests.micro import TEXT, open_checkpoint, open_micro, train_matrix, write_micro

SMALL = {"objective": "softmax", "attention_size": 4, "linear_settings": {"reg_weight": 2.0}}
EVERYBODY = Interaction({"user_id": torch.arange(1, 6)})


def model_of(folder, **settings):
    return open_micro(folder, **{**SMALL, **settings}).model.eval()


@torch.no_grad()
def scores_of(model):
    return model.full_sort_predict(Interaction({"user_id": torch.arange(6)}))


@torch.no_grad()
def attention_of(model):
    query, key = model.attentions[0](model.features)
    return (query @ key.T).softmax(1)


def test_scores_are_the_closed_form_and_the_mean_attention_of_a_row(tmp_path):
    folder = write_micro(tmp_path)
    model = model_of(folder, attention_weights=[0.3])
    linear = open_micro(folder, "LinearCADMR", reg_weight=2.0).model.eval()
    linear.calculate_loss(EVERYBODY)
    R = torch.from_numpy(train_matrix()[1:, 1:]).float()
    log_p = (R @ attention_of(model) / R.sum(1, keepdim=True).clamp(min=1)).log()
    log_p[4] = 0.0  # eve has no train item
    scores = scores_of(model)
    assert torch.allclose(scores[1:, 1:], scores_of(linear)[1:, 1:] + 0.3 * log_p, atol=1e-5)
    assert torch.equal(scores[:, 0], torch.zeros(6)) and torch.equal(scores[0], torch.zeros(5))


@pytest.mark.parametrize("history_weight", [0.0, 0.5, 1.0])
def test_the_loss_is_the_cross_entropy_of_what_is_held_out(tmp_path, history_weight, monkeypatch):
    monkeypatch.setattr(softmaxcadmr, "hold_out", lambda row, n_rows, share: held)
    model = model_of(write_micro(tmp_path), history_weight=history_weight)
    # ann a b | bob b c | cid a c d | dot d: b of ann, c of bob, a and d of cid are to be told from the rest
    held = torch.tensor([False, True, False, True, True, False, True, False])
    A = attention_of(model)
    terms = []
    for known, answers in (([0], [1]), ([1], [2]), ([2], [0, 3])):
        p = A[known].mean(0)
        p = p / (1 - p[known].sum())
        terms += [(len(answers) ** (history_weight - 1), -p[answer].log()) for answer in answers]
    expected = sum(w * term for w, term in terms) / sum(w for w, _ in terms)
    assert float(model.calculate_loss(EVERYBODY).detach()) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("direction", [0.0, 0.5])
def test_where_the_closed_form_goes_by_the_order_what_comes_later_is_held_out(tmp_path, monkeypatch, direction):
    seen = []

    def later(row, place, n_rows, share):
        seen.append((row.tolist(), place.tolist(), share))
        return place > 1

    monkeypatch.setattr(softmaxcadmr, "hold_out_later", later)
    folder = write_micro(tmp_path, times=[5.0, 3.0, 1.0, 2.0, 7.0, 9.0, 8.0, 1.0])
    model = model_of(folder, linear_settings={"reg_weight": 2.0, "direction": direction}, held_out_share=0.3)
    model.calculate_loss(EVERYBODY)
    # ann a b | bob b c | cid a c d | dot d: ann chose b first, cid d before c
    assert seen == ([([0, 0, 1, 1, 2, 2, 2, 3], [2, 1, 1, 2, 1, 3, 2, 1], 0.3)] if direction else [])


def test_a_sample_of_items_estimates_the_loss_of_a_trained_model(tmp_path):
    settings = {"epochs": 8, "attention_trials": 1, "attention_weights": [0.03], "show_progress": False}
    settings["linear_settings"] = {"adaptive_fits": 1}
    trained = recbole_cadmr.train("CADMR", preset="best", output=tmp_path / "run", settings=settings)
    losses = {}
    for n_sampled in (None, 100):
        with scratch_folder() as scratch:
            sampling = {"preset": "best", "sampled_items": n_sampled, "show_progress": False}
            session = open_session(Config("CADMR", "synthetic", settings=sampling), scratch)
        model, users = session.model, torch.arange(1, 65)
        model.load_state_dict(load_checkpoint(trained.checkpoint)["state_dict"])
        losses[n_sampled] = []
        for seed in range(40):
            torch.manual_seed(seed)  # what is held out is drawn before the sample
            with torch.no_grad():
                losses[n_sampled].append(float(model.calculate_loss(Interaction({"user_id": users}))))
    assert model.n_sampled == 100 and float(model._log_weight.exp().median()) > 5
    difference = np.subtract(losses[100], losses[None])
    assert abs(difference.mean()) < 0.015 * np.mean(losses[None]) and difference.std() > 0


def test_gradients_reach_embeddings_and_content(tmp_path):
    model = model_of(write_micro(tmp_path))
    model.calculate_loss(EVERYBODY).backward()
    attention = model.attentions[0]
    assert attention.embedding.grad.abs().min() > 0
    assert attention.content_map.grad.abs().sum(0).min() > 0


def test_histories_pairs_and_members(tmp_path):
    model = model_of(write_micro(tmp_path), ensemble_size=2)
    scores = scores_of(model)
    users, items = torch.cartesian_prod(torch.arange(1, 6), torch.arange(1, 5)).T
    with torch.no_grad():
        assert torch.equal(model.predict(Interaction({"user_id": users, "item_id": items})), scores[users, items])
        rows = torch.zeros(5, 5)
        rows[:, 1:] = torch.from_numpy(train_matrix()[1:, 1:]).float()
        assert torch.equal(model.score_rows(rows), scores[1:])
    assert len(model.attentions) == 2
    assert not torch.equal(model.attentions[0].embedding, model.attentions[1].embedding)


def test_scores_are_the_same_where_the_attention_does_not_fit_in_memory(tmp_path, monkeypatch):
    model = model_of(write_micro(tmp_path))
    whole = scores_of(model)
    model.train().eval()
    monkeypatch.setattr(attention_scores, "free_bytes", lambda device: 0)
    assert torch.allclose(scores_of(model), whole, atol=1e-6)


def test_the_weight_is_chosen_at_every_validation_and_the_best_epoch_kept(tmp_path):
    settings = {"epochs": 40, "eval_step": 2, "learning_rate": 0.005, "learning_rate_schedule": "constant"}
    fixed = {"attention_trials": 1, "show_progress": False, "linear_settings": {"adaptive_fits": 1}}
    weights = [0.02, 0.1, 0.5]
    given = {**settings, **fixed, "attention_weights": weights}
    seen = []

    class Scores(TrainingCallback):
        def on_validation(self, trainer, validation):
            seen.append((validation["epoch"], validation["valid_score"]))

    run = recbole_cadmr.train("CADMR", output=tmp_path / "run", preset="best", settings=given, callbacks=[Scores()])
    *training, closed_form = run.result["history"]  # that without attention is always tried, last
    best = max(training, key=lambda entry: entry["valid_score"])
    assert best is not training[-1]  # the step is so long that the last epoch is not the best
    assert [entry["phase"] for entry in (best, closed_form)] == ["training", "weight"]
    assert run.result["best_valid_score"] == best["valid_score"] > closed_form["valid_score"]
    assert seen[-1] == (best["epoch"], closed_form["valid_score"])
    assert run.result["best_epoch"] == best["epoch"] == closed_form["epoch"]
    model = open_checkpoint(run.checkpoint).model
    assert isinstance(model, SoftmaxCADMR)
    assert float(model.attention_weight) == pytest.approx(best["diagnostics"]["attention_weight"])
    assert recbole_cadmr.evaluate(run.checkpoint)["result"] == run.result["test_result"]
    # One weight and as many epochs as it took to the best one give the same attention.
    stopped = {**settings, **fixed, "epochs": best["epoch"] + 1, "attention_weights": [0.02]}
    again = recbole_cadmr.train("CADMR", output=tmp_path / "again", preset="best", settings=stopped)
    kept, expected = (load_checkpoint(r.checkpoint)["state_dict"] for r in (run, again))
    assert torch.equal(kept["attentions.0.embedding"], expected["attentions.0.embedding"])


def test_a_checkpoint_is_fitted_as_it_was_whatever_memory_is_free(tmp_path, monkeypatch):
    settings = {"epochs": 1, "attention_trials": 1, "attention_weights": [0.03], "show_progress": False}
    settings["linear_settings"] = {"adaptive_fits": 1}
    run = recbole_cadmr.train("CADMR", output=tmp_path / "run", preset="best", settings=settings)
    monkeypatch.setattr(content_autoencoder, "free_bytes", lambda device: 2**20)
    with pytest.raises(UserError, match="choose fit: sparse"):
        recbole_cadmr.evaluate(run.checkpoint)


def test_wide_features_are_reduced_and_travel_with_the_checkpoint(tmp_path):
    folder = write_micro(tmp_path)
    model = model_of(folder, content_components=2)
    assert model.features.shape == (4, 4) and "features" in model.state_dict()
    whole = model_of(folder)
    assert whole.features.shape == (4, 5) and "features" not in whole.state_dict()
    # c, the third item: centred over the items that have the modality, length 1, times content_scale
    text = np.array([TEXT[item] for item in "abcd"])
    expected = text[2] - text.mean(0)
    assert np.allclose(whole.features[2, :3], 2 * expected / np.linalg.norm(expected), atol=1e-6)
    assert torch.equal(whole.features[1, 3:], torch.zeros(2))  # b has no picture


def test_mistakes_are_one_sentence(tmp_path, capsys):
    arguments = [f"--data_path={write_micro(tmp_path)}", "--dataset=micro", "--topk=[2]", "--valid_metric=Recall@2"]
    command = ["train", "--preset=best", *arguments, f"--output={tmp_path / 'run'}"]
    for more, said in (
        ("--rows=items", "objective softmax has its own attention, over rows of users"),
        ("--attention=none", "objective softmax has its own attention, over rows of users"),
        ("--linear_settings={reg_wieght: 1}", "did you mean reg_weight"),
        ("--linear_settings={two_hop: -1}", "linear_settings: two_hop must be at least 0"),
        ("--linear_settings={reg_weight: [1, 2]}", "linear_settings: reg_weight must be one number"),
        ("--linear_settings=5", "linear_settings must be a mapping"),
        ("--held_out_share=1", "held_out_share must be below 1"),
        ("--attention_temperature=0", "attention_temperature must be above 0.02"),
        ("--attention_weights=[]", "attention_weights must not be empty"),
    ):
        assert main([*command, more]) == 2
        error = capsys.readouterr().err
        assert said in error and "Traceback" not in error


def test_a_ridge_of_zero_is_one_sentence(tmp_path, capsys):
    folder = write_micro(tmp_path, train=["ann a", "ann b", "bob a", "bob b", "cid c", "dot d"])  # a and b are alike
    command = ["train", f"--data_path={folder}", "--dataset=micro", "--topk=[2]", "--valid_metric=Recall@2"]
    for number, more in enumerate(
        (["--preset=best", "--linear_settings={reg_weight: 0}"], ["--model=LinearCADMR", "--reg_weight=0"])
    ):
        assert main([*command, *more, f"--output={tmp_path / str(number)}"]) == 2
        error = capsys.readouterr().err
        assert "the Gram matrix is singular at reg_weight 0; raise it" in error and "Traceback" not in error


def test_one_user_with_two_items_is_enough(tmp_path):
    model = model_of(write_micro(tmp_path, train=["ann a", "ann b"]))
    loss = model.calculate_loss(Interaction({"user_id": torch.tensor([1])}))
    loss.backward()
    with torch.no_grad():
        scores = model.full_sort_predict(Interaction({"user_id": torch.arange(model.n_users)}))
    assert torch.isfinite(loss) and torch.isfinite(scores).all()


def test_constant_features_and_one_modality_are_no_harm(tmp_path):
    same = {item: [1.0, 2.0] for item in "abcd"}
    model = model_of(write_micro(tmp_path, text=same, image=same, modalities="[text]"))
    loss = model.calculate_loss(EVERYBODY)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(scores_of(model)).all()


def test_users_of_one_item_teach_nothing(tmp_path):
    model = model_of(write_micro(tmp_path, train=["ann a", "bob b"]))
    assert float(model.calculate_loss(Interaction({"user_id": torch.tensor([1, 2])}))) == 0.0


def test_attention_and_content_are_each_worth_something_on_the_embedded_set(tmp_path):
    variants = {
        "linear": ("LinearCADMR", None, {"adaptive_fits": 1}),
        "best": ("CADMR", "best", {"attention_trials": 1, "linear_settings": {"adaptive_fits": 1}}),
        "no content": (
            "CADMR",
            "best",
            {
                "content_scale": 0.0,
                "content_smoothing": 0.0,
                "attention_trials": 1,
                "linear_settings": {"attention": "none", "adaptive_fits": 1},
            },
        ),
    }
    results = {name: [] for name in variants}
    for name, (model, preset, settings) in variants.items():
        for seed in (1,) if traits(model).deterministic else (1, 2, 3):
            given = {**settings, "seed": seed, "show_progress": False, "resume_step": 0}
            run = recbole_cadmr.train(model, preset=preset, output=tmp_path / f"{name}-{seed}", settings=given)
            results[name].append(run.result["test_result"])
    for metric in ("recall@20", "ndcg@20"):
        worst = min(result[metric] for result in results["best"])
        assert worst > 1.1 * max(result[metric] for result in results["linear"])
        assert worst > 1.3 * max(result[metric] for result in results["no content"])
    assert min(result["recall@20"] for result in results["best"]) > 0.32


def test_in_a_large_catalogue_the_attention_looks_at_candidates(tmp_path, monkeypatch):
    folder, settings = write_micro(tmp_path), {"attention_weights": [0.3], "ensemble_size": 2}
    sparse = {"linear_settings": {"reg_weight": 2.0, "fit": "sparse"}}
    whole, model = model_of(folder, **settings), model_of(folder, **settings, **sparse)
    model.load_state_dict(whole.state_dict())
    assert whole.listed_scores(EVERYBODY) is None
    scores = scores_of(model)
    assert torch.allclose(scores, scores_of(whole), atol=1e-5)  # all four are candidates
    with torch.no_grad():
        for users in (torch.tensor([2, 5]), torch.arange(1, 6), torch.tensor([5, 3])):  # computed, then kept
            listed = model.listed_scores(Interaction({"user_id": users}))
            assert listed.nnz == 4 * len(users)
            assert np.allclose(listed.toarray(), scores[users], atol=1e-5)
    monkeypatch.setattr(softmaxcadmr, "_CANDIDATES", 2)
    fewer = model_of(folder, **settings, **sparse)
    fewer.load_state_dict(model.state_dict())
    listed, dense = fewer.listed_scores(EVERYBODY).toarray()[:, 1:], scores_of(fewer)[1:, 1:].numpy()
    closed = fewer.closed_form.scores(fewer.rating_rows.batch(torch.arange(1, 6))).numpy()
    for user in range(4):
        best = np.argsort(-closed[user])[:2]
        assert set(np.flatnonzero(listed[user])) == set(best)
        assert np.allclose(listed[user, best], scores[user + 1, best + 1], atol=1e-5)
        assert np.allclose(dense[user, best], listed[user, best], atol=1e-6)
        assert np.delete(dense[user], best).max() < dense[user, best].min()


def test_a_sparse_fit_of_an_earlier_version_is_refused(tmp_path):
    folder, run = write_micro(tmp_path / "data"), tmp_path / "run"
    settings = {**SMALL, "linear_settings": {"reg_weight": 2.0, "fit": "sparse"}, "epochs": 1, "show_progress": False}
    settings |= {"data_path": str(folder), "topk": [1, 2], "valid_metric": "Recall@2"}
    recbole_cadmr.train("CADMR", "micro", output=run, settings=settings)
    recbole_cadmr.evaluate(run / "model.pt")
    content = load_checkpoint(run / "model.pt")
    assert content["attributes"][":fit_kind"] == "low rank"
    content["attributes"][":fit_kind"] = "sparse"  # what a sparse fit was called when it was another one
    save_checkpoint(run / "model.pt", content)
    with pytest.raises(UserError, match="sparse fit of an earlier version; train it again"):
        recbole_cadmr.evaluate(run / "model.pt")


@pytest.mark.parametrize(("work", "rows"), [(2_000_000, 2), (8, 2), (7, 2), (5, 4), (1, 20)])
def test_a_step_takes_more_rows_where_an_epoch_would_be_long(tmp_path, monkeypatch, work, rows):
    monkeypatch.setattr(loaders, "_EPOCH_WORK", work)
    # 8 entries in 4 rows of 5 ids of items, the padding item among them: 4 entries are 2 rows
    assert open_micro(write_micro(tmp_path), **SMALL, batch_entries=4).train_data.step == rows
    monkeypatch.setattr(loaders, "_MOST_ENTRIES", 6)  # 3 rows
    assert open_micro(tmp_path, **SMALL, batch_entries=4).train_data.step == min(rows, 3)
