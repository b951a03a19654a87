"""The attention of the preset best chooses its settings by several trainings, and its weight at every validation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import recbole_cadmr
from recbole_cadmr.config.model_yaml import own_settings
from recbole_cadmr.data.rows import binary
from recbole_cadmr.errors import UserError
from recbole_cadmr.models import softmaxcadmr
from recbole_cadmr.training import softmax_trainer
from recbole_cadmr.training.attention_trials import following_settings
from recbole_cadmr.training.attention_weight import AttentionWeight
from recbole_cadmr.training.callbacks import TrainingCallback
from recbole_cadmr.training.checkpoint import load_checkpoint, save_checkpoint
from recbole_cadmr.training.held_out import HeldOut
from tests.micro import open_checkpoint

FREE = ("cooccurrence_smoothing", "attention_temperature", "content_smoothing", "held_out_share")
SMALL = {"epochs": 2, "attention_size": 16, "linear_settings": {"adaptive_fits": 1}, "show_progress": False}


def trained(output, callbacks=(), **settings):
    return recbole_cadmr.train(
        "CADMR", preset="best", output=output, settings={**SMALL, **settings}, callbacks=list(callbacks)
    )


@pytest.fixture(scope="module")
def three_trainings(tmp_path_factory):
    """A run that nobody disturbed, of three trainings of two epochs."""
    return trained(tmp_path_factory.mktemp("three") / "run", attention_trials=3, resume_seconds=0)


def test_every_free_setting_starts_on_its_ladder():
    declared = own_settings("CADMR")
    assert all(declared[name].default in declared[name].ladder for name in FREE)
    assert {name for name, setting in declared.items() if setting.ladder is not None} == set(FREE)


def test_settings_are_asked_for_by_coordinate_descent():
    own = {"cooccurrence_smoothing": 0.5, "attention_temperature": 0.15}
    scores = {(0.5, 0.15): 0.30, (2.0, 0.15): 0.31, (4.0, 0.15): 0.29, (2.0, 0.1): 0.28, (2.0, 0.22): 0.33}
    scores |= {(2.0, 0.33): 0.32, (4.0, 0.22): 0.1, (0.5, 0.22): 0.2, (2.0, 0.15): 0.31}
    done, asked = [], own
    while asked is not None:
        place = asked["cooccurrence_smoothing"], asked["attention_temperature"]
        done.append((asked, scores[place]))
        asked = following_settings(own, done, bigger=True)
    order = [tuple(settings.values()) for settings, _ in done]
    # Forward on a ladder as long as that helps, backward if it did not; from what has just been left nothing is asked.
    assert order == [
        (0.5, 0.15),
        (2.0, 0.15),
        (4.0, 0.15),
        (2.0, 0.1),
        (2.0, 0.22),
        (2.0, 0.33),
        (4.0, 0.22),
        (0.5, 0.22),
    ]


def test_the_best_training_is_kept_and_said(tmp_path):
    run = trained(tmp_path / "run", attention_trials=4, content_smoothing=1.0)
    history, choices = run.result["history"], run.result["choices"]
    best = {
        phase: max(entry["valid_score"] for entry in entries)
        for phase, entries in itertools.groupby(history, key=lambda entry: entry["phase"])
    }
    assert list(best) == ["training", "training 2", "training 3", "training 4", "weight"]
    assert [entry["epoch"] for entry in history[:-1]] == [1, 3, 5, 7]
    assert run.result["best_valid_score"] == max(best.values())
    assert choices["trials"] == 4 and choices["attention"].keys() == {*FREE} - {"content_smoothing"}
    kept = load_checkpoint(run.checkpoint)
    assert kept["best_valid_score"] == max(best.values())
    model = open_checkpoint(run.checkpoint).model
    assert recbole_cadmr.evaluate(run.checkpoint)["result"] == run.result["test_result"]
    assert model.attentions[0].temperature == choices["attention"]["attention_temperature"]
    assert model.smoothing.cooccurrence == choices["attention"]["cooccurrence_smoothing"]
    assert model.smoothing.content == 1.0  # as given


class _Killed(Exception):
    pass


class _KillBefore(TrainingCallback):
    def __init__(self, epoch):
        self._epoch = epoch

    def on_epoch_start(self, trainer, epoch):
        if epoch == self._epoch:
            raise _Killed


@pytest.mark.parametrize("epoch", [1, 2, 5])
def test_a_killed_run_goes_on_alike(tmp_path, three_trainings, epoch):
    whole = three_trainings
    with pytest.raises(_Killed):
        trained(tmp_path / "cut", [_KillBefore(epoch)], attention_trials=3, resume_seconds=0)
    resumed = recbole_cadmr.resume(tmp_path / "cut")
    assert resumed.result["test_result"] == whole.result["test_result"]
    assert resumed.result["choices"] == whole.result["choices"]
    strip = [[{**entry, "seconds": 0} for entry in run.result["history"]] for run in (resumed, whole)]
    assert strip[0] == strip[1]


def test_every_training_is_validated_after_as_many_epochs(tmp_path):
    run = trained(tmp_path / "run", attention_trials=3, epochs=3, eval_step=2)
    assert [(e["phase"], e["epoch"]) for e in run.result["history"][:-1]] == [
        ("training", 1),
        ("training 2", 3),
        ("training 3", 5),
    ]


def test_long_trainings_are_not_repeated(tmp_path, monkeypatch):
    monkeypatch.setattr(softmax_trainer, "_WORK", 1.0)
    run = trained(tmp_path / "run", attention_trials=4)
    assert {entry["phase"] for entry in run.result["history"]} == {"training", "weight"}
    assert "1 of 4 trainings with different settings" in next((run.folder / "log").glob("*")).read_text()


def test_an_attention_that_learned_nothing_is_left_out(tmp_path):
    nothing = {"content_scale": 0.0, "content_smoothing": 0.0, "cooccurrence_smoothing": 0.0, "learning_rate": 1e-9}
    weights = []
    for name, settings in (("nothing", nothing), ("something", {})):
        run = trained(tmp_path / name, attention_trials=1, **{"epochs": 12, **settings})
        weights.append(float(open_checkpoint(run.checkpoint).model.attention_weight))
    assert weights[0] == 0.0 < weights[1]


def test_without_validation_nothing_is_chosen(tmp_path):
    run = trained(tmp_path / "run", attention_trials=4, eval_step=0)
    assert run.result["history"] == [] and run.result["choices"] is None and run.result["epochs_run"] == 2


def test_edited_settings_of_the_attention_are_refused(tmp_path, three_trainings):
    content = load_checkpoint(three_trainings.checkpoint)
    for text in (
        '{"done": 5}',
        '{"done": [[{}, "x"]]}',
        '{"done": [[{"a": 1}, 0.3]]}',
        '{"fits": "x"}',
        '{"attention": {"attention_temperature": "x"}}',
        '{"attention": {"epochs": 2}}',
        '{"attention": 3}',
    ):
        content["attributes"][":chosen"] = text
        save_checkpoint(tmp_path / "edited.pt", content)
        with pytest.raises(UserError, match="damaged or was edited"):
            recbole_cadmr.evaluate(tmp_path / "edited.pt")
    for text, sentence in (
        ('{"attention": {"attention_temperature": 0.01}}', "attention_temperature must be above 0.02, not 0.01"),
        ('{"attention": {"held_out_share": 1.5}}', "held_out_share must be below 1, not 1.5"),
        ('{"settings": {"attention_neighbours": 0}}', "attention_neighbours must be at least 1, not 0"),
    ):
        content["attributes"][":chosen"] = text
        save_checkpoint(tmp_path / "edited.pt", content)
        with pytest.raises(UserError, match=f"the checkpoint was edited: {sentence}"):
            recbole_cadmr.evaluate(tmp_path / "edited.pt")


@pytest.mark.parametrize("fit", ["exact", "sparse"])
def test_the_weight_is_the_best_that_a_walk_reaches(tmp_path, fit, monkeypatch):
    monkeypatch.setattr(softmaxcadmr, "_CANDIDATES", 40)
    linear = {**SMALL["linear_settings"], "fit": fit}
    run = trained(tmp_path / "run", attention_trials=1, epochs=6, linear_settings=linear)
    session = open_checkpoint(run.checkpoint)
    model = session.model
    V = binary(session.valid_data._dataset.inter_matrix(form="csr")[:, 1:])
    held_out = HeldOut(model.closed_form.R, V, "Recall@20", 20)
    value = {}
    with torch.no_grad():
        for weight in model.attention_weights:
            model.attention_weight.fill_(weight)
            scores = model._scores(torch.from_numpy(held_out.users))[:, 1:]
            value[weight] = held_out.measure(lambda users, scores=scores: scores[users].clone()).mean(0)
    model.attention_weight.fill_(model.attention_weights[0])
    AttentionWeight(model, held_out).best()
    found = min(value, key=lambda weight: abs(weight - float(model.attention_weight)))
    order = sorted(value)
    beside = [order[place] for place in (order.index(found) - 1, order.index(found) + 1) if 0 <= place < len(order)]
    start = value[model.attention_weights[0]]
    assert all(np.mean(value[other] / value[found] - 1) <= 1e-9 for other in beside)
    assert np.mean(value[found] / start - 1) >= 0
    if fit == "sparse":  # what is looked at are the candidates alone
        seen = AttentionWeight(model, held_out)._beside()({"attention_weight": found}).metrics
        assert np.allclose(seen.mean(0), value[found], atol=1e-12)
