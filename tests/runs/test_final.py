"""Final runs: a run's choices trained again on all interactions, beside runs on joined data, and measured nowhere."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.reports.results_table import results_table
from recbole_cadmr.training.callbacks import TrainingCallback
from recbole_cadmr.training.checkpoint import load_checkpoint, save_checkpoint
from recbole_cadmr.training.stages import Stage, on_the_way
from tests.data.test_sequences import TEST as TEST_IN_ORDER
from tests.data.test_sequences import TRAIN as TRAIN_IN_ORDER
from tests.data.test_sequences import VALID as VALID_IN_ORDER
from tests.data.test_sequences import write as write_in_order
from tests.micro import SMALL, TEST, TRAIN, VALID, write_micro

COMMON = {"topk": [1, 2], "valid_metric": "NDCG@2", "show_progress": False, "threads": 1, "use_gpu": False}
FEW = {"epochs": 6, "train_batch_size": 4, "learning_rate": 0.05}
SOFTMAX = {**COMMON, "objective": "softmax", "attention_size": 4, "train_batch_size": 2, "epochs": 4}
MODELS = {
    "Pop": COMMON,
    "EASE": COMMON,
    "BPR": {**COMMON, **FEW, "embedding_size": 4},
    "LightGCN": {**COMMON, **FEW, "embedding_size": 4, "seed": 3},
    "MultiVAE": {**COMMON, **FEW, "mlp_hidden_size": [4], "latent_dimension": 4},
    "VBPR": {**COMMON, **FEW, "embedding_size": 4},
    "CADMR": {**SMALL, **COMMON, "pretrain_epochs": 4, "epochs": 5, "gate_init": 0.3},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The micro set, and, under ``joined``, the same with all interactions in its train part."""
    folder = tmp_path_factory.mktemp("final")
    write_micro(folder / "split")
    write_micro(folder / "joined", train=[*TRAIN, *VALID, *TEST])
    for part in ("valid", "test"):
        (folder / "joined" / "micro" / f"micro.{part}.inter").write_text("user_id:token\titem_id:token\n")
    return folder


@pytest.fixture
def train(data, tmp_path):
    """Train on one of these sets."""

    def of(name, model, of_data="split", dataset="micro", **settings):
        settings["data_path"] = str(data / of_data)
        return recbole_cadmr.train(model, dataset, output=tmp_path / name, settings=settings)

    return of


def assert_same_model(left, right):
    """Two runs have the same best model, bit for bit, and recommend the same."""
    one, other = (load_checkpoint(run.checkpoint) for run in (left, right))
    assert one["state_dict"].keys() == other["state_dict"].keys()
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name
    lists = [recbole_cadmr.load(run.checkpoint).recommend(topk=2, leave_out="all") for run in (left, right)]
    assert lists[0].equals(lists[1])


# The same as by hand


@pytest.mark.parametrize("model", MODELS)
def test_a_final_run_is_a_run_on_joined_data_as_far_as_the_best_epoch(train, model, tmp_path):
    run = train("run", model, **MODELS[model])
    final = recbole_cadmr.train_final(run, output=tmp_path / "final")
    epochs = final.result["final"]["epochs"]
    by_hand = dict(MODELS[model])
    if model == "CADMR":
        best = load_checkpoint(run.checkpoint)["epoch"]
        n_before = sum(entry["phase"] == "pretrain" for entry in run.result["history"])
        assert epochs["finetune"] == best + 1 - n_before
        before = [entry["valid_score"] for entry in run.result["history"] if entry["phase"] == "pretrain"]
        assert epochs["pretrain"] == len(before) - before[::-1].index(max(before))
        by_hand |= {"pretrain_epochs": epochs["pretrain"], "epochs": epochs["finetune"]}
    else:
        assert epochs == {"training": run.result["best_epoch"] + 1}
        by_hand |= {"epochs": epochs["training"]}
    joined = train("by hand", model, "joined", **by_hand)
    assert_same_model(final, joined)
    assert final.result["fingerprint"] == joined.result["fingerprint"]


def test_what_a_closed_form_chose_is_taken_over(train, tmp_path):
    run = train("run", "LinearCADMR", **COMMON)
    final = recbole_cadmr.train_final(run, output=tmp_path / "final")
    assert final.result["choices"] == run.result["choices"] and run.result["choices"]["fits"] > 1
    joined = train("by hand", "LinearCADMR", "joined", **COMMON, **run.result["choices"]["settings"], adaptive_fits=1)
    one, other = (load_checkpoint(r.checkpoint)["other_parameter"]["_weights"] for r in (final, joined))
    assert torch.equal(one, other)


def test_the_best_of_several_ridges_is_the_one_that_is_fitted(train, tmp_path):
    run = train("run", "LinearCADMR", **COMMON, reg_weight=[0.1, 50.0, 3000.0])
    final = recbole_cadmr.train_final(run, output=tmp_path / "final")
    ridge = [0.1, 50.0, 3000.0][run.result["best_epoch"]]
    assert final.result["settings"]["reg_weight"] == ridge and final.result["epochs_run"] == 1
    joined = train("by hand", "LinearCADMR", "joined", **COMMON, reg_weight=ridge, adaptive_fits=1)
    one, other = (load_checkpoint(r.checkpoint)["other_parameter"]["_weights"] for r in (final, joined))
    assert torch.equal(one, other)


@pytest.mark.parametrize("trials", [1, 3])
def test_closed_form_attention_and_its_weight_are_taken_over(train, tmp_path, trials):
    settings = {**SOFTMAX, "attention_trials": trials}
    run = train("run", "CADMR", **settings)
    final = recbole_cadmr.train_final(run, output=tmp_path / "final")
    choices = run.result["choices"] or {}
    assert final.result["choices"] == run.result["choices"]
    one, other = (load_checkpoint(r.checkpoint)["state_dict"] for r in (run, final))
    assert torch.equal(one["attention_weight"], other["attention_weight"])
    of_best = [e for e in run.result["history"] if e["phase"] != "weight" and e["epoch"] == run.result["best_epoch"]]
    in_its_training = [e for e in run.result["history"] if e["phase"] == of_best[0]["phase"]]
    n_epochs = in_its_training.index(of_best[0]) + 1
    assert final.result["final"]["epochs"] == {"training": n_epochs}
    joined = train(
        "by hand", "CADMR", "joined",
        **{**settings, "epochs": n_epochs, "attention_trials": 1, **choices.get("attention", {})},
        attention_weights=[float(one["attention_weight"])],
        linear_settings={**choices.get("settings", {}), "adaptive_fits": 1},
    )  # fmt: skip
    assert_same_model(final, joined)


def test_an_attention_that_the_run_left_out_is_not_trained(train, tmp_path):
    run = train("run", "CADMR", **SOFTMAX, attention_weights=[0.0], attention_trials=1)
    final = recbole_cadmr.train_final(run, output=tmp_path / "final")
    assert run.result["epochs_run"] > 0 == final.result["epochs_run"] and "training" not in final.result["seconds"]
    assert final.result["final"]["epochs"] == {"training": 0}
    chosen = {**(run.result["choices"] or {}).get("settings", {}), "adaptive_fits": 1}
    settings = {**SOFTMAX, "attention_trials": 1, "attention_weights": [0.0], "linear_settings": chosen}
    one, other = (recbole_cadmr.load(r.checkpoint) for r in (final, train("by hand", "CADMR", "joined", **settings)))
    assert one.recommend(topk=2, leave_out="none").equals(other.recommend(topk=2, leave_out="none"))


def test_a_model_of_sequences_goes_on_from_the_last_interaction(tmp_path):
    write_in_order(tmp_path / "split")
    write_in_order(tmp_path / "joined", [*TRAIN_IN_ORDER, *VALID_IN_ORDER, *TEST_IN_ORDER], [], [])
    settings = {"topk": [2], "valid_metric": "Recall@2", "MAX_ITEM_LIST_LENGTH": 4, "epochs": 3, "show_progress": False}

    def train(place, **more):
        given = {**settings, **more, "data_path": str(tmp_path / place)}
        return recbole_cadmr.train("SASRec", "drawn", output=tmp_path / f"{place} run", settings=given)

    run = train("split")
    final = recbole_cadmr.train_final(run, output=tmp_path / "final")
    assert_same_model(final, train("joined", epochs=run.result["best_epoch"] + 1))
    session = recbole_cadmr.runs.session.load_session(final.checkpoint, tmp_path / "scratch")
    (batch,) = session.train_data
    histories = dict(zip(batch["user_id"].tolist(), batch["item_length"].tolist()))
    assert max(histories.values()) == 4  # ann's fifth item, of the test part, follows four


# Only as far as the best epoch, by the schedule of the run


class Rates(TrainingCallback):
    """Learning rates by epoch, as the epochs before had them."""

    def __init__(self):
        self.rates = []

    def on_epoch_start(self, trainer, epoch):
        if epoch:
            self.rates.append(trainer.optimizer.param_groups[0]["lr"])


def test_the_learning_rate_falls_as_it_did_in_the_run(data, tmp_path):
    settings = {**MODELS["BPR"], "epochs": 12, "learning_rate_schedule": "cosine", "data_path": str(data / "split")}
    ran, final = Rates(), Rates()
    run = recbole_cadmr.train("BPR", "micro", output=tmp_path / "run", settings=settings, callbacks=[ran])
    assert 0 < run.result["best_epoch"] < 11
    recbole_cadmr.train_final(run, output=tmp_path / "final", callbacks=[final])
    assert len(set(ran.rates)) == len(ran.rates)
    assert final.rates == ran.rates[: run.result["best_epoch"]]


def test_settings_that_change_on_the_way_change_at_the_same_epochs(train, tmp_path):
    schedule = {1: {"learning_rate": 0.2}, 2: {"weight_decay": 0.1}, 5: {"learning_rate": 0.001}}
    run = train("run", "BPR", **MODELS["BPR"], settings_schedule=schedule)
    final = recbole_cadmr.train_final(run, output=tmp_path / "final")
    n = run.result["best_epoch"] + 1
    assert n > 2
    by_hand = {**MODELS["BPR"], "epochs": n, "settings_schedule": {e: c for e, c in schedule.items() if e < n}}
    assert_same_model(final, train("by hand", "BPR", "joined", **by_hand))


def test_a_schedule_over_two_phases_is_shortened_with_them():
    schedule = {1: {"a": 1}, 4: {"a": 2}, 5: {"b": 1}, 6: {"a": 3}, 8: {"a": 4}, 9: {"a": 5}}
    stages = [Stage("pretrain", 0, 3), Stage("finetune", 6, 2)]
    assert on_the_way(schedule, stages) == {1: {"a": 1}, 3: {"a": 3, "b": 1}}
    assert on_the_way(schedule, [Stage("training", 6, 1)]) == {0: {"a": 3, "b": 1}}
    assert on_the_way(schedule, [Stage("pretrain", 0, 6), Stage("finetune", 6, 3)]) == {
        epoch: changes for epoch, changes in schedule.items() if epoch < 9
    }


# Whole or not at all


class Cut(Exception):
    """What cuts a run."""


class CutBefore(TrainingCallback):
    """Cuts a run before an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_start(self, trainer, epoch):
        if epoch == self.epoch:
            raise Cut


@pytest.mark.parametrize(
    ("model", "epoch"), [("BPR", 1), ("CADMR", 1), ("CADMR", -1), ("softmax", 1), ("LinearCADMR", 0)]
)
def test_a_final_run_that_is_cut_resumes_to_the_same(train, tmp_path, model, epoch):
    settings = {**MODELS, "softmax": {**SOFTMAX, "attention_trials": 1}, "LinearCADMR": COMMON}[model]
    run = train("run", "CADMR" if model == "softmax" else model, **settings)
    whole = recbole_cadmr.train_final(run, output=tmp_path / "whole")
    n = sum(whole.result["final"]["epochs"].values())
    with pytest.raises(Cut):
        recbole_cadmr.train_final(run, output=tmp_path / "cut", callbacks=[CutBefore(epoch % n)])
    with pytest.raises(UserError, match="not finished"):
        recbole_cadmr.runs.result.read_result(tmp_path / "cut")
    resumed = recbole_cadmr.resume(tmp_path / "cut")
    assert_same_model(resumed, whole)
    assert resumed.result["final"] == whole.result["final"]
    assert resumed.result["epochs_run"] == whole.result["epochs_run"] == n


# Measured nowhere


def test_a_final_run_holds_no_metric_and_says_whose_it_is(train, tmp_path):
    run = train("run", "BPR", **MODELS["BPR"])
    before = {path: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}
    final = recbole_cadmr.train_final(str(run.folder), output=tmp_path / "final", settings={"resume_seconds": 9})
    assert {path: path.read_bytes() for path in run.folder.iterdir() if path.is_file()} == before
    result = json.loads((final.folder / "result.json").read_text())
    assert result["final"]["run"] == run.result["id"] != result["id"]
    assert result["final"]["checkpoint_sha256"] == recbole_cadmr.files.sha256_of(run.checkpoint)
    assert result["final"]["data"]["sha256"] == run.result["fingerprint"]["sha256"]
    assert result["fingerprint"]["counts"]["interactions"] == [len(TRAIN + VALID + TEST), 0, 0]
    for name in ("best_valid_score", "best_valid_result", "best_epoch", "test_result"):
        assert result[name] is None
    assert result["settings"] == {**run.result["settings"], "resume_seconds": 9}
    assert result["history"] == [] and result["test_read"] is False
    assert {path.name for path in final.folder.iterdir()} == {
        *("result.json", "model.pt", "resume.pt", "log", "log_tensorboard")
    }
    recommender = recbole_cadmr.load(final.checkpoint)
    recommender.export(tmp_path / "export")
    assert json.loads((tmp_path / "export" / "card.json").read_text())["final"] == result["final"]
    assert recommender.recommend(topk=2, leave_out="train").equals(recommender.recommend(topk=2, leave_out="all"))


def test_nothing_that_measures_or_compares_takes_a_final_run(data, train, tmp_path, capsys):
    settings = {**MODELS["BPR"], "save_lists": True}
    run = train("run", "BPR", **settings)
    final = recbole_cadmr.train_final(run, output=tmp_path / "final")
    folder, checkpoint = str(final.folder), str(final.checkpoint)
    benchmark = ["benchmark", "--models=Pop", "--datasets=micro", f"--data_path={data / 'split'}", "--seeds=1",
                 "--topk=[1,2]", "--valid_metric=NDCG@2"]  # fmt: skip
    for refused in (
        ["table", str(run.folder), folder],
        ["evaluate", "--run", folder],
        ["evaluate", "--checkpoint", checkpoint],
        ["evaluate", "--checkpoint", checkpoint, "--part=valid"],
        ["train", "--final", folder],
        [*benchmark, f"--output={tmp_path / 'benchmark'}", "--runs", folder],
    ):
        assert main(refused) == 2, refused
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert "final run" in error and run.result["id"] in error, error
    # Its files in the place of the run's are not taken for these.
    swapped = shutil.copytree(run.folder, tmp_path / "swapped")
    shutil.copy(final.checkpoint, swapped / "model.pt")
    with pytest.raises(UserError, match="is of another run"):
        results_table([swapped], metrics=("recall@2",))
    with pytest.raises(UserError, match="is of another run"):
        recbole_cadmr.train_final(swapped, output=tmp_path / "of swapped")
    # Nor does its model pass for one of the split data, whose test part it has seen.
    content = load_checkpoint(final.checkpoint)
    content.pop("final")
    save_checkpoint(tmp_path / "disguised.pt", content)
    assert main(["evaluate", "--checkpoint", str(tmp_path / "disguised.pt")]) == 2
    assert "trained on other data" in capsys.readouterr().err


def test_no_setting_asks_for_a_final_run(data, tmp_path, capsys):
    file = tmp_path / "final.yaml"
    file.write_text("final: {run: null, epochs: {training: 1}}\n")
    common = ["--config_files", str(file), "--dataset=micro", f"--data_path={data / 'split'}", "--model=BPR"]
    for command in (["train"], ["tune", "--output=a"]):
        assert main([*command, *common]) == 2
        assert "final" in capsys.readouterr().err
    assert (
        main(
            [
                "benchmark",
                "--models=BPR",
                "--output=b",
                "--datasets=micro",
                f"--data_path={data / 'split'}",
                "--final={run: null}",
            ]
        )
        == 2
    )
    assert "final" in capsys.readouterr().err


# What cannot be made final


def test_what_cannot_be_made_final_is_one_sentence(data, train, tmp_path):
    run = train("run", "BPR", **MODELS["BPR"])

    def refusal(folder, **arguments):
        with pytest.raises(UserError) as error:
            recbole_cadmr.train_final(folder, output=tmp_path / "refused", **arguments)
        assert not (tmp_path / "refused").exists()
        return str(error.value)

    assert "leave out `epochs`" in refusal(run.folder, settings={"threads": 1, "epochs": 3})
    assert "there is no run folder" in refusal(tmp_path / "nothing")
    assert "not finished" in refusal(tmp_path)
    pruned = shutil.copytree(run.folder, tmp_path / "pruned")
    (pruned / "model.pt").unlink()
    assert "a search keeps that of its best trial alone" in refusal(pruned)
    assert "there is no folder" in refusal(run.folder, data_path=tmp_path / "nowhere")
    assert "was trained on other data" in refusal(run.folder, data_path=data / "joined")
    with pytest.raises(Cut):
        recbole_cadmr.train("BPR", "micro", output=tmp_path / "cut", callbacks=[CutBefore(2)],
                            settings={**MODELS["BPR"], "data_path": str(data / "split")})  # fmt: skip
    changed = recbole_cadmr.runs.train.resume(tmp_path / "cut", changes={"learning_rate": 0.01})
    assert "were changed during training (learning_rate)" in refusal(changed.folder)


def test_a_run_without_validation_is_repeated_whole(train, tmp_path):
    run = train("run", "CADMR", **{**MODELS["CADMR"], "eval_step": 0})
    final = recbole_cadmr.train_final(run, output=tmp_path / "final")
    assert final.result["final"]["epochs"] == {"pretrain": 4, "finetune": 5}
