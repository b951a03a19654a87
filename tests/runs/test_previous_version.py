"""Folders that version 0.1 wrote (`../previous_version`, on the micro set) are read, resumed and evaluated as ever."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

import recbole_cadmr
from recbole_cadmr.benchmark.plan import model_specs
from recbole_cadmr.cli.main import main
from recbole_cadmr.config import deprecated
from recbole_cadmr.config.model_yaml import search_space
from recbole_cadmr.reports.results_table import results_table
from recbole_cadmr.runs.result import read_result
from recbole_cadmr.tuning.plan import read_plan
from recbole_cadmr.tuning.trial_record import read_records
from tests.micro import write_micro

FOLDERS = Path(__file__).parents[1] / "previous_version"
SEARCHES = {"search": 24, "population": 24}  # epochs that are listed in trials.csv


@pytest.fixture
def folders(tmp_path):
    """A copy of the folders beside the data set."""
    write_micro(tmp_path / "dataset")
    return shutil.copytree(FOLDERS, tmp_path / "old")


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("result.json")}


def test_runs_stand_in_a_table(folders):
    table = results_table([folders / "run", folders / "linear"], metrics=["recall@2", "ndcg@2"])
    assert "| BPR |  | 1 | 0.7500 | 0.6220 |" in table
    assert "| LinearCADMR |  | 1 | 0.2500 | 0.3066 |" in table


@pytest.mark.parametrize(("run", "recall"), [("run", 0.75), ("linear", 0.25)])
def test_checkpoints_are_scored_as_they_were(folders, run, recall):
    found = recbole_cadmr.evaluate(folders / run / "model.pt")["result"]
    assert found["recall@2"] == recall


def test_a_cut_run_ends_as_the_one_that_was_not_cut(folders):
    cut = recbole_cadmr.resume(folders / "cut")
    whole = read_result(folders / "run")
    assert cut.result["test_result"] == whole["test_result"]
    for mine, theirs in zip(cut.result["history"], whole["history"], strict=True):
        assert {**mine, "seconds": 0} == {**theirs, "seconds": 0}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_finished_search_is_told_again_and_trains_nothing(folders, name, capsys):
    before = stamps(folders / name)
    rows = pd.read_csv(folders / name / "trials.csv")
    assert main(["tune", f"--resume={folders / name}", "--data_path=dataset"]) == 0
    assert stamps(folders / name) == before
    told = pd.read_csv(folders / name / "trials.csv")
    assert told.pop("cpu_seconds").isna().all()  # which that version did not measure
    pd.testing.assert_frame_equal(told, rows)
    assert f"epochs trained: {SEARCHES[name]} of at most 24" in capsys.readouterr().out


def test_a_cut_search_trains_what_is_missing(folders):
    shutil.rmtree(folders / "search" / "trials" / "0004")
    before = stamps(folders / "search")
    assert main(["tune", f"--resume={folders / 'search'}", "--data_path=dataset"]) == 0
    after = stamps(folders / "search")
    assert after.keys() - before.keys() == {folders / "search" / "trials" / "0004" / "run" / "result.json"}
    assert before.items() <= after.items()


@pytest.mark.parametrize("name", SEARCHES)
def test_best_settings_repeat_their_search(folders, tmp_path, name):
    settings = yaml.safe_load((folders / name / "best.yaml").read_text())
    run = recbole_cadmr.train(
        config_files=folders / name / "best.yaml", output=tmp_path / "again", settings={"data_path": "dataset"}
    )
    assert settings["model"] == "BPR"
    assert run.result["best_valid_score"] == 1.0


def test_a_finished_benchmark_runs_nothing_and_has_its_rows(folders):
    before, rows = stamps(folders / "benchmark"), (folders / "benchmark" / "results.csv").read_text()
    models = ["--models=BPR,LinearCADMR", "--datasets=micro", "--seeds=2", "--data_path=dataset"]
    small = ["--topk=[1,2]", "--valid_metric=Recall@2", "--BPR.embedding_size=4", "--BPR.epochs=4"]
    small.append("--LinearCADMR.adaptive_fits=1")  # the closed form of that version chose no settings
    assert main(["benchmark", *models, *small, f"--output={folders / 'benchmark'}"]) == 0
    assert stamps(folders / "benchmark") == before
    now = (folders / "benchmark" / "results.csv").read_text().splitlines(keepends=True)
    assert "".join(row for row in now if ": wilcoxon," not in row) == rows  # that version had no such rows


# Names of settings that version 0.1 had: what it calls regularisation is called reg_weight now.


@pytest.fixture
def warnings():
    """What is warned of, whatever was before, and wherever a run sends its log."""
    deprecated._warn.cache_clear()
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger(deprecated.__name__)
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


RENAMED = "regularisation is deprecated; it is called reg_weight now"


@pytest.mark.parametrize("run", ["ridges", "softmax"])
def test_a_checkpoint_with_a_deprecated_name_scores_and_warns_once(folders, warnings, run):
    result = read_result(folders / run)
    for _ in range(2):
        assert recbole_cadmr.evaluate(folders / run / "model.pt")["result"] == result["test_result"]
    assert warnings == [RENAMED]


def test_a_run_with_a_deprecated_name_resumes(folders, warnings):
    whole = read_result(folders / "ridges")
    (folders / "ridges" / "result.json").unlink()
    again = recbole_cadmr.resume(folders / "ridges")
    assert again.result["test_result"] == whole["test_result"]
    assert again.result["settings"] == whole["settings"]
    assert whole["settings"]["reg_weight"] == [2.0, 60.0] and "regularisation" not in whole["settings"]
    assert warnings == [RENAMED]


def test_a_search_of_a_deprecated_name_is_read_by_the_new_one(folders):
    root = folders / "linear_search"
    before = stamps(root)
    plan = read_plan(root)
    assert plan.space == search_space("LinearCADMR", None)
    assert plan.defaults["reg_weight"] == 116.0
    assert [record.point for record in read_records(root)] == plan.points()
    assert main(["tune", f"--resume={root}", "--data_path=dataset"]) == 0
    assert stamps(root) == before
    assert yaml.safe_load((root / "best.yaml").read_text())["reg_weight"] == 116.0
    assert (root / "trials.csv").read_text().splitlines()[0].count("reg_weight") == 1


def test_best_settings_of_a_deprecated_name_train_and_warn_once(folders, tmp_path, warnings):
    run = recbole_cadmr.train(
        config_files=folders / "linear_search" / "best.yaml",
        output=tmp_path / "again",
        settings={"data_path": "dataset"},
    )
    assert run.result["best_valid_score"] == 1.0
    assert warnings == [RENAMED]


# What the preset was, by itself.
_BEST = {
    "attention_weights": [0.03, 0.01, 0.02, 0.045, 0.07],
    "attention_trials": 1,
    "batch_entries": None,
    "epochs": 1,
}


@pytest.mark.parametrize(
    ("label", "settings", "digest"),
    [
        ("LinearCADMR", {"LinearCADMR.regularisation": 60.0, "adaptive_fits": 1}, "7a2a8617"),
        ("LinearCADMR", {"regularisation": 60.0, "adaptive_fits": 1}, "7a2a8617"),
        ("LinearCADMR", {"reg_weight": 60.0, "adaptive_fits": 1}, "7a2a8617"),
        ("CADMR@best", {"linear_settings": {"regularisation": 2.0, "adaptive_fits": 1}, **_BEST}, "7415d0b3"),
        ("CADMR@best", {"linear_settings": {"reg_weight": 2.0, "adaptive_fits": 1}, **_BEST}, "7415d0b3"),
    ],
)
def test_cells_keep_the_names_that_they_had(folders, label, settings, digest):
    protocol = {"data_path": "dataset", "topk": [1, 2], "valid_metric": "Recall@2"}
    (spec,) = model_specs([label], ["micro"], {**protocol, **settings})
    assert spec.digest == digest
