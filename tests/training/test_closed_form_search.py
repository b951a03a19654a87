"""The closed form chooses its settings: on generated worlds, on the embedded set, and through a kill."""

from __future__ import annotations

import json
import re
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import recbole_cadmr
from recbole_cadmr.config.model_yaml import own_settings
from recbole_cadmr.data.order import ranked
from recbole_cadmr.data.rows import dense_to_batch
from recbole_cadmr.errors import UserError
from recbole_cadmr.layers import content_autoencoder
from recbole_cadmr.layers.content_autoencoder import ContentAutoencoder
from recbole_cadmr.models.softmaxcadmr import SoftmaxCADMR
from recbole_cadmr.training import closed_form_search, closed_form_trainer
from recbole_cadmr.training.checkpoint import load_checkpoint, save_checkpoint
from recbole_cadmr.training.closed_form_search import ClosedFormSearch
from recbole_cadmr.training.held_out import HeldOut
from tests.micro import open_checkpoint, write_micro

DEFAULTS = {name: setting.default for name, setting in own_settings("LinearCADMR").items()}
LADDERS = {name: setting.ladder for name, setting in own_settings("LinearCADMR").items() if setting.ladder is not None}
OF_ORDER = {name: LADDERS.pop(name) for name in ("direction", "recency")}  # where there is one
PLAIN = {
    **dict.fromkeys(("content_rows", "row_scaling", "item_scaling", "popularity_damping"), 0.0),
    **dict.fromkeys(("enhancement", "output_smoothing", "direct_path"), 0.0),
}
EMBEDDED = Path(str(files("recbole_cadmr.embedded"))) / "synthetic"
QUIET = {"show_progress": False, "evaluate_test": False}


@pytest.fixture(scope="module")
def three_fits(tmp_path_factory):
    """LinearCADMR on the embedded set, its settings chosen by three fits."""
    folder = tmp_path_factory.mktemp("three") / "run"
    return recbole_cadmr.train("LinearCADMR", output=folder, settings={**QUIET, "adaptive_fits": 3})


def world(seed: int, density: float, content: str, n_users: int = 200, n_items: int = 60):
    """Training rows, validation and test items of people with tastes, and an attention between items by content.

    Content shows the items' groups (``useful``), nothing (``useless``), or groups turned round (``misleading``).
    """
    rng = np.random.default_rng(seed)
    groups, popularity = rng.integers(0, 6, n_items), rng.normal(0, 0.7, n_items)
    taste = rng.normal(0, 1.5, (n_users, 6))
    odds = taste[:, groups] + popularity + rng.gumbel(0, 1, (n_users, n_items))
    chosen = np.argsort(-odds, axis=1)[:, : max(4, int(density * n_items))]
    parts = np.zeros((3, n_users, n_items), dtype=np.float32)
    for user, items in enumerate(chosen):
        items = rng.permutation(items)
        parts[0, user, items[2:]], parts[1, user, items[0]], parts[2, user, items[1]] = 1, 1, 1
    shown = {"useful": groups, "useless": rng.permutation(groups), "misleading": groups + popularity.argsort() % 2 * 9}
    near = (shown[content][:, None] == shown[content][None]) & ~np.eye(n_items, dtype=bool)
    if content == "misleading":
        near = (groups[:, None] != groups[None]) & (rng.random((n_items, n_items)) < 0.15)
        np.fill_diagonal(near, False)
    A = near / np.maximum(near.sum(1, keepdims=True), 1)
    return (*map(sp.csr_matrix, parts), sp.csr_matrix(A.astype(np.float32)))


def closed_form(R, A, order=None, **changes):
    settings, device = {**DEFAULTS, **changes}, torch.device("cpu")
    # As vectors of which those of like items are alike: what an item's attention goes to.
    features = F.normalize(torch.from_numpy((A + A.T).toarray()))
    return ContentAutoencoder(R, lambda _: ({"text": A}, {"text": 1.0}), lambda: features, settings, device, order)


def searched(R, V, A, budget=12, **options):
    search = ClosedFormSearch(closed_form(R, A), HeldOut(R, V, "Recall@10", 10), LADDERS, budget, **options)
    return search, search.run()


def measured(R, V, A, **changes):
    """Metrics [users, metrics] of a fit."""
    form = closed_form(R, A, **changes)
    form.fit()
    held_out = HeldOut(R, V, "Recall@10", 10)
    scores = torch.from_numpy(held_out.rows.toarray()) @ form.weights
    return held_out.measure(lambda users: scores[users])


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.07, 0.15, 0.4]), st.sampled_from(["useful", "useless", "misleading"]))
def test_it_ends_above_its_controls_on_validation_and_not_below_them_on_test(seed, density, content):
    R, V, T, A = world(seed, density, content)
    _, chosen = searched(R, V, A)
    for control in ({}, PLAIN):
        found, own = measured(R, V, A, **chosen).mean(0), measured(R, V, A, **control).mean(0)
        assert (found / own).mean() > 1 - 1e-4
        difference = (measured(R, T, A, **chosen) - measured(R, T, A, **control)).mean(1)
        assert difference.mean() >= -3.5 * difference.std() / np.sqrt(len(difference))


def test_the_better_start_is_taken_by_however_little():
    R, V, _, A = world(91, 0.15, "useless")  # in which plain is better by less than what a step has to be
    _, chosen = searched(R, V, A, budget=2)
    assert measured(R, V, A, **chosen).mean() >= measured(R, V, A, **PLAIN).mean()


def test_useful_content_is_used():
    R, V, T, A = world(1, 0.07, "useful")
    _, chosen = searched(R, V, A)
    assert measured(R, T, A, **chosen).mean() > 1.2 * measured(R, T, A, **PLAIN).mean()


def chains(seed: int, n_users: int = 300, n_items: int = 40):
    """Training rows, validation and test items of people who go on from item to item, and the places in the rows."""
    rng = np.random.default_rng(seed)
    parts, order = np.zeros((3, n_users, n_items), dtype=np.float32), np.zeros((n_users, n_items), dtype=np.float32)
    for user in range(n_users):
        walk = (rng.integers(n_items) + np.cumsum(rng.integers(1, 4, 7))) % n_items  # a few steps on, never back
        parts[0, user, walk[:5]], parts[1, user, walk[5]], parts[2, user, walk[6]] = 1, 1, 1
        order[user, walk[:5]] = 1 + np.arange(5)
    return (*map(sp.csr_matrix, (*parts, order)), sp.csr_matrix((n_items, n_items), dtype=np.float32))


def test_the_order_counts_where_it_tells_what_comes_next_and_only_there():
    R, V, T, order, nothing = chains(0)
    shuffled = order.copy()
    for user in range(order.shape[0]):
        row = slice(*order.indptr[user : user + 2])
        shuffled.data[row] = np.random.default_rng(user).permutation(order.data[row])
    ladders = {name: LADDERS[name] for name in ("reg_weight", "row_scaling")} | OF_ORDER
    found = {}
    for name, known in (("order", order), ("no order", shuffled)):
        form = closed_form(R, nothing, order=known)
        search = ClosedFormSearch(form, HeldOut(R, V, "Recall@10", 10), ladders, 8)
        found[name] = search.run()
    assert found["order"]["direction"] == 1.0 and found["no order"]["direction"] == 0.0
    assert found["order"]["recency"] > 0.0 == found["no order"]["recency"]
    with_it = measured(R, T, nothing, order=order, **found["order"]).mean(0)
    assert (with_it > 1.5 * measured(R, T, nothing, order=order, **found["no order"]).mean(0)).all()


@pytest.mark.parametrize("fit", ["exact", "sparse"])
def test_what_is_tried_is_what_the_closed_form_scores(fit):
    R, V, _, A = world(3, 0.15, "useful")
    held_out = HeldOut(R, V, "Recall@10", 10)
    changes = {"fit": fit, "two_hop": 0.2, "sparse_rank": 4}
    drawn = np.random.default_rng(0)
    order = ranked(*R.nonzero(), drawn.random(R.nnz), R.shape)
    search = ClosedFormSearch(closed_form(R, A, order, **changes), held_out, LADDERS | OF_ORDER, 3)
    for _ in range(6):
        ladders = (LADDERS | OF_ORDER).items()
        values = {name: float(drawn.choice(ladder)) for name, ladder in ladders if len(ladder) > 3}
        form = closed_form(R, A, order, **changes, **values)
        form.fit()
        rows = form.rows(form.settings)[held_out.users]
        expected = form.scores(dense_to_batch(torch.from_numpy(rows.toarray())))
        search._prepare({**DEFAULTS, **changes, **values})
        users = torch.arange(len(held_out.users))
        own = search._scores({**DEFAULTS, **changes, **values}, users)
        atol = 1e-4 * float(expected.abs().max())
        assert torch.allclose(own, expected, atol=atol)
        items = torch.from_numpy(drawn.integers(0, expected.shape[1], (len(users), 7)))
        at = search._scores_at({**DEFAULTS, **changes, **values}, users, items)
        assert torch.allclose(at, expected.gather(1, items), atol=atol)


@pytest.mark.parametrize(
    ("largest", "fit", "expected"), [(60, "auto", None), (59, "auto", "sparse"), (59, "exact", None)]
)
def test_settings_of_larger_catalogues_are_chosen_by_sparse_fits(monkeypatch, largest, fit, expected):
    monkeypatch.setattr(content_autoencoder, "_SEARCHED", largest)
    R, V, _, A = world(1, 0.07, "useful")
    form = closed_form(R, A, fit=fit, sparse_rank=60)
    assert form.kind_of_search == expected
    chosen = ClosedFormSearch(form, HeldOut(R, V, "Recall@10", 10), LADDERS, 4)
    found = chosen.run()
    assert isinstance(chosen._B, torch.Tensor) == (expected is None)
    assert form.fit() == "exact"
    assert found == searched(R, V, A, 4)[1]  # of all components both kinds are the same


def test_a_killed_search_repeats_no_fit_and_ends_alike(tmp_path, monkeypatch):
    R, V, _, A = world(5, 0.15, "useful")
    whole, chosen = searched(R, V, A)
    assert whole.fits > 4
    fits = []
    fit = ContentAutoencoder.autoencoder

    def counted(self, values, kind=None):
        if len(fits) == 4:
            raise KeyboardInterrupt
        fits.append({name: values[name] for name in ("content_rows", "reg_weight", "row_scaling", "item_scaling")})
        return fit(self, values, kind)

    monkeypatch.setattr(ContentAutoencoder, "autoencoder", counted)
    with pytest.raises(KeyboardInterrupt):
        searched(R, V, A, record=tmp_path / "record.pt")
    monkeypatch.setattr(ContentAutoencoder, "autoencoder", fit)
    done = len(load_checkpoint(tmp_path / "record.pt")["parts"])
    assert done >= 3
    save_checkpoint(tmp_path / "edited.pt", {"parts": {"x": {"settings": {}}}})
    with pytest.raises(UserError, match="edited.pt"):
        searched(R, V, A, record=tmp_path / "edited.pt")
    again, same = searched(R, V, A, record=tmp_path / "record.pt")
    assert same == chosen and (again.fits, again.tried) == (whole.fits, whole.tried)


@pytest.mark.parametrize("budget", [1, 2, 3, 5])
def test_a_budget_is_kept(budget):
    R, V, _, A = world(6, 0.4, "useless")
    search, _ = searched(R, V, A, budget)
    assert search.fits <= budget


@pytest.mark.parametrize("seed", [0, 4, 7])
def test_settings_that_come_again_count_once(seed):
    asked, measured = [], []

    class Counted(ClosedFormSearch):
        def _measured(self, settings, best=None):
            measured.append(settings)
            return super()._measured(settings, best)

        def _part(self, name, settings, walk):
            asked.append(f"{name} {settings}")
            return super()._part(name, settings, walk)

    R, V, _, A = world(seed, 0.15, "useful")
    search = Counted(closed_form(R, A), HeldOut(R, V, "Recall@10", 10), LADDERS, 60)
    search.run()
    assert len(set(asked)) < len(asked)
    assert (search.fits, search.tried) == (len(set(asked)), len(measured))


def test_measures_are_those_of_recboles_evaluation(tmp_path):
    run = recbole_cadmr.train("LinearCADMR", output=tmp_path / "run", settings={**QUIET, "adaptive_fits": 1})
    session = open_checkpoint(run.checkpoint)
    form = session.model.closed_form
    V = session.valid_data._dataset.inter_matrix(form="csr")[:, 1:]
    held_out = HeldOut(form.R, V, "Recall@20", 20)
    scores = torch.from_numpy(held_out.rows.toarray()) @ form.weights
    ndcg, recall = held_out.measure(lambda users: scores[users]).mean(0)
    assert recall == pytest.approx(run.result["best_valid_result"]["recall@20"], abs=1e-9)
    assert ndcg == pytest.approx(run.result["best_valid_result"]["ndcg@20"], abs=1e-9)


def test_a_run_chooses_says_so_and_can_be_repeated(tmp_path, monkeypatch):
    run = recbole_cadmr.train("LinearCADMR", output=tmp_path / "run", settings={"show_progress": False})
    choices = run.result["choices"]
    assert (
        3 <= choices["fits"] <= 16 < choices["tried"]
        and choices["settings"].keys() | {"modality_weights"} == LADDERS.keys()
    )
    assert not (tmp_path / "run" / "closed_form.pt").exists()
    fixed = {**choices["settings"], "adaptive_fits": 1, "show_progress": False}
    again = recbole_cadmr.train("LinearCADMR", output=tmp_path / "again", settings=fixed)
    assert again.result["test_result"] == run.result["test_result"] and again.result["choices"] is None
    assert recbole_cadmr.evaluate(run.checkpoint)["result"] == run.result["test_result"]
    own = recbole_cadmr.train(
        "LinearCADMR", output=tmp_path / "own", settings={"adaptive_fits": 4, "enhancement": 0.7, **QUIET}
    )
    assert "enhancement" not in own.result["choices"]["settings"] and own.result["choices"]["fits"] <= 4


def test_test_items_have_no_say(tmp_path, three_fits):
    """Choices are the same whatever the test part holds."""
    shutil.copytree(EMBEDDED, tmp_path / "synthetic")
    file = tmp_path / "synthetic" / "synthetic.test.inter"
    header, *lines = file.read_text().splitlines()
    users, items = zip(*(line.split("\t") for line in lines))
    moved = [f"{user}\t{item}" for user, item in zip(np.roll(users, 7), items)]
    file.write_text("\n".join([header, *moved]) + "\n")
    settings = {**QUIET, "adaptive_fits": 3, "data_path": str(tmp_path)}
    run = recbole_cadmr.train("LinearCADMR", output=tmp_path / "moved", settings=settings)
    assert run.result["fingerprint"]["sha256"] != three_fits.result["fingerprint"]["sha256"]
    assert run.result["choices"] == three_fits.result["choices"]


def test_the_preset_best_builds_on_what_was_chosen(tmp_path):
    settings = {"epochs": 2, "attention_trials": 1, "linear_settings": {"adaptive_fits": 3}, "show_progress": False}
    run = recbole_cadmr.train("CADMR", preset="best", output=tmp_path / "run", settings=settings)
    assert run.result["choices"]["fits"] <= 3
    assert recbole_cadmr.evaluate(run.checkpoint)["result"] == run.result["test_result"]


def test_best_keeps_its_settings_unless_the_gain_is_clear(tmp_path, three_fits, monkeypatch):
    settings = {"epochs": 1, "attention_trials": 1, "linear_settings": {"adaptive_fits": 3}, **QUIET}
    alone = three_fits.result
    for least in (0.0, 9.0):
        monkeypatch.setattr(SoftmaxCADMR, "least_gain", least)
        result = recbole_cadmr.train("CADMR", preset="best", output=tmp_path / str(least), settings=settings).result
        last = [entry["valid_score"] for entry in result["history"] if entry["phase"] == "weight"]
        # In the end the closed form by its own settings alone is a candidate either way.
        assert len(last) >= 2 and min(abs(score - alone["best_valid_score"]) for score in last) < 1e-6
        assert result["best_valid_score"] >= alone["best_valid_score"] - 1e-6
        assert result["choices"]["tried"] > 12 and "found" not in result["choices"]
        assert result["choices"]["settings"] in (alone["choices"]["settings"], {})


def test_what_a_schedule_gives_holds_against_what_was_chosen(tmp_path, monkeypatch):
    monkeypatch.setattr(SoftmaxCADMR, "least_gain", 0.0)
    schedule = {1: {"linear_settings": {"adaptive_fits": 3, "enhancement": 0.7}}}
    settings = {"epochs": 2, "attention_trials": 1, "linear_settings": {"adaptive_fits": 3}}
    settings |= {"settings_schedule": schedule, **QUIET}
    run = recbole_cadmr.train("CADMR", preset="best", output=tmp_path / "run", settings=settings)
    model = open_checkpoint(run.folder / "resume.pt").model
    model.adopt_choices()
    assert model.choices()["settings"]["enhancement"] != 0.7 == model.closed_form.settings["enhancement"]


def test_edited_choices_are_refused(tmp_path, three_fits):
    content = load_checkpoint(three_fits.checkpoint)
    for text in ('{"settings": {"enhancement": "x"}}', '{"settings": {"seed": 1}}', "[1]", "{", '{"settings": 3}'):
        content["attributes"][":chosen"] = text
        save_checkpoint(tmp_path / "edited.pt", content)
        with pytest.raises(UserError, match="damaged or was edited"):
            recbole_cadmr.evaluate(tmp_path / "edited.pt")


def test_every_value_that_a_setting_may_have_can_be_chosen(tmp_path, three_fits):
    content = load_checkpoint(three_fits.checkpoint)
    chosen = json.loads(content["attributes"][":chosen"])
    for place in (0, -1):
        extreme = {name: ladder[place] for name, ladder in LADDERS.items() if ladder}
        extreme["neighbour_popularity"] *= -1
        content["attributes"][":chosen"] = json.dumps({**chosen, "settings": extreme})
        save_checkpoint(tmp_path / "extreme.pt", content)
        model = open_checkpoint(tmp_path / "extreme.pt").model
        assert model.choices()["settings"] == extreme
    content["attributes"][":chosen"] = '{"settings": {"enhancement": -1.0}}'
    save_checkpoint(tmp_path / "negative.pt", content)
    with pytest.raises(UserError, match="the checkpoint was edited: enhancement must be at least 0, not -1.0"):
        open_checkpoint(tmp_path / "negative.pt")


def test_few_users_are_warned_of_and_none_leave_the_defaults(tmp_path, caplog):
    settings = {"data_path": str(write_micro(tmp_path)), "topk": [1, 2], "valid_metric": "Recall@2", **QUIET}
    run = recbole_cadmr.train("LinearCADMR", "micro", output=tmp_path / "few", settings=settings)
    assert "only 2 users have validation items" in (next((run.folder / "log").glob("*")).read_text())
    blind = recbole_cadmr.train(
        "LinearCADMR", "micro", output=tmp_path / "blind", settings={**settings, "eval_step": 0}
    )
    assert blind.result["choices"] is None
    assert "keeps the default settings" in (next((blind.folder / "log").glob("*")).read_text())


def test_the_estimate_is_logged(tmp_path, caplog):
    R, V, _, A = world(2, 0.15, "useful")
    with caplog.at_level("INFO", closed_form_search.__name__.partition(".")[0]):
        searched(R, V, A, 3)
    (first,) = [record.message for record in caplog.records if "fit 1 of at most 3" in record.message]
    assert re.search(r"\([\d.]+ s, the rest at most about [\d.]+ s\), \d+ settings tried: 0\.\d{4}, 0\.\d{4} by", first)


def test_there_are_fewer_fits_where_each_takes_long():
    # lfm2k, Baby and Electronics, as many of their users as are looked at, and half a million items
    sizes = [(1_858, 1_425), (17_730, 7_050), (2_000, 63_001), (500, 500_000)]
    assert [closed_form_trainer._most_fits(*size) for size in sizes] == [377, 8, 8, 4]


@pytest.mark.parametrize(("given", "fits"), [({}, 2), ({"adaptive_fits": 3}, 3)])
def test_large_catalogues_take_fewer_fits_unless_told_how_many(tmp_path, monkeypatch, given, fits):
    monkeypatch.setattr(closed_form_trainer, "_FIT_WORK", 1000)  # items of the embedded set and some more
    run = recbole_cadmr.train("LinearCADMR", output=tmp_path / "run", settings={**QUIET, **given})
    assert run.result["choices"]["fits"] == fits
