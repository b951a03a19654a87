"""The command as a user types it: what it chooses, leaves and repeats; deaths; populations; bad input."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.runs.result import read_result
from recbole_cadmr.tuning.outputs import best_settings
from recbole_cadmr.tuning.plan import read_plan
from recbole_cadmr.tuning.trial_folder import TrialFolder
from recbole_cadmr.tuning.trial_record import best_record, read_records
from tests.micro import write_micro

BPR = ["tune", "--model=BPR", "--epochs=6", "--grace=2"]
ONE = ["--jobs=1"]  # so that trials come in the order of their numbers, and one process is started for all
# Long enough to be met at work, and cut.
CADMR = ["tune", "--model=CADMR", "--pretrain_epochs=7", "--epochs=3", "--autoencoder_hidden_sizes=[100]"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search for BPR on the embedded set, stopped early by ASHA."""
    folder = tmp_path_factory.mktemp("tune") / "bpr"
    assert main([*BPR, *ONE, "--trials=6", f"--output={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def micro(tmp_path_factory):
    """Arguments that name the micro set."""
    data = write_micro(tmp_path_factory.mktemp("micro") / "dataset")
    return [f"--data_path={data}", "--dataset=micro", "--topk=[1, 2]", "--valid_metric=MRR@2"]


def again(folder, tmp_path):
    """The best validation score of a run from ``best.yaml``."""
    run = recbole_cadmr.train(config_files=[folder / "best.yaml"], output=tmp_path / "again")
    return run.result["best_valid_score"]


def table(folder):
    with open(folder / "trials.csv") as file:
        return list(csv.DictReader(file))


def space(tmp_path, text):
    (tmp_path / "space.yaml").write_text(text)
    return f"--space={tmp_path / 'space.yaml'}"


def test_the_best_on_validation_is_chosen_and_its_run_can_be_repeated(searched, tmp_path):
    records = read_records(searched)
    best = best_record(records)
    assert len(records) == 6 and best.status == "finished" and best.epochs == 6
    scores = [float(row["best_valid_score"]) for row in table(searched)]
    assert max(scores) == best.best()["valid_score"] == again(searched, tmp_path)
    settings = yaml.safe_load((searched / "best.yaml").read_text())
    assert (
        settings["seed"] == 2020
        and settings["threads"] == 1
        and settings["learning_rate"] == best.point["learning_rate"]
    )


def test_the_first_trial_is_the_defaults_trained_to_its_end(searched):
    first = read_records(searched)[0]
    assert first.point == {"learning_rate": 0.001, "embedding_size": 64, "weight_decay": 0.0}
    assert first.status == "finished" and first.epochs == 6


def test_trials_that_fall_behind_are_stopped_at_a_rung(searched):
    stopped = [record for record in read_records(searched) if record.status == "stopped"]
    assert stopped and {record.epochs for record in stopped} <= {2, 6}
    assert all([report["epoch"] for report in record.reports] == list(range(record.epochs)) for record in stopped)


def test_the_test_part_is_read_for_the_best_alone(searched):
    records = read_records(searched)
    best = best_record(records).number
    results = {
        r.number: read_result(TrialFolder(searched, r.number).run.path) for r in records if r.status == "finished"
    }
    assert {number for number, result in results.items() if result["test_read"]} == {best}
    assert all("test" not in name for record in records for report in record.reports for name in report)
    facts = (searched / "report.html").read_text().rpartition('id="facts">')[2].partition("</script>")[0]
    assert json.loads(facts)["test"] == results[best]["test_result"]


def test_states_of_lost_trials_are_not_kept(searched):
    best = best_record(read_records(searched)).number
    kept = {path.parent.parent.name for path in searched.glob("trials/*/run/*.pt")}
    assert kept == {f"{best:04d}"} and not list(searched.glob(".ray"))


def test_a_search_that_is_done_is_not_run_again(searched, capsys):
    stamps = {path: path.stat().st_mtime_ns for path in searched.glob("trials/*/run/history.jsonl")}
    assert main([*BPR, "--trials=6", f"--output={searched}"]) == 0
    assert main(["tune", "--resume", str(searched)]) == 0
    output = capsys.readouterr().out
    assert "search of BPR" not in output and output.count("best on validation: trial") == 2
    assert stamps == {path: path.stat().st_mtime_ns for path in searched.glob("trials/*/run/history.jsonl")}


def test_another_search_is_not_written_over(searched, tmp_path, capsys):
    assert main([*BPR, "--trials=6", "--learner=sgd", f"--output={searched}"]) == 2
    assert "holds another search: its learner is the default, not sgd" in capsys.readouterr().err
    (tmp_path / "mine").write_text("x")
    assert main([*BPR, f"--output={tmp_path}"]) == 2
    assert "is already used, and not by a search" in capsys.readouterr().err
    assert main(["tune", "--resume", str(tmp_path)]) == 2
    assert "holds no search" in capsys.readouterr().err


def test_a_grid_tries_every_point_and_the_defaults(micro, tmp_path):
    choices = space(tmp_path, "reg_weight: [1.0, 10.0]\n")
    arguments = ["tune", "--model=EASE", *micro, *ONE, choices, "--sampler=grid", f"--output={tmp_path / 'out'}"]
    assert main(arguments) == 0
    assert [row["reg_weight"] for row in table(tmp_path / "out")] == ["250.0", "1.0", "10.0"]
    assert {row["status"] for row in table(tmp_path / "out")} == {"finished"}


def test_a_bayesian_search_trains_no_point_twice(micro, tmp_path):
    pytest.importorskip("optuna", reason="the bayesian sampler is an extra")
    choices = space(tmp_path, "reg_weight: [1.0, 10.0, 250.0]\n")
    arguments = ["tune", "--model=EASE", *micro, choices, "--sampler=bayesian", "--trials=6", *ONE]
    assert main([*arguments, f"--output={tmp_path / 'out'}"]) == 0
    rows = table(tmp_path / "out")
    trained = [row["reg_weight"] for row in rows if not row["repeats"]]
    assert len(rows) == 6 and rows[0]["reg_weight"] == "250.0" and len(set(trained)) == len(trained) <= 3
    first = {row["trial"]: row for row in rows}
    repeats = [row for row in rows if row["repeats"]]
    assert len(repeats) >= 3
    for row in repeats:
        assert row["best_valid_score"] == first[row["repeats"]]["best_valid_score"]


def test_members_of_a_population_take_over_and_each_can_be_repeated(micro, tmp_path):
    out = tmp_path / "out"
    text = "learning_rate: [0.01, 0.1, 0.5, 1.0]\nweight_decay: [0.00001, 0.01]\nembedding_size: [8, 16]\n"
    arguments = ["tune", "--model=BPR", *micro, space(tmp_path, text), "--scheduler=pbt", "--trials=4", "--epochs=6"]
    assert main([*arguments, "--grace=2", f"--output={out}"]) == 0
    plan, records = read_plan(out), read_records(out)
    changed = [record for record in records if record.changes]
    assert changed and all(record.status == "finished" and record.epochs == 6 for record in records)
    assert all(start in (2, 4) for record in changed for start, _ in record.changes)
    assert all("embedding_size" not in values for record in changed for _, values in record.changes)
    for place, record in enumerate([best_record(records), changed[0]]):
        given = best_settings(plan, record)
        assert ("settings_schedule" in given) == bool(record.changes)
        run = recbole_cadmr.train(output=tmp_path / f"again{place}", settings=given)
        assert [entry["valid_score"] for entry in run.result["history"]] == [r["valid_score"] for r in record.reports]


def test_a_trial_that_comes_to_nothing_is_recorded_and_ends_nothing_else(micro, tmp_path):
    choices = space(tmp_path, "learning_rate: [0.01, 1.0e+30]\n")
    arguments = ["tune", "--model=BPR", *micro, *ONE, choices, "--trials=3", "--epochs=2", "--scheduler=fifo"]
    assert main([*arguments, "--weight_decay=1", f"--output={tmp_path / 'out'}"]) == 0
    first, second, lost = sorted(read_records(tmp_path / "out"), key=lambda record: record.point["learning_rate"])
    assert (first.status, second.status, lost.status) == ("finished", "finished", "failed")
    assert "BPR gives scores that are NaN or infinite" in lost.failure and lost.deaths == 0
    assert best_record(read_records(tmp_path / "out")).number != lost.number


# Ray is there before the search asks it to listen on this machine alone, and brings a psutil of its own, an old one.
RAY_FIRST = "import psutil, ray, sys; from recbole_cadmr.cli.main import main; sys.exit(main())"


def start(arguments, log, *how):
    python = [sys.executable, *how, *arguments]
    with open(log, "wb") as file:
        return subprocess.Popen(python, stdout=file, stderr=file)


def wait_for(found, seconds=300.0):
    end = time.monotonic() + seconds
    while not found() and time.monotonic() < end:
        time.sleep(0.05)
    assert found()


def reported(out, least):
    """Whether trials have reported so many validations in all."""
    return sum(len(path.read_text().splitlines()) for path in out.glob("trials/*/run/history.jsonl")) >= least


def listens(search):
    """The addresses at which a search and its children listen."""
    family = [psutil.Process(search.pid), *psutil.Process(search.pid).children(recursive=True)]
    return {c.laddr.ip for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}


def workers(search):
    """The processes of trials under a search."""
    children = psutil.Process(search.pid).children(recursive=True)
    return [child for child in children if "ray::ImplicitFunc" in " ".join(child.cmdline())]


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """A search whose trial is killed, which is then terminated, started again by the same command, and killed.

    Gives its folder, what was seen on the way, and when the histories of trials were written that were over by then.
    """
    out, log = tmp_path_factory.mktemp("cut") / "out", tmp_path_factory.mktemp("cut") / "log"
    arguments = [*CADMR, *ONE, "--trials=3", "--scheduler=fifo", f"--output={out}"]
    search = start(arguments, log, "-m", "recbole_cadmr")
    wait_for(lambda: reported(out, 2) and workers(search))
    listening = [listens(search)]
    environment = next(p.environ() for p in psutil.Process(search.pid).children(True) if "raylet" in p.name())
    workers(search)[0].kill()
    wait_for(lambda: any(record.deaths == 1 for record in read_records(out)))
    wait_for(lambda: read_records(out)[0].over)
    search.send_signal(signal.SIGTERM)
    status, first = search.wait(60), read_records(out)[0]

    search = start(arguments, log.with_name("again"), "-c", RAY_FIRST)
    wait_for(lambda: sum(record.over for record in read_records(out)) == 2)
    listening.append(listens(search))
    family = workers(search)
    search.send_signal(signal.SIGKILL)
    search.wait()
    assert not psutil.wait_procs(family, timeout=60)[1]  # trials end with it
    done = [record.number for record in read_records(out) if record.over]
    # Not the results: the winner's is written once more, when its test part is read.
    stamps = {n: TrialFolder(out, n).run.history.stat().st_mtime_ns for n in done}
    return out, {"status": status, "log": log.read_text(), "first": first, "listening": listening,
                 "environment": environment}, stamps  # fmt: skip


def test_a_killed_trial_is_tried_once_more_and_an_interrupted_search_says_how_to_resume_it(cut):
    out, seen, _ = cut
    assert seen["status"] == 2
    assert f"resume with: python -m recbole_cadmr tune --resume {out}" in seen["log"]
    assert (seen["first"].status, seen["first"].deaths, seen["first"].epochs) == ("finished", 1, 10)
    # Two phases are one axis of epochs; the start of fine-tuning is judged, too.
    assert [(r["epoch"], r["phase"]) for r in seen["first"].reports] == [
        *((epoch, "pretrain") for epoch in range(7)),
        (6, "finetune"),
        *((epoch, "finetune") for epoch in range(7, 10)),
    ]


def test_nothing_listens_beyond_this_machine(cut):
    _, seen, _ = cut
    for addresses in seen["listening"]:
        assert addresses and addresses <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    assert seen["environment"]["RAY_USAGE_STATS_ENABLED"] == "0"


def test_a_killed_search_resumes_and_repeats_no_finished_trial(cut, tmp_path):
    out, seen, stamps = cut
    assert len(stamps) == 2
    assert main(["tune", "--resume", str(out), *ONE]) == 0
    records = read_records(out)
    assert len(records) == 3 and all(record.status == "finished" and record.epochs == 10 for record in records)
    assert records[0] == seen["first"]
    assert stamps == {n: TrialFolder(out, n).run.history.stat().st_mtime_ns for n in stamps}
    assert read_plan(out).max_epochs == 10
    assert again(out, tmp_path) == best_record(records).best()["valid_score"]


def test_the_test_part_stays_unread_if_it_is_to_and_more_trials_say_that_it_was_read(micro, tmp_path, capsys):
    out = tmp_path / "out"
    (tmp_path / "threads.yaml").write_text("threads: 2\n")
    arguments = ["tune", "--model=BPR", *micro, *ONE, "--epochs=3", "--scheduler=fifo"]
    arguments += [f"--config_files={tmp_path}/threads.yaml"]
    assert main([*arguments, "--trials=1", "--evaluate_test=False", f"--output={tmp_path / 'unread'}"]) == 0
    assert "test, read once" not in capsys.readouterr().out
    assert yaml.safe_load((tmp_path / "unread" / "best.yaml").read_text())["threads"] == 2
    assert main([*arguments, "--trials=1", f"--output={out}"]) == 0
    assert main(["tune", "--resume", str(out), "--trials=1"]) == 0
    assert "the test part had been read" not in capsys.readouterr().out
    assert main(["tune", "--resume", str(out), "--trials=3", *ONE]) == 0
    assert best_record(read_records(out)).number == 3
    assert "the test part had been read for trial 1, the best of fewer trials" in capsys.readouterr().out
    assert main(["tune", "--resume", str(out), "--trials=2"]) == 2
    assert "holds a search of 3 trials, and can be resumed with as many or more" in capsys.readouterr().err


def test_a_link_in_a_folder_is_not_followed(searched, tmp_path, capsys):
    copy, mine = tmp_path / "copy", tmp_path / "mine.txt"
    shutil.copytree(searched, copy)
    mine.write_text("mine")
    (copy / ".lock").symlink_to(mine)
    assert main(["tune", "--resume", str(copy)]) == 2
    assert f"cannot lock {copy}/.lock" in capsys.readouterr().err
    (copy / ".lock").unlink()
    (copy / "trials" / "0001" / "more.jsonl").symlink_to(mine)
    assert main(["tune", "--resume", str(copy)]) == 2
    assert f"{copy}/trials/0001/more.jsonl is a link, which does not belong there" in capsys.readouterr().err
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    ("file", "name", "value", "words"),
    [
        ("trials/0001/trial.json", "seconds", "x", "Expected 'float', got 'str'"),
        ("trials/0001/trial.json", "deaths", "<b>", "Expected 'int', got 'str'"),
        ("trials/0001/trial.json", "failure", 5, "Expected 'str | null', got 'int'"),
        ("trials/0001/trial.json", "peak_memory_bytes", None, "Expected 'int', got 'null'"),
        ("trials/0001/trial.json", "status", "won", "Invalid enum value 'won'"),
        ("trials/0001/trial.json", "number", 2, "its number is 2"),
        ("trials/0001/trial.json", "point", {}, "its settings are not those that are searched"),
        ("trials/0001/trial.json", "repeats", 77, "its settings are not those that it was to try"),
        ("trials/0001/trial.json", "changes", [["x", {}]], "Expected 'int', got 'str'"),
        ("trials/0001/trial.json", "changes", [[1, {"learning_rate": 0.5}]], "no settings change in this search"),
        ("trials/0001/run/result.json", "history", [], "its best epoch is not in its history"),
        ("search.json", "trials", 0, "Expected 'int' >= 1"),
        ("search.json", "settings", [], "Expected 'object', got 'array'"),
        ("search.json", "threads", 10**30, "Expected 'int' <= 2147483648"),
    ],
)
def test_an_edited_search_is_refused(searched, tmp_path, capsys, file, name, value, words):
    copy = shutil.copytree(searched, tmp_path / "copy")
    content = json.loads((copy / file).read_text())
    (copy / file).write_text(json.dumps({**content, name: value}))
    assert main(["tune", "--resume", str(copy)]) == 2
    assert words in capsys.readouterr().err


def test_reports_that_the_run_does_not_have_are_refused(searched, tmp_path, capsys):
    copy = shutil.copytree(searched, tmp_path / "copy")
    file = TrialFolder(copy, 1).run.history
    first, *others = file.read_text().splitlines(keepends=True)
    file.write_text(json.dumps({**json.loads(first), "valid_score": 0.99}) + "\n" + "".join(others))
    assert main(["tune", "--resume", str(copy)]) == 2
    assert "its reports are not those of its run" in capsys.readouterr().err
    file.write_text("[" * 100_000 + "\n")
    assert main(["tune", "--resume", str(copy)]) == 2
    assert "history.jsonl is damaged or was edited" in capsys.readouterr().err


def test_a_file_in_place_of_the_trials_is_refused(searched, tmp_path, capsys):
    copy = shutil.copytree(searched, tmp_path / "copy")
    shutil.rmtree(copy / "trials")
    (copy / "trials").write_text("x")
    assert main(["tune", "--resume", str(copy)]) == 2
    assert "is not the folder of trials that it should be" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--space=SPACE"], "BPR has no setting 'learning_rat'; did you mean learning_rate"),
        (["--space=EMPTY"], "names no setting to search"),
        (["--valid_metric=Recall@7"], "valid_metric Recall@7 is not computed"),
        (["--cpus=1000"], "no machine has 1000 cores and 0 GPUs for a trial"),
        (["--gpus=8"], "no machine has 1 cores and 8 GPUs for a trial"),
        (["--sampler=bayes"], "there is no sampler 'bayes'; did you mean bayesian"),
        (["--scheduler=asah"], "there is no scheduler 'asah'; did you mean asha"),
        (["--trials=0"], "--trials must be at least 1"),
        (["--model=Pop"], "there is no space of Pop"),
        (["--spac=x"], "there is no setting 'spac'"),
    ],
)
def test_mistakes_end_with_one_sentence_and_leave_nothing_behind(arguments, words, tmp_path, capsys):
    (tmp_path / "SPACE").write_text("learning_rat: [0.1]\n")
    (tmp_path / "EMPTY").write_text("")
    arguments = [
        argument.replace("=SPACE", f"={tmp_path}/SPACE").replace("=EMPTY", f"={tmp_path}/EMPTY")
        for argument in arguments
    ]
    assert main(["tune", "--model=BPR", f"--output={tmp_path / 'out'}", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_ends_the_search_with_one_sentence_and_it_goes_on_later(tmp_path, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a disk")
    try:
        arguments = [*BPR, *ONE, "--trials=3", f"--output={disk / 'out'}"]
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert (
            "cannot write" in error
            and "No space left on device" in error
            and "resumed by the same command again" in error
        )
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        assert main(["tune", "--resume", str(disk / "out"), *ONE]) == 0
        assert [record.status for record in read_records(disk / "out") if record.status == "failed"] == []
        assert len(read_records(disk / "out")) == 3 and Path(disk / "out" / "best.yaml").is_file()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
