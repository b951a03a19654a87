"""``benchmark --lists``: other people's lists in every table, by the metrics of a run."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pandas as pd
import pytest

from recbole_cadmr.benchmark.lists import lists_options
from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.result import read_result
from recbole_cadmr.runs.topk_lists import read_lists
from tests.cells import no_processes
from tests.micro import write_micro


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """EASE on the micro set, then with its own lists from a file, the second user's of which are short."""
    place = tmp_path_factory.mktemp("lists")
    write_micro(place / "dataset")
    quick = [f"--data_path={place / 'dataset'}", "--datasets=micro", "--topk=[1, 2]", "--valid_metric=Recall@2"]
    arguments = ["benchmark", f"--output={place / 'out'}", *quick, "--threads=1", "--models=EASE", "--seeds=2"]
    with no_processes():
        assert main(arguments) == 0
        (run,) = (place / "out" / "cells").glob("*/run")
        lists = read_lists(run / "test_lists.npz")
        users, items = np.array(["", "ann", "bob", "cid", "dot", "eve"]), np.array(["", *"abcd"])
        rows = [(users[u], items[i]) for u, top in zip(lists.users, lists.top) for i in top if i]
        frame = pd.DataFrame(rows, columns=["user_id", "item_id"])
        frame.assign(rank=frame.groupby("user_id").cumcount()).to_csv(place / "ease.csv", index=False)
        for seed in (1, 2):  # the same to seeds, one of them the other way round
            rank = frame.groupby("user_id").cumcount(ascending=seed == 1)
            frame.assign(rank=rank).to_parquet(place / f"seeds-{seed}.parquet")
        more = [f"--lists=twin={place / 'ease.csv'}", f"--lists=two & more={place / 'seeds-{seed}.parquet'}"]
        assert main([*arguments, *more]) == 0
    return place, run


def results(folder):
    with open(folder / "results.csv") as file:
        return {(row["model"], row["seed"], row["figure"]): row["value"] for row in csv.DictReader(file)}


def test_the_lists_of_a_run_have_its_metrics(finished):
    place, run = finished
    found, measured = results(place / "out"), read_result(run)["test_result"]
    for name, value in measured.items():
        assert float(found["twin (file)", "file", name]) == pytest.approx(value, abs=1e-12)
        of_seeds = [float(found["two & more (file)", seed, name]) for seed in "12"]
        assert of_seeds[0] == pytest.approx(value, abs=1e-12)
    assert found["twin (file)", "file", "itemcoverage@2"] == found["EASE", "1", "itemcoverage@2"]
    others = {key[2] for key in found if key[0] == "twin (file)"}
    assert "users without train items: recall@2" in others and "training seconds" not in others
    assert float(found["twin (file)", "all", "recall@2 against EASE: wilcoxon"]) == 1.0


def test_they_stand_in_every_table_marked(finished):
    out = finished[0] / "out"
    text = (out / "table.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| twin (file) | a file |"))
    assert row.endswith("| – | – | – | – |") and "| two &amp; more (file) | 2 files |" in text
    assert re.search(r"\| twin \(file\) \| ease\.csv, \d rows, SHA-256 [0-9a-f]{12}", text)
    assert "(file): lists made elsewhere" in text
    latex = (out / "table.tex").read_text()
    assert r"two \& more (file)" in latex
    page = (out / "report.html").read_text()
    facts = json.loads(page.rpartition('id="facts">')[2].partition("</script>")[0])
    (twin,) = (model for model in facts["datasets"][0]["models"] if model["name"] == "twin (file)")
    assert twin["from_file"] and twin["training_seconds"] is None and twin["seeds"] == ["file"]
    assert facts["datasets"][0]["fastest_near_best"] == "EASE"


def test_the_folder_keeps_which_file_it_was_and_notices_another(finished, capsys):
    place, _ = finished
    kept = json.loads((place / "out" / "benchmark.json").read_text())
    (twin,) = (entry for entry in kept["lists"] if entry["name"] == "twin")
    assert twin["rows"] == len((place / "ease.csv").read_text().splitlines()) - 1 and len(twin["sha256"]) == 64
    assert [entry["seed"] for entry in kept["lists"]] == [None, 1, 2]
    before = (place / "ease.csv").read_text()
    (place / "ease.csv").write_text(before.replace("rank", "position"))
    assert main(["benchmark", f"--resume={place / 'out'}"]) == 2
    assert "is not the file that stands for twin in" in capsys.readouterr().err
    (place / "ease.csv").write_text(before)
    assert main(["benchmark", f"--resume={place / 'out'}"]) == 0  # by the options in the folder


def test_options_name_files_by_data_set_and_seed(tmp_path):
    for name in ("a-1.csv", "a-2.csv", "b-1.csv", "b-2.csv", "c.csv"):
        (tmp_path / name).touch()
    asked = [f"x={tmp_path}/{{dataset}}-{{seed}}.csv", f"y@b={tmp_path}/c.csv"]
    x, y = lists_options(asked, ["EASE"], ["a", "b"], [1, 2])
    assert {name: list(files) for name, files in x.files.items()} == {"a": [1, 2], "b": [1, 2]}
    assert x.files["b"][2] == tmp_path / "b-2.csv" and y.files == {"b": {None: tmp_path / "c.csv"}}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("c.csv", "must be NAME=FILE"),
        ("=c.csv", "must be NAME=FILE"),
        ("x@=c.csv", "must be NAME=FILE"),
        ("x\ty=c.csv", "must be NAME=FILE"),
        ("lightgcn=c.csv", "is the name of a model here"),
        ("x@baby=c.csv", "not in --datasets"),
        ("x=c.csv", "names one file for 2 data sets"),
        ("x@a=d.csv", "there is no file"),
        ("y@a=c.csv", "names y twice for a"),
    ],
)
def test_options_that_name_nothing_are_refused(option, message, tmp_path):
    (tmp_path / "c.csv").touch()
    with pytest.raises(UserError, match=message):
        lists_options(["y@a=c.csv", option], ["EASE"], ["a", "b"], [1])
