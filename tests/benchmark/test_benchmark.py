"""The command as a user types it: cells, tables, going on, failures, memory, another protocol."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

import recbole_cadmr
from recbole_cadmr.benchmark.benchmark import benchmark
from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.execution import process
from recbole_cadmr.execution.process import command as command_line
from recbole_cadmr.locking import alone_in
from recbole_cadmr.runs.history import HistoryWriter
from recbole_cadmr.runs.result import read_result
from recbole_cadmr.tuning.trial_folder import TrialFolder
from recbole_cadmr.tuning.trial_record import best_record, read_records
from tests.cells import Forked, no_processes
from tests.micro import write_micro
from tests.processes import run_apart

QUICK = ["--datasets=micro", "--topk=[1, 2]", "--valid_metric=Recall@2", "--threads=1"]


def command(folder, *more):
    return ["benchmark", "--output", str(folder), *QUICK, *more]


@pytest.fixture
def processes():
    """Asked for by tests whose cells are to run in processes of their own, as they do for a user."""


@pytest.fixture(autouse=True)
def place_of_cells(request):
    with nullcontext() if "processes" in request.fixturenames else no_processes():
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """EASE, and BPR with two seeds, on the micro set; and the place of the data."""
    place = tmp_path_factory.mktemp("benchmark")
    data = f"--data_path={write_micro(place / 'dataset')}"
    arguments = command(place / "out", data, "--models=EASE,BPR", "--seeds=2", "--epochs=3", "--jobs=2")
    with no_processes():
        assert main(arguments) == 0
    return place / "out", arguments, data


def copied(finished, tmp_path):
    """The folder of EASE's cell in a copy of the benchmark."""
    shutil.copytree(finished[0], tmp_path / "copy")
    return next((tmp_path / "copy" / "cells").glob("*-EASE-*"))


def cells(folder):
    return sorted(path.name for path in (folder / "cells").iterdir())


def test_every_cell_stands_in_the_tables(finished):
    folder, _, _ = finished
    results = [read_result(folder / "cells" / name / "run") for name in cells(folder)]
    assert sorted((r["model"], r["protocol"]["seed"]) for r in results) == [("BPR", 1), ("BPR", 2), ("EASE", 1)]
    with open(folder / "results.csv") as file:
        lines = {(r["model"], r["seed"], r["figure"]): r["value"] for r in csv.DictReader(file)}
    for result in results:
        for name, value in result["test_result"].items():
            assert float(lines[result["model"], str(result["protocol"]["seed"]), name]) == value
    text = (folder / "table.md").read_text()
    of_bpr = [result["test_result"]["recall@2"] for result in results if result["model"] == "BPR"]
    assert f"{np.mean(of_bpr):.4f} ± {np.std(of_bpr, ddof=1):.4f}" in text and "| EASE | deterministic |" in text
    assert "ranking over all items, train items left out" in text
    assert r"\begin{tabular}" in (folder / "table.tex").read_text() and (folder / "report.html").is_file()


def test_the_same_command_runs_nothing_again_and_writes_the_same_table(finished, capsys):
    folder, arguments, _ = finished
    before = (folder / "table.md").read_text()
    stamps = {name: (folder / "cells" / name / "run" / "result.json").stat().st_mtime_ns for name in cells(folder)}
    assert main(arguments) == 0 and "3 cells, 3 finished; nothing left to run" in capsys.readouterr().out
    assert (folder / "table.md").read_text() == before
    assert stamps == {n: (folder / "cells" / n / "run" / "result.json").stat().st_mtime_ns for n in cells(folder)}


def main_with_processes(folder, arguments):
    """The command line from ``folder``, whose cells are processes of their own."""
    os.chdir(folder)
    process.subprocess = SimpleNamespace(Popen=Forked, PIPE=subprocess.PIPE)
    return main(arguments)


def test_a_folder_alone_resumes(finished, tmp_path):
    """From another working folder, with what is missing run and nothing else, two cells side by side."""
    ease = copied(finished, tmp_path)
    bpr = next(ease.parent.glob("*-BPR-2-*"))
    for cell in (ease, bpr):
        shutil.rmtree(cell)
    (tmp_path / "copy" / "table.md").unlink()
    done = run_apart(main_with_processes, tmp_path, ["benchmark", f"--resume={tmp_path / 'copy'}", "--jobs=2"])
    output = done.stdout
    assert done.status == 0, done.stderr
    known = r"3 cells, 1 finished; about \S+ s left, but the time of EASE is not known before a first run"
    assert re.search(known, output)
    assert "[1/2] EASE on micro, seed 1: validation Recall@2 " in output
    assert "[2/2] BPR on micro, seed 2: validation" in output
    assert output.index("BPR on micro, seed 2 starts") < output.index("EASE on micro, seed 1: validation")
    assert "nothing left to run" in output and cells(tmp_path / "copy") == cells(finished[0])
    for cell in (ease, bpr):
        whole = read_result(finished[0] / "cells" / cell.name / "run")
        assert read_result(cell / "run")["test_result"] == whole["test_result"]
    rows = [
        [line.split(" | ")[:6] for line in (root / "table.md").read_text().splitlines() if line.startswith("| ")]
        for root in (tmp_path / "copy", finished[0])
    ]
    assert rows[0] == rows[1] and any(row[0] == "| BPR" for row in rows[0])


def test_numbers_as_keys_of_settings_are_kept(finished, tmp_path):
    schedule = "--BPR.settings_schedule={2: {learning_rate: 0.01}}"
    assert main(command(tmp_path / "out", finished[2], "--models=BPR", "--seeds=7,", "--epochs=3", schedule)) == 0
    before = cells(tmp_path / "out")
    assert main(["benchmark", f"--resume={tmp_path / 'out'}"]) == 0
    assert cells(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "a benchmark needs --models and --output, or --resume with the folder of one"),
        (["--models=EASE"], "a benchmark needs --models and --output"),
        (["--resume=none"], "none holds no benchmark (benchmark.json is missing); begin one with --output"),
        (["--resume=DIR", "--seeds=3"], "continues with the options that it was started with; leave out --seeds"),
        (["--resume=DIR", "--epochs=3"], "leave out --epochs"),
        (["--resume=DIR", "--data_path=nowhere"], "there is no folder"),
    ],
)
def test_what_does_not_resume_is_one_sentence(finished, tmp_path, capsys, arguments, sentence):
    root = copied(finished, tmp_path).parents[1]
    assert main(["benchmark", *(argument.replace("=DIR", f"={root}") for argument in arguments)]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda result: result["protocol"].update(seed=7), "its seed is 7, not 1"),
        (lambda result: result.update(model="Pop"), "its model is Pop, not EASE"),
        (lambda result: result["settings"].update(reg_weight=3), "its reg_weight is 3, not None"),
    ],
)
def test_the_result_of_another_run_is_refused(finished, tmp_path, capsys, change, reason):
    file = copied(finished, tmp_path) / "run" / "result.json"
    result = json.loads(file.read_text())
    change(result)
    file.write_text(json.dumps(result))
    assert main(["benchmark", f"--resume={tmp_path / 'copy'}"]) == 2
    assert f"{file.parent} holds the result of another run: {reason}; remove it" in capsys.readouterr().err


def test_a_folder_of_version_0_1_is_resumed_by_its_command_alone(finished, tmp_path, capsys):
    root = copied(finished, tmp_path).parents[1]
    content = json.loads((root / "benchmark.json").read_text())
    (root / "benchmark.json").write_text(json.dumps(content["protocols"]))
    assert main(["benchmark", f"--resume={root}"]) == 2
    assert "keeps no options, as of version 0.1; resume it by the same command again" in capsys.readouterr().err
    assert main([str(root) if part == str(finished[0]) else part for part in finished[1]]) == 0
    assert "3 cells, 3 finished" in capsys.readouterr().out
    assert json.loads((root / "benchmark.json").read_text()) == content


@pytest.mark.parametrize("change", [{"options": {"models": 3}}, {"schema_version": 9}, {"protocols": []}])
def test_what_benchmark_json_holds_is_checked(finished, tmp_path, capsys, change):
    root = copied(finished, tmp_path).parents[1]
    content = json.loads((root / "benchmark.json").read_text())
    (root / "benchmark.json").write_text(json.dumps({**content, **change}))
    assert main(["benchmark", f"--resume={root}"]) == 2
    assert f"{root / 'benchmark.json'} is " in capsys.readouterr().err


@pytest.mark.parametrize("settings", ["- 1\n- 2", "3: 4", "x"])
def test_kept_settings_are_a_mapping_of_names(finished, tmp_path, capsys, settings):
    root = copied(finished, tmp_path).parents[1]
    content = json.loads((root / "benchmark.json").read_text())
    content["options"]["settings"] = settings
    (root / "benchmark.json").write_text(json.dumps(content))
    assert main(["benchmark", f"--resume={root}"]) == 2
    assert "settings are given as a mapping of names to values, not as " in capsys.readouterr().err


def test_another_protocol_is_refused(finished, capsys):
    folder, arguments, _ = finished
    before = cells(folder)
    assert main([*arguments, "--mask_valid_at_test=True"]) == 2
    assert "micro under another protocol: mask_valid_at_test is False, not True" in capsys.readouterr().err
    assert cells(folder) == before


def test_a_folder_at_work_is_refused(finished, capsys):
    folder, arguments, _ = finished
    with alone_in(folder, "benchmark"):
        assert main(arguments) == 2
    assert f"another benchmark is using {folder} (process {os.getpid()})" in capsys.readouterr().err
    (folder / ".lock").write_text(str(os.getpid()))  # of a process that was killed, whose number another one has now
    assert main(arguments) == 0 and not (folder / ".lock").exists()


def test_no_process_is_stopped_because_a_file_names_it(finished, tmp_path):
    """Cells know their processes by the pipe between them; a number in a folder is nobody's."""
    stranger = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    try:
        folder = copied(finished, tmp_path)
        shutil.rmtree(folder / "run")
        (folder / "process.txt").write_text(f"{stranger.pid} {psutil.Process(stranger.pid).create_time()}")
        assert main(command(tmp_path / "copy", finished[2], "--models=EASE", "--seeds=1")) == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()


@pytest.mark.parametrize("place", ["cells", "cells/NAME", "cells/NAME/run", "cells/NAME/run/log"])
def test_nothing_behind_a_link_is_touched(finished, tmp_path, capsys, place):
    name = copied(finished, tmp_path).name
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter").write_text("dear")
    link = tmp_path / "copy" / place.replace("NAME", name)
    shutil.rmtree(link)
    link.symlink_to(mine)
    assert main(command(tmp_path / "copy", finished[2], "--models=EASE", "--seeds=1")) == 2
    assert f"{link} is a link" in capsys.readouterr().err
    assert [path.name for path in mine.iterdir()] == ["letter"]


def test_a_cell_ends_with_its_benchmark(tmp_path):
    arguments = ["--model=BPR", "--epochs=100000", "--stopping_step=100000", "--show_progress=False"]
    python = command_line("train", *arguments, "--output", str(tmp_path / "run"))
    cell = subprocess.Popen(python, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not (tmp_path / "run" / "resume.pt").exists() and time.monotonic() < end:
        time.sleep(0.1)
    cell.stdin.close()  # as the system does when the benchmark is killed
    assert cell.wait(30) == 2
    assert (tmp_path / "run" / "resume.pt").exists() and not (tmp_path / "run" / ".lock").exists()


def test_other_interactions_are_refused(tmp_path, capsys):
    data = write_micro(tmp_path / "dataset")
    arguments = command(tmp_path / "out", f"--data_path={data}", "--models=EASE", "--seeds=1")
    assert main(arguments) == 0
    test = data / "micro" / "micro.test.inter"
    test.write_text(test.read_text().replace("dot\tb", "dot\ta"))
    assert main(arguments) == 2
    assert "holds a benchmark on micro of other interactions than there are now" in capsys.readouterr().err


def test_one_model_cannot_have_a_protocol_of_its_own(finished, tmp_path, capsys):
    arguments = command(tmp_path / "out", finished[2], "--models=Pop,EASE", "--EASE.mask_valid_at_test=True")
    assert main(arguments) == 2 and not (tmp_path / "out").exists()
    assert "EASE would be measured under another protocol than Pop" in capsys.readouterr().err


def test_one_model_may_see_other_features(finished, tmp_path):
    arguments = command(tmp_path / "out", finished[2], "--models=VBPR,EASE", "--seeds=1", "--VBPR.modalities=[text]")
    assert main([*arguments, "--VBPR.epochs=1"]) == 0
    assert "| VBPR | 1 |" in (tmp_path / "out" / "table.md").read_text()


def test_lists_longer_than_a_catalogue_are_refused_before_any_cell(finished, tmp_path, capsys):
    arguments = [part.replace("[1, 2]", "[2, 99]") for part in command(tmp_path / "out", finished[2])]
    assert main([*arguments, "--models=EASE,BPR"]) == 2
    assert "topk 99 is more than the 4 items of micro; give a smaller --topk, such as [2]" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("cells/*"))


def test_a_folder_that_is_no_benchmark_is_refused(finished, tmp_path, capsys):
    (tmp_path / "mine").write_text("x")
    assert main(command(tmp_path, finished[2], "--models=EASE")) == 2
    assert "already used, and not by a benchmark" in capsys.readouterr().err


def test_finished_runs_stand_beside_the_cells_if_they_can_be_compared(finished, tmp_path, capsys):
    folder, arguments, data = finished
    given = {"data_path": data.partition("=")[2], "topk": [1, 2], "valid_metric": "Recall@2", "show_progress": False}
    ease = recbole_cadmr.train("ItemKNN", "micro", output=tmp_path / "ease", settings=given)
    other = recbole_cadmr.train(
        "EASE", "micro", output=tmp_path / "other", settings={**given, "mask_valid_at_test": True}
    )
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    arguments = [str(copy) if part == str(folder) else part for part in arguments]
    assert main([*arguments, "--runs", str(ease.folder)]) == 0
    row = next(line for line in (copy / "table.md").read_text().splitlines() if line.startswith("| ItemKNN |"))
    assert f"{ease.result['test_result']['recall@2']:.4f}" in row
    capsys.readouterr()
    assert main([*arguments, "--runs", str(other.folder)]) == 2
    assert "under another protocol" in capsys.readouterr().err


def test_a_failed_cell_shows_its_error_and_stops_nothing(finished, tmp_path, capsys):
    # With every item of the train part, ann leaves no negative item.
    data = write_micro(tmp_path / "dataset", train=["ann a", "ann b", "bob b", "bob a"])
    assert main(command(tmp_path / "out", f"--data_path={data}", "--models=BPR,EASE", "--seeds=1")) == 0
    output = capsys.readouterr().out
    assert output.count("has every item") == 1  # when it failed
    assert "Without a result, for the reasons in table.md: BPR, seed 1\n" in output
    text = (tmp_path / "out" / "table.md").read_text()
    assert "- BPR, seed 1: failed: error: user 'ann' has every item" in text and "| EASE |" in text


def test_too_little_memory_skips_the_cell_and_says_so(finished, tmp_path):
    arguments = command(tmp_path / "out", finished[2], "--models=EASE", "--memory=0.001")
    assert main(arguments) == 2  # nothing else is left
    arguments = [part for part in arguments if part != "--memory=0.001"]
    failure = next((tmp_path / "out" / "cells").iterdir()) / "failure.txt"
    assert "skipped: it needs about 0.7 GB of memory, and may use 0.0 GB" in failure.read_text()
    assert main(arguments) == 0 and not failure.exists()


def test_a_cell_that_takes_more_than_its_share_is_stopped(finished, processes, tmp_path, monkeypatch):
    from recbole_cadmr.benchmark import cells as module

    monkeypatch.setattr(module, "memory_bytes", lambda *_: 0)
    assert main(command(tmp_path / "out", finished[2], "--models=EASE", "--memory=0.1")) == 2
    failure = next((tmp_path / "out" / "cells").iterdir()) / "failure.txt"
    assert "stopped: it took more memory than there was (it may use 0.1 GB)" in failure.read_text()


class HeldAtItsSecondEpoch(Forked):
    """A process of a cell that waits in its second epoch."""

    def prepare(self):
        append = HistoryWriter.on_validation

        def held(writer, trainer, validation):
            append(writer, trainer, validation)
            while validation["epoch"] == 1:
                time.sleep(0.05)

        HistoryWriter.on_validation = held


def main_that_is_killed(arguments):
    """The command line, whose process is killed while a cell of BPR is in the midst of its training."""
    has_ended = process.RunProcess.has_ended

    def killing(run, limit):
        history = run.spec.run / "history.jsonl"
        if run.spec.model_spec.model == "BPR" and history.is_file() and len(history.read_text().splitlines()) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return has_ended(run, limit)

    process.subprocess = SimpleNamespace(Popen=HeldAtItsSecondEpoch, PIPE=subprocess.PIPE)
    process.RunProcess.has_ended = killing
    return main(arguments)


def test_a_killed_benchmark_goes_on_where_it_stopped(finished, tmp_path, capsys):
    ease = copied(finished, tmp_path) / "run" / "result.json"
    stamp = ease.stat().st_mtime_ns
    (bpr,) = (tmp_path / "copy" / "cells").glob("*-BPR-1-*")
    shutil.rmtree(bpr)
    arguments = command(tmp_path / "copy", finished[2], "--models=EASE,BPR", "--seeds=1", "--epochs=3")
    assert run_apart(main_that_is_killed, arguments).status == -signal.SIGKILL
    assert (bpr / "run").is_dir() and not (bpr / "run" / "result.json").exists()
    assert main(arguments) == 0
    assert "resuming at epoch" in (bpr / "log.txt").read_text() and ease.stat().st_mtime_ns == stamp
    whole = read_result(finished[0] / "cells" / bpr.name / "run")
    assert read_result(bpr / "run")["test_result"] == whole["test_result"] and whole["epochs_run"] == 3


def test_tuning_searches_every_model_and_reads_the_test_part_of_the_best_alone(finished, tmp_path, capsys):
    settings = {"data_path": finished[2].partition("=")[2], "topk": [1, 2], "valid_metric": "Recall@2", "epochs": 2}
    arguments = (["BPR", "Pop"], ["micro"], [1, 2], tmp_path / "out")
    benchmark(*arguments, settings=settings, tune=3)
    (search,) = (tmp_path / "out" / "searches").iterdir()  # there is nothing to search in Pop
    records = read_records(search)
    best = best_record(records)
    assert len(records) == 3 and search.name.startswith("micro-BPR-1-")
    runs = [TrialFolder(search, record.number).run.path for record in records]
    assert not any(read_result(run)["test_read"] for run in runs if (run / "result.json").is_file())
    results = {(r["model"], r["protocol"]["seed"]): r for r in (read_result(tmp_path / "out" / "cells" / n / "run")
               for n in cells(tmp_path / "out"))}  # fmt: skip
    assert sorted(results) == [("BPR", 1), ("BPR", 2), ("Pop", 1), ("Pop", 2)]
    first, second = results["BPR", 1], results["BPR", 2]
    assert first["test_read"] and first["best_valid_score"] == best.best()["valid_score"]
    for name, value in best.point.items():
        assert first["settings"].get(name, value) == second["settings"].get(name, value) == value
    text = (tmp_path / "out" / "table.md").read_text()
    assert "(best of 3 on validation)" in text and text.count("| BPR | 2 |") == 1
    capsys.readouterr()
    benchmark(*arguments, settings=settings, tune=3)
    assert "4 cells, 4 finished; nothing left to run" in capsys.readouterr().out
    assert (tmp_path / "out" / "table.md").read_text() == text


def test_cells_of_a_search_have_one_training_of_the_attention_as_its_trials_had(finished, tmp_path):
    settings = {"data_path": finished[2].partition("=")[2], "topk": [1, 2], "valid_metric": "Recall@2", "epochs": 2}
    settings["CADMR.linear_settings"] = {"adaptive_fits": 1}
    benchmark(["CADMR@best"], ["micro"], [1, 2], tmp_path / "out", settings=settings, tune=2)
    results = [read_result(tmp_path / "out" / "cells" / name / "run") for name in cells(tmp_path / "out")]
    assert len(results) == 2
    for result in results:  # 1 is the default, which the preset changes
        assert result["settings"].get("attention_trials", 1) == 1
        assert {entry["phase"] for entry in result["history"]} <= {"training", "weight"}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("item_degree", lambda array: array[::-1]),
        ("user_degree", np.ones_like),
        ("users", lambda array: array + 100),
        ("missing", np.logical_not),
    ],
)
def test_what_lists_say_of_the_data_is_what_the_others_say(finished, tmp_path, capsys, name, change):
    file = copied(finished, tmp_path) / "run" / "test_lists.npz"
    with np.load(file) as arrays:
        content = dict(arrays)
    np.savez(file, **{**content, name: change(content[name])})
    arguments = [str(tmp_path / "copy") if entry == str(finished[0]) else entry for entry in finished[1]]
    assert main(arguments) == 2
    assert f"differ in what they say of the data ({name})" in capsys.readouterr().err


def test_no_seed_is_an_error():
    with pytest.raises(UserError, match="at least one seed"):
        benchmark(["Pop"], ["synthetic"], [], "out")


def test_a_ray_cluster_gives_the_same_figures(finished, tmp_path):
    """What runs on a cluster beyond that: `tests/execution/test_ray_runner.py`."""
    folder, _, data = finished
    here = ("--models=BPR", "--seeds=1", "--epochs=3", "--ray-address=local")
    assert main(command(tmp_path / "out", data, *here)) == 0
    (name,) = cells(tmp_path / "out")
    one, other = (read_result(place / "cells" / name / "run") for place in (folder, tmp_path / "out"))
    assert one["test_result"] == other["test_result"] and one["fingerprint"] == other["fingerprint"]


def test_no_cluster_at_an_address_is_said(tmp_path, finished, capsys):
    assert main(command(tmp_path / "out", finished[2], "--models=EASE", "--ray-address=127.0.0.1:1")) == 2
    assert "there is no Ray cluster at 127.0.0.1:1" in capsys.readouterr().err
