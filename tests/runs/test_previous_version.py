"""Folders that version 0.1 wrote (`../previous_version`, on the micro set) are read, resumed and evaluated as ever."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.reports.results_table import results_table
from recbole_cadmr.runs.result import read_result
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
    rows = (folders / name / "trials.csv").read_text()
    assert main(["tune", f"--resume={folders / name}", "--data_path=dataset"]) == 0
    assert stamps(folders / name) == before
    assert (folders / name / "trials.csv").read_text() == rows
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
    assert main(["benchmark", *models, *small, f"--output={folders / 'benchmark'}"]) == 0
    assert stamps(folders / "benchmark") == before
    assert (folders / "benchmark" / "results.csv").read_text() == rows
