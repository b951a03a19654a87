"""A run: what it leaves, what it says, and that RecBole's models run the same way."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.result import read_result
from recbole_cadmr.training.checkpoint import load_checkpoint


def test_a_run_leaves_everything_in_its_folder(brief_run):
    folder = brief_run.folder
    names = {path.name for path in folder.iterdir()}
    files = {"result.json", "history.jsonl", "model.pt", "resume.pt", "learning_curves.svg"}
    assert names == {*files, "log", "log_tensorboard"}
    assert [path.suffix for path in (folder / "log").iterdir()] == [".log"]
    assert list((folder / "log_tensorboard").rglob("events*"))
    curves = (folder / "learning_curves.svg").read_text()
    assert curves.count("<polyline") == 4  # two phases in each of two panels
    result = json.loads((folder / "result.json").read_text())
    assert result == json.loads(json.dumps(brief_run.result))


def test_result_says_what_was_measured_and_how(brief_run):
    result = brief_run.result
    assert (result["schema_version"], result["model"], result["dataset"]) == (1, "CADMR", "synthetic")
    assert result["protocol"]["mask_valid_at_test"] is False
    assert result["protocol"]["split"] == "pre-split"
    assert set(result["test_result"]) == {
        f"{metric}@{k}" for metric in ("recall", "ndcg", "hit", "precision", "mrr", "map") for k in (5, 10, 20, 50)
    }
    assert brief_run.test["recall@20"] == result["test_result"]["recall@20"]
    assert result["best_valid_score"] == result["best_valid_result"]["recall@20"]
    assert result["settings"]["pretrain_epochs"] == 3 and result["settings"]["gate_init"] == 0.3
    assert set(result["seconds"]) == {"construction", "pretrain", "finetune"} and result["epochs_run"] == 6
    assert result["cpu_seconds"]["process"] > 0 == result["cpu_seconds"]["children"]
    assert result["peak_memory_bytes"] > 10**8 and result["gpu"] is None
    assert result["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_the_best_validation_of_fine_tuning_is_kept(brief_run):
    history = brief_run.result["history"]
    assert [entry["phase"] for entry in history] == ["pretrain"] * 3 + ["finetune"] * 4
    assert [entry["epoch"] for entry in history] == [0, 1, 2, 2, 3, 4, 5]
    fine = [entry for entry in history if entry["phase"] == "finetune"]
    assert brief_run.result["best_valid_score"] == max(entry["valid_score"] for entry in fine)
    assert load_checkpoint(brief_run.checkpoint)["epoch"] == brief_run.result["best_epoch"]


def test_diagnostics_are_logged_at_every_validation(brief_run):
    for entry in brief_run.result["history"]:
        values = entry["diagnostics"]
        assert {"tc/text", "tc/image", "gate", "cos/row", "cos/head"} <= set(values)
        assert all(math.isfinite(value) for value in values.values())
    first, last = (brief_run.result["history"][i]["losses"] for i in (0, -1))
    assert len(last) > len(first)  # the TC term acts in fine-tuning only


def test_tensorboard_gets_what_the_history_holds(brief_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(brief_run.folder / "log_tensorboard")).Reload()
    for tag, read in (
        ("diagnostics/tc/text", lambda entry: entry["diagnostics"]["tc/text"]),
        ("losses/reconstruction", lambda entry: entry["losses"].get("reconstruction")),
        ("valid_result/recall_at_20", lambda entry: entry["valid_result"]["recall@20"]),
    ):
        expected = [read(entry) for entry in brief_run.result["history"] if read(entry) is not None]
        assert [event.value for event in events.Scalars(tag)] == pytest.approx(expected, rel=1e-5)


def test_metrics_stay_unrounded(brief_run):
    values = brief_run.result["test_result"].values()
    assert any(round(value, 6) != value for value in values)


def test_the_same_seed_gives_the_same_run_and_another_does_not(brief_run, tmp_path):
    settings = {key: brief_run.result["settings"][key] for key in ("pretrain_epochs", "epochs", "gate_init")}
    settings["show_progress"] = False
    again = recbole_cadmr.train("CADMR", "synthetic", output=tmp_path / "again", settings=settings)
    other = recbole_cadmr.train("CADMR", "synthetic", output=tmp_path / "other", settings={**settings, "seed": 1})
    assert again.result["test_result"] == brief_run.result["test_result"]
    assert other.result["test_result"] != brief_run.result["test_result"]


def test_the_test_part_can_be_left_unread_and_is_read_once(tmp_path, capsys):
    run = recbole_cadmr.train("Pop", output=tmp_path / "run", settings={"evaluate_test": False, "show_progress": False})
    assert run.result["test_read"] is False and run.result["test_result"] is None
    assert run.result["best_valid_result"]["recall@20"] > 0
    later = recbole_cadmr.evaluate(run.checkpoint)
    assert main(["evaluate", "--run", str(run.folder)]) == 0
    result = json.loads((run.folder / "result.json").read_text())
    assert result["test_read"] and result["test_result"] == later["result"]
    assert main(["evaluate", "--run", str(run.folder)]) == 2
    assert "has been read" in capsys.readouterr().err
    assert later["result"]["recall@20"] > 0


def test_a_used_folder_is_refused_and_untouched(brief_run):
    before = (brief_run.folder / "result.json").read_bytes()
    with pytest.raises(UserError, match="already used"):
        recbole_cadmr.train("Pop", output=brief_run.folder)
    assert (brief_run.folder / "result.json").read_bytes() == before


def test_a_run_killed_before_it_kept_anything_leaves_its_folder_free(tmp_path):
    folder, quiet = tmp_path / "run", {"show_progress": False}
    log = folder / "log" / "Pop-synthetic.log"
    for path in (log, folder / "log_tensorboard" / "events.out.tfevents.1.host.2.0", folder / ".lock"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("of the one that was killed\n")
    temporary = folder / ".resume.pt.0123abcd.pt"
    temporary.write_bytes(b"half")
    own = folder / "log" / "notes.txt"
    own.touch()
    with pytest.raises(UserError, match="already used"):
        recbole_cadmr.train("Pop", output=folder)
    own.unlink()
    with pytest.raises(UserError, match="start the run again, with the same `output`"):
        recbole_cadmr.resume(folder)
    with pytest.raises(UserError, match="valid_metric Recall@20 is not computed"):
        recbole_cadmr.train("Pop", output=folder, settings={"topk": [10**6], **quiet})
    assert log.read_text().startswith("of the one that was killed\n")  # what was there stays
    run = recbole_cadmr.train("Pop", output=folder, settings=quiet)
    assert run.result["test_result"]["recall@20"] > 0 and not temporary.exists()
    assert "Pop on synthetic" in log.read_text()


def test_phases_can_be_switched_off(tmp_path):
    quiet = {"show_progress": False}
    only = recbole_cadmr.train("CADMR", output=tmp_path / "a", settings={**quiet, "pretrain_epochs": 2, "epochs": 0})
    assert [e["phase"] for e in only.result["history"]] == ["pretrain", "pretrain", "finetune"]
    at_once = recbole_cadmr.train("CADMR", output=tmp_path / "b", settings={**quiet, "pretrain_epochs": 0, "epochs": 2})
    assert [e["phase"] for e in at_once.result["history"]] == ["finetune"] * 3


def test_without_validation_the_last_epoch_is_kept(tmp_path):
    settings = {"pretrain_epochs": 1, "epochs": 2, "eval_step": 0, "show_progress": False}
    run = recbole_cadmr.train("CADMR", output=tmp_path / "run", settings=settings)
    assert run.result["history"] == [] and run.result["best_valid_score"] is None
    assert run.result["best_valid_result"] is None and run.result["test_result"]["recall@20"] > 0
    assert load_checkpoint(run.checkpoint)["epoch"] == 2


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("Pop", []),
        ("ItemKNN", ["--k=20"]),
        ("EASE", ["--reg_weight=100"]),
        ("BPR", ["--epochs=2"]),
        ("LightGCN", ["--epochs=2", "--train_batch_size=4096"]),
        ("MultiVAE", ["--epochs=2", "--train_batch_size=512"]),
    ],
)
def test_recboles_models_run_and_reload_the_same_way(brief_run, tmp_path, model, settings):
    folder = tmp_path / "run"
    assert main(["train", f"--model={model}", *settings, "--show_progress=False", f"--output={folder}"]) == 0
    result = json.loads((folder / "result.json").read_text())
    assert result.keys() == brief_run.result.keys()
    assert result["test_result"].keys() == brief_run.result["test_result"].keys()
    assert not (tmp_path / "log").exists() and not (tmp_path / "saved").exists()
    assert recbole_cadmr.evaluate(folder / "model.pt")["result"] == result["test_result"]


def test_threads_of_a_run_are_not_those_of_the_next(tmp_path):
    from tests.micro import open_micro, write_micro

    folder, own, before = write_micro(tmp_path), torch.get_num_threads(), 2
    torch.set_num_threads(before)
    try:
        for given, expected in ((3, 3), (3, 3), (1, 1), (None, before), (None, before)):
            open_micro(folder, "BPR", threads=given)
            assert torch.get_num_threads() == expected
        torch.set_num_threads(before + 1)  # whoever runs us has a say
        open_micro(folder, "BPR")
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(own)


@pytest.mark.parametrize("kind", [Path, str, os.fsencode])
def test_paths_come_in_any_form(tmp_path, kind):
    (tmp_path / "c.yaml").write_text("show_progress: false\n")
    run = recbole_cadmr.train("Pop", output=kind(str(tmp_path / "r")), config_files=kind(str(tmp_path / "c.yaml")))
    assert run.folder == tmp_path / "r"
    found = recbole_cadmr.evaluate(kind(str(run.checkpoint)), topk=50, metrics="Recall")["result"]
    assert found == {"recall@50": run.result["test_result"]["recall@50"]}
    again = recbole_cadmr.evaluate(run.checkpoint, topk=np.array([50]), metrics=("Recall",))
    assert again["result"] == found
    assert recbole_cadmr.recommend(kind(str(run.checkpoint)), topk=1)["rank"].tolist()[:2] == [1, 1]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: recbole_cadmr.train("Pop", output=""), "`output` must be a path, not ''"),
        (lambda: recbole_cadmr.train("Pop", output="a\0b"), "`output` must be a path"),
        (lambda: recbole_cadmr.train("Pop", output=5), "`output` must be a path, not 5"),
        (lambda: recbole_cadmr.train("Pop", output="a" * 300), "File name too long"),
        (lambda: recbole_cadmr.train(""), "`model` is empty"),
        (lambda: recbole_cadmr.train("Pop", ""), "`dataset` is empty"),
        (lambda: recbole_cadmr.train("Pop", preset=""), "`preset` is empty"),
        (lambda: recbole_cadmr.train("Pop", config_files=[""]), "`config_files` must be a path"),
        (lambda: recbole_cadmr.resume(""), "`resume` must be a path, not ''"),
        (lambda: recbole_cadmr.resume("a" * 300), "there is no run folder"),
        (lambda: recbole_cadmr.load(""), "`checkpoint` must be a path, not ''"),
        (lambda: recbole_cadmr.load("."), "is a folder; give the model.pt in it"),
        (lambda: recbole_cadmr.load("absent"), "there is no checkpoint or export absent"),
        (lambda: recbole_cadmr.load(None), "`checkpoint` must be a path, not None"),
        (lambda: recbole_cadmr.evaluate("a" * 300), "a{300}"),
    ],
)
def test_arguments_of_the_python_functions(tmp_path, call, sentence):
    with pytest.raises(UserError, match=sentence):
        call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"topk": []}, "`topk` is empty"),
        ({"metrics": []}, "`metrics` is empty"),
        ({"topk": 0}, "topk must be at least 1, not 0"),
        ({"topk": "10"}, "topk must be a"),
        ({"topk": [2.5]}, "topk must be"),
        ({"metrics": "Recal"}, "did you mean recall"),
        ({"part": "train"}, "part must be one of valid, test"),
        ({"mask_valid_at_test": "no"}, "mask_valid_at_test must be"),
        ({"data_path": ""}, "`data_path` must be a path"),
    ],
)
def test_arguments_of_evaluate(brief_run, arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        recbole_cadmr.evaluate(brief_run.checkpoint, **arguments)


def test_how_many_items_have_each_modality_stands_in_result_and_log(brief_run):
    modalities = read_result(brief_run.folder)["modalities"]
    n = brief_run.result["fingerprint"]["counts"]["items"]
    pictured = modalities["image"]["items"]
    assert modalities["text"] == {"items": n, "of": n, "width": 32}
    assert modalities["image"] == {"items": pictured, "of": n, "width": 48} and 0.9 * n < pictured < n
    said = f"text {n} of {n} items, 32-D; image {pictured} of {n} items ({pictured / n:.1%}), 48-D\n"
    assert f"modalities: {said}" in next((brief_run.folder / "log").iterdir()).read_text()
