"""Settings that change in the course of training, by a schedule or when a run goes on; and what a callback sees."""

from __future__ import annotations

import json

import pytest
import torch

import recbole_cadmr
from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.train import resume
from recbole_cadmr.training import resumable_trainer, trainer
from recbole_cadmr.training.callbacks import TrainingCallback
from recbole_cadmr.training.checkpoint import load_checkpoint
from tests.micro import SMALL, write_micro

# Two steps an epoch, five epochs.
COMMON = {"topk": [1, 2], "valid_metric": "NDCG@2", "show_progress": False, "threads": 1, "use_gpu": False}
MODELS = {
    "BPR": {**COMMON, "epochs": 5, "embedding_size": 4, "train_batch_size": 4},
    "LightGCN": {**COMMON, "epochs": 5, "embedding_size": 4, "train_batch_size": 4},
    "CADMR": {**SMALL, **COMMON, "pretrain_epochs": 2, "epochs": 3, "gate_init": 0.3},
}


class Cut(Exception):
    """What cuts a run."""


def cut_before(epoch, keeps=True):
    """A callback that cuts a run before an epoch; ``keeps``: after the state was written once more."""

    class Cutter(TrainingCallback):
        def on_epoch_start(self, trainer, next_epoch):
            if next_epoch == epoch:
                if keeps:
                    trainer.save_state()
                raise Cut

    return Cutter()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_micro(tmp_path_factory.mktemp("schedule") / "dataset")


@pytest.fixture
def run(data, tmp_path):
    """Train on the micro set into a folder of that name, which may be cut; the folder."""

    def of(name, model="BPR", callback=None, **settings):
        given = {**MODELS[model], "data_path": str(data), **settings}
        try:
            recbole_cadmr.train(
                model, "micro", output=tmp_path / name, settings=given, callbacks=[callback] if callback else []
            )
        except Cut:
            assert not (tmp_path / name / "result.json").exists()
        return tmp_path / name

    return of


def go_on(folder, callback=None, **changes):
    """Resume, to the end or another cut; the folder."""
    try:
        resume(folder, changes=changes, callbacks=[callback] if callback else [])
    except Cut:
        assert not (folder / "result.json").exists()
    return folder


def refusal(function, *arguments, **given):
    """The words of the error that a call ends with."""
    with pytest.raises(UserError) as error:
        function(*arguments, **given)
    return str(error.value)


def validations(folder):
    """What every validation saw."""
    history = json.loads((folder / "result.json").read_text())["history"]
    return [{k: entry[k] for k in ("epoch", "phase", "losses", "valid_score", "valid_result")} for entry in history]


def tensors(folder, name):
    return load_checkpoint(folder / name)["state_dict"]


def assert_same(left, right):
    """Two runs agree bit for bit: validations, results, the best model, and the state before the last epoch."""
    assert validations(left) == validations(right)
    results = [json.loads((folder / "result.json").read_text()) for folder in (left, right)]
    for name in ("best_valid_score", "best_epoch", "best_valid_result", "test_result", "epochs_run"):
        assert results[0][name] == results[1][name]
    for name in ("model.pt", "resume.pt"):
        one, other = tensors(left, name), tensors(right, name)
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


# A schedule


@pytest.mark.parametrize("change", [{"learning_rate": 0.05}, {"weight_decay": 0.5}, {"train_batch_size": 2}])
def test_a_schedule_is_a_run_that_is_cut_and_goes_on_with_the_changes(run, change):
    scheduled = run("scheduled", settings_schedule={2: change})
    assert_same(go_on(run("cut", callback=cut_before(2)), **change), scheduled)


def test_the_epochs_before_a_change_are_those_of_a_run_without_it(run):
    plain, scheduled = validations(run("plain")), validations(run("on", settings_schedule={2: {"learning_rate": 0.05}}))
    assert [v["epoch"] for v in plain] == [v["epoch"] for v in scheduled] == [0, 1, 2, 3, 4]
    assert plain[:2] == scheduled[:2]
    assert all(one["losses"] != other["losses"] for one, other in zip(plain[2:], scheduled[2:]))


def test_a_change_to_what_a_setting_is_already_changes_nothing(run):
    assert_same(run("plain"), run("on", settings_schedule={1: {"learning_rate": 0.001}, 3: {"weight_decay": 0.0}}))


def test_a_change_after_the_last_epoch_never_comes(run):
    assert_same(run("plain"), run("on", settings_schedule={5: {"learning_rate": 0.5}, 99: {"embedding_size": 8}}))


def test_changes_stay_until_they_are_changed_again(run):
    schedule = {3: {"learning_rate": 0.01}, 1: {"learning_rate": 0.1, "weight_decay": 0.5}}  # in any order
    scheduled = run("scheduled", settings_schedule=schedule)
    folder = go_on(run("cut", callback=cut_before(1)), cut_before(3), learning_rate=0.1, weight_decay=0.5)
    assert load_checkpoint(folder / "resume.pt")["epoch"] == 3
    assert_same(go_on(folder, learning_rate=0.01), scheduled)
    groups = load_checkpoint(scheduled / "resume.pt")["optimizers"]["optimizer"]["param_groups"]
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.01, 0.5)]


def test_a_schedule_runs_across_both_phases_of_cadmr(run):
    schedule = {1: {"pretrain_learning_rate": 0.05}, 2: {"learning_rate": 0.02}, 4: {"learning_rate": 0.1}}
    scheduled, plain = run("scheduled", "CADMR", settings_schedule=schedule), run("plain", "CADMR")
    folder = go_on(run("cut", "CADMR", cut_before(1)), cut_before(4), pretrain_learning_rate=0.05, learning_rate=0.02)
    assert_same(go_on(folder, learning_rate=0.1), scheduled)
    one, other = validations(plain), validations(scheduled)
    phases = [(0, "pretrain"), (1, "pretrain"), (1, "finetune"), (2, "finetune"), (3, "finetune"), (4, "finetune")]
    assert [(v["epoch"], v["phase"]) for v in one] == phases == [(v["epoch"], v["phase"]) for v in other]
    assert one[0] == other[0] and one[1]["losses"] != other[1]["losses"]


def test_fine_tuning_may_begin_with_a_change(run):
    scheduled = validations(run("scheduled", "CADMR", settings_schedule={2: {"learning_rate": 0.05}}))
    plain, other = validations(run("plain", "CADMR")), validations(run("other", "CADMR", learning_rate=0.05))
    assert scheduled[:3] == plain[:3] and scheduled == other  # the rate of fine-tuning has had no part before
    assert scheduled[3] != plain[3]


@pytest.mark.parametrize(
    ("model", "change"),
    [
        ("LightGCN", {"reg_weight": 10.0}),
        ("LightGCN", {"n_layers": 1}),
        ("CADMR", {"tc_weight": 50.0}),
        ("CADMR", {"positive_weight": 9.0}),
        ("CADMR", {"row_dropout_prob": 0.9}),
        ("CADMR", {"dropout_prob": 0.9}),
    ],
)
def test_a_setting_that_a_model_keeps_for_itself_changes_too(run, model, change):
    plain, scheduled = run("plain", model), run("scheduled", model, settings_schedule={3: change})
    before, after = (
        [[v for v in validations(folder) if (v["epoch"] < 3) is early] for folder in (plain, scheduled)]
        for early in (True, False)
    )
    assert before[0] == before[1]
    assert after[0][-1]["losses"] != after[1][-1]["losses"]


# Cut and resumed


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_run_with_a_schedule_that_is_cut_goes_on_as_if_it_never_had_been(run, epoch):
    schedule = {2: {"learning_rate": 0.05}}
    cut = run("cut", callback=cut_before(epoch), settings_schedule=schedule)
    assert load_checkpoint(cut / "resume.pt")["epoch"] == epoch
    assert_same(go_on(cut), run("whole", settings_schedule=schedule))


@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_cadmr_goes_on_with_its_schedule_from_an_older_state(run, epoch):
    given = {"settings_schedule": {1: {"pretrain_learning_rate": 0.05}, 3: {"learning_rate": 0.1}}}
    given["resume_seconds"] = 3600
    cut = run("cut", "CADMR", cut_before(epoch, keeps=False), **given)
    assert load_checkpoint(cut / "resume.pt")["epoch"] == {1: 1, 3: 3, 4: 3}[epoch]  # where a change is due
    assert_same(go_on(cut), run("whole", "CADMR", **given))


def test_changes_of_a_run_that_goes_on_outlast_another_cut(run):
    folder = go_on(run("cut", callback=cut_before(2)), cut_before(4), learning_rate=0.05)
    assert_same(go_on(folder), run("scheduled", settings_schedule={2: {"learning_rate": 0.05}}))


def test_changes_of_a_run_that_goes_on_are_above_its_schedule(run):
    cut = run("cut", callback=cut_before(3), settings_schedule={1: {"learning_rate": 0.05}})
    folder = go_on(go_on(cut, cut_before(4), learning_rate=0.2))
    whole = run("whole", settings_schedule={1: {"learning_rate": 0.05}, 3: {"learning_rate": 0.2}})
    assert_same(folder, whole)


# Refusals


@pytest.mark.parametrize(("model", "name", "value"), [("BPR", "embedding_size", 8), ("CADMR", "latent_size", 6)])
def test_a_size_cannot_change_in_the_course_of_training(run, model, name, value):
    words = f"{name} cannot change during training: Error(s) in loading state_dict"
    assert refusal(run, "scheduled", model, settings_schedule={2: {name: value}}).startswith(words)
    cut = run("cut", model, cut_before(2))
    assert refusal(resume, cut, changes={"learning_rate": 0.1, name: value}).startswith(f"learning_rate, {words}")
    go_on(cut)  # nothing is spoilt
    assert len(validations(cut)) == len(validations(run("plain", model)))


@pytest.mark.parametrize(
    ("schedule", "shown"),
    [
        ({0: {"learning_rate": 0.1}}, "0: {'learning_rate': 0.1}"),
        ({-1: {"learning_rate": 0.1}}, "-1: {'learning_rate': 0.1}"),
        ({"2": {"learning_rate": 0.1}}, "'2': {'learning_rate': 0.1}"),
        ({1.5: {"learning_rate": 0.1}}, "1.5: {'learning_rate': 0.1}"),
        ({2: 0.1}, "2: 0.1"),
        ({"learning_rate": 0.1}, "'learning_rate': 0.1"),
    ],
)
def test_a_schedule_names_epochs_from_one_on(schedule, shown):
    assert refusal(Config, "BPR", settings={"settings_schedule": schedule}) == (
        f"settings_schedule must name epochs from 1 on and the settings they change, as in "
        f"{{20: {{learning_rate: 0.0005}}}}, not {shown}"
    )


def test_what_a_schedule_changes_is_checked_as_any_setting():
    def words(changes):
        return refusal(Config, "BPR", settings={"settings_schedule": {3: {"learning_rate": 0.1}, 20: changes}})

    assert words({"learnin_rate": 0.1}).startswith(
        "settings_schedule, epoch 20: there is no setting 'learnin_rate'; did you mean learning_rate"
    )
    assert words({"learning_rate": 0}) == "settings_schedule, epoch 20: learning_rate must be above 0, not 0"
    assert refusal(Config, "BPR", settings={"settings_schedule": [1]}) == (
        "settings: settings_schedule must be a mapping, not [1]"
    )


def test_a_schedule_in_a_file_is_refused_before_anything_runs(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("settings_schedule: {0: {learning_rate: 0.1}}\n")
    assert "from 1 on" in refusal(recbole_cadmr.train, "BPR", "synthetic", output=tmp_path / "x", config_files=[file])
    assert not (tmp_path / "x").exists()


# How often the state is written


@pytest.fixture
def writes(monkeypatch):
    """Names of the checkpoints that are written."""
    names, save = [], trainer.save_checkpoint

    def counted(path, content):
        names.append(str(path).rpartition("/")[2])
        save(path, content)

    for module in (trainer, resumable_trainer):
        monkeypatch.setattr(module, "save_checkpoint", counted)
    return names


@pytest.mark.parametrize(
    ("settings", "times"),
    [
        ({}, 5),
        ({"resume_seconds": 3600}, 1),
        ({"resume_step": 2}, 3),
        ({"resume_step": 0}, 0),
        ({"resume_seconds": 3600, "settings_schedule": {2: {"learning_rate": 0.1}}}, 3),  # before the change, and after
        ({"resume_step": 0, "settings_schedule": {2: {"learning_rate": 0.1}}}, 1),
    ],
)
def test_the_state_is_written_as_often_as_asked_for(run, writes, settings, times):
    run("x", **settings)
    assert writes.count("resume.pt") == times and writes.count("model.pt") >= 1


def test_the_state_is_written_once_in_both_phases_of_cadmr(run, writes):
    run("x", "CADMR", resume_seconds=3600)
    assert writes.count("resume.pt") == 1


def test_a_callback_may_have_the_state_written(run, writes):
    class Saver(TrainingCallback):
        def on_epoch_start(self, trainer, epoch):
            if epoch == 3:
                trainer.save_state()

    folder = run("x", callback=Saver(), resume_seconds=3600)
    assert writes.count("resume.pt") == 2 and load_checkpoint(folder / "resume.pt")["epoch"] == 3


# What a callback sees


class Seen(TrainingCallback):
    """Notes every call: the hook, the epoch, and of how many validations the history consists."""

    def __init__(self):
        self.calls = []

    def on_epoch_start(self, trainer, epoch):
        self.calls.append(("start", epoch, len(trainer.history)))

    def on_validation(self, trainer, validation):
        assert validation is trainer.history[-1]
        self.calls.append(("validation", validation["epoch"], len(trainer.history)))

    def on_end(self, trainer):
        assert (trainer.folder / "result.json").exists()
        self.calls.append(("end", trainer.epoch, len(trainer.history)))


def test_a_callback_sees_every_epoch_validation_and_the_end(run):
    seen = Seen()
    run("x", callback=seen, epochs=2)
    assert seen.calls == [("start", 0, 0), ("validation", 0, 1), ("start", 1, 1), ("validation", 1, 2), ("end", 1, 2)]


def test_a_callback_sees_both_phases_of_cadmr(run):
    seen = Seen()
    run("x", "CADMR", seen, pretrain_epochs=1, epochs=1)
    # Fine-tuning begins with a validation of its starting point.
    assert seen.calls == [
        ("start", 0, 0),
        ("validation", 0, 1),
        ("validation", 0, 2),
        ("start", 1, 2),
        ("validation", 1, 3),
        ("end", 1, 3),
    ]


@pytest.mark.parametrize(("model", "step"), [("EASE", 1), ("LinearCADMR", 1), ("BPR", 5)])
def test_a_callback_sees_the_one_validation(run, monkeypatch, model, step):
    monkeypatch.setitem(MODELS, model, MODELS.get(model, COMMON))
    seen = Seen()
    run("x", model, seen, eval_step=step)
    assert [call[0] for call in seen.calls if call[0] != "start"] == ["validation", "end"]


def test_a_callback_sees_the_end_after_epochs_without_a_validation(run):
    seen = Seen()
    run("x", callback=seen, eval_step=2)  # the fifth epoch has none
    assert [call for call in seen.calls if call[0] != "start"] == [
        ("validation", 1, 1),
        ("validation", 3, 2),
        ("end", 4, 2),
    ]


def test_a_callback_sees_nothing_twice_when_settings_change(run):
    seen = Seen()
    run("x", callback=seen, settings_schedule={2: {"learning_rate": 0.1}})
    assert [call[1] for call in seen.calls if call[0] == "validation"] == [0, 1, 2, 3, 4]
    assert [call[1] for call in seen.calls if call[0] == "start"] == [0, 1, 2, 3, 4]


def test_a_callback_of_a_resumed_run_has_the_history_before(run):
    seen = Seen()
    go_on(run("cut", callback=cut_before(3)), seen)
    assert seen.calls[:2] == [("start", 3, 3), ("validation", 3, 4)]
