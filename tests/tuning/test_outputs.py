"""What a search leaves and shows: best.yaml, trials.csv, the last words, and the table while it runs."""

from __future__ import annotations

import csv
import io
import json
import math
from importlib.resources import files

import pytest

from recbole_cadmr.config.config import Config
from recbole_cadmr.config.yaml_text import read_yaml
from recbole_cadmr.tuning import progress
from recbole_cadmr.tuning.outputs import best_settings, summary, trials_frame, write_best, write_table
from recbole_cadmr.tuning.plan import Plan
from recbole_cadmr.tuning.progress import Progress, table
from recbole_cadmr.tuning.trial_record import TrialRecord

SETTINGS = {"epochs": 9, "data_path": str(files("recbole_cadmr.embedded")), "seed": 7, "threads": 2}
RATE = 0.1 + 0.2  # no round number
PLAN = Plan(model="BPR", dataset="synthetic", preset=None, settings=SETTINGS, sampler="random", scheduler="asha",
            space={"learning_rate": [0.001, RATE], "embedding_size": [8, 64]}, trials=5, grace=2, max_epochs=9,
            metric="recall@20", bigger=True, seed=7, threads=2,
            defaults={"learning_rate": 0.001, "embedding_size": 64}, data="0" * 64)  # fmt: skip


ENERGY = {
    "kwh": 0.25,
    "cpu_kwh": 0.25,
    "gpu_kwh": 0.0,
    "memory_kwh": 0.0,
    "kg_co2": None,
    "country": None,
    "source": "",
}


def trial(number, scores, rate=0.001, size=64, status="finished", **others):
    """A trial with a validation an epoch, of two metrics."""
    reports = [
        {"epoch": epoch, "phase": "training", "losses": {}, "valid_score": score,
         "valid_result": {"recall@20": score, "ndcg@20": score / 3}, "seconds": 2.5 * (epoch + 1)}
        for epoch, score in enumerate(scores)
    ]  # fmt: skip
    point = {"learning_rate": rate, "embedding_size": size}
    return TrialRecord(number, point, status, seconds=2.5 * len(scores), reports=reports, **others)


@pytest.fixture
def records():
    """The third is the best; the defaults are stopped, the fourth repeats the second."""
    return [
        trial(1, [0.1, 0.2], status="stopped", cpu_seconds=4.5, energy=ENERGY, peak_memory_bytes=2**30),
        trial(2, [0.1, 1 / 3, 0.25], rate=RATE),
        trial(3, [0.1, 0.2, 0.1, 1 / 7 + 0.5, 0.3], size=8, changes=[[2, {"learning_rate": RATE}], [4, {"x": 1}]]),
        trial(4, [0.1, 1 / 3, 0.25], rate=RATE, repeats=2),
        trial(5, [], size=8, status="failed", failure='killed, "twice", maybe\nfor want of memory', deaths=1),
    ]


# best.yaml


def test_the_best_settings_are_all_that_the_run_depends_on(records):
    assert best_settings(PLAN, records[1]) == {
        "model": "BPR", "dataset": "synthetic", **SETTINGS, "learning_rate": RATE, "embedding_size": 64
    }  # fmt: skip
    assert "preset" not in best_settings(PLAN, records[1])
    assert list(best_settings(Plan(**{**vars(PLAN), "preset": "paper"}), records[1]).items())[2] == ("preset", "paper")


def test_settings_that_changed_on_the_way_are_a_schedule(records):
    found = best_settings(PLAN, records[2])
    assert found["settings_schedule"] == {2: {"learning_rate": RATE}, 4: {"x": 1}}
    assert found["learning_rate"] == 0.001  # from the first epoch on
    records[2].changes.append([5, {"learning_rate": 0.5}])  # which no epoch was trained with: there are five
    assert best_settings(PLAN, records[2])["settings_schedule"] == {2: {"learning_rate": RATE}, 4: {"x": 1}}


def test_the_file_of_the_best_is_one_that_a_run_takes(records, tmp_path):
    del records[2].changes[1]
    path = tmp_path / "best.yaml"
    write_best(PLAN, records[2], path)
    head, again = path.read_text().splitlines()[:2]
    assert head == f"# Trial 3 of 5, the best on validation: recall@20 {1 / 7 + 0.5!r} in epoch 3."
    assert again == f"# Run it again: python run_recbole_cadmr.py --config_files={path}"
    assert read_yaml(path) == best_settings(PLAN, records[2])
    config = Config(config_files=[path])
    assert (config["model"], config["dataset"], config["embedding_size"], config["seed"]) == ("BPR", "synthetic", 8, 7)
    assert config["settings_schedule"] == {2: {"learning_rate": RATE}}


# trials.csv


def rows(records, path, plan=PLAN):
    write_table(trials_frame(plan, records), path)
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_the_table_of_trials_is_unrounded(records, tmp_path):
    head, *lines = rows(records, tmp_path / "trials.csv")
    assert head == ["trial", "status", "learning_rate", "embedding_size", "best_valid_score", "best_epoch",
                    "epochs_run", "seconds", "cpu_seconds", "peak_memory_bytes", "energy_kwh", "deaths", "repeats",
                    "changes", "failure",
                    "recall@20", "ndcg@20"]  # fmt: skip
    first, second, third, fourth, fifth = [dict(zip(head, line)) for line in lines]
    assert first == {"trial": "1", "status": "stopped", "learning_rate": "0.001", "embedding_size": "64",
                     "best_valid_score": "0.2", "best_epoch": "1", "epochs_run": "2", "seconds": "5.0",
                     "cpu_seconds": "4.5", "peak_memory_bytes": "1073741824", "energy_kwh": "0.25",
                     "deaths": "0", "repeats": "", "changes": "", "failure": "",
                     "recall@20": "0.2", "ndcg@20": repr(0.2 / 3)}  # fmt: skip
    assert float(second["learning_rate"]) == RATE and float(second["best_valid_score"]) == 1 / 3
    assert float(second["ndcg@20"]) == 1 / 9 and second["repeats"] == ""
    assert fourth == {**second, "trial": "4", "repeats": "2"}
    # The settings that the best epoch was trained with, and from when on.
    assert (float(third["learning_rate"]), third["best_epoch"], third["epochs_run"]) == (RATE, "3", "5")
    assert json.loads(third["changes"]) == [[2, {"learning_rate": RATE}], [4, {"x": 1}]]
    assert fifth["failure"] == 'killed, "twice", maybe\nfor want of memory' and fifth["deaths"] == "1"
    assert [fifth[name] for name in ("best_valid_score", "best_epoch", "epochs_run", "recall@20")] == ["", "", "0", ""]


def test_lists_mappings_and_nothing_can_be_read_back(tmp_path):
    values = [[500, 100], {"fit": "exact"}, None, True, "users"]
    plan = Plan(**{**vars(PLAN), "space": {"x": values}})
    (head, *lines) = rows([TrialRecord(n, {"x": value}) for n, value in enumerate(values, 1)], tmp_path / "t.csv", plan)
    column = [line[head.index("x")] for line in lines]
    assert column == ["[500, 100]", '{"fit": "exact"}', "", "True", "users"]
    assert json.loads(column[0]) == values[0] and json.loads(column[1]) == values[1]


def test_a_column_has_a_name_of_its_own(tmp_path):
    plan = Plan(**{**vars(PLAN), "space": {"epochs": [5, 9]}})
    head, line = rows(
        [TrialRecord(1, {"epochs": 9}, "stopped", reports=trial(1, [0.1]).reports)], tmp_path / "t.csv", plan
    )
    assert len(set(head)) == len(head), f"{[name for name in head if head.count(name) > 1]} of {line}"


def test_where_less_is_better_the_best_is_the_least(records, tmp_path):
    plan = Plan(**{**vars(PLAN), "bigger": False})
    head, first, *_ = rows(records, tmp_path / "t.csv", plan)
    assert (dict(zip(head, first))["best_valid_score"], dict(zip(head, first))["best_epoch"]) == ("0.1", "0")


# The last words


def test_the_summary_says_what_was_found_and_against_what(records, tmp_path):
    records[2].changes.pop()
    text = summary(PLAN, records, records[2], {"recall@20": 0.123456, "ndcg@20": 0.05}, tmp_path)
    lines = text.splitlines()
    assert lines[:5] == [
        "",
        "best on validation: trial 3, recall@20 0.6429",
        f"  learning_rate={RATE} embedding_size=8",
        f"  from epoch 2 on: {{'learning_rate': {RATE}}}",
        "the defaults (trial 1, stopped after 2 epochs): 0.2000",
    ]
    assert (
        lines[5] == "epochs trained: 10 of at most 36; 4.5 s of processors, 250 Wh"
    )  # 2 + 3 + 5 + 0; a repeat is trained by none
    assert "test, read once, of the best trial" in lines[7] and "@20" in lines[7]
    assert lines[8].split() == ["recall", "0.1235"] and lines[9].split() == ["ndcg", "0.0500"]
    files = [f"  {tmp_path}/{name}" for name in ("best.yaml", "trials.csv", "report.html")]
    assert lines[-5:-1] == ["files:", *files]
    assert lines[-1] == f"again: python run_recbole_cadmr.py --config_files={tmp_path}/best.yaml"


def test_a_test_part_that_was_left_unread_is_not_in_the_summary(records, tmp_path):
    records[0].status = "finished"
    text = summary(PLAN, records, records[1], None, tmp_path)
    assert "test, read once" not in text and "from epoch" not in text
    assert "\nthe defaults (trial 1): 0.2000\n" in text
    records[0].reports = []
    assert "the defaults" not in summary(PLAN, records, records[1], None, tmp_path)


# The table while it runs


def test_the_table_shows_how_many_there_are_and_the_best(records):
    records += [trial(6, [0.3, 0.25], status="running"), trial(7, [], status="running"), TrialRecord(8, {}, "waiting")]
    lines = table(records, 20, "recall@20", True, 90)
    assert lines[0] == "8 of 20 trials: 1 waiting, 2 running, 3 finished, 1 stopped, 1 failed, in 90 s"
    assert lines[1] == " trial state     epoch    last    best  recall@20; settings"
    assert [line[:38] for line in lines[2:]] == [
        "    1  stopped       2  0.2000  0.2000",
        "    2  finished      3  0.2500  0.3333",
        "    3* finished      5  0.3000  0.6429",
        "    4  finished      3  0.2500  0.3333",
        "    6  running       2  0.2500  0.3000",
        "    7  running       0                ",
    ]
    assert lines[2].endswith("  learning_rate=0.001 embedding_size=64")
    assert lines[4][38:].startswith(f"  learning_rate={RATE} ")  # what it was changed to


def test_the_table_shows_the_five_best_that_do_not_run():
    many = [trial(n, [n / 100]) for n in range(1, 31)] + [trial(31, [0.001], status="running")]
    assert [line[:6] for line in table(many, 40, "r", True, 0)[2:]] == [
        "   26 ", "   27 ", "   28 ", "   29 ", "   30*", "   31 "
    ]  # fmt: skip
    assert [line[:6] for line in table(many, 40, "r", False, 0)[2:]] == [
        "    1 ", "    2 ", "    3 ", "    4 ", "    5 ", "   31*"
    ]  # fmt: skip


def test_of_equals_the_first_has_the_star():
    lines = table([trial(2, [0.5]), trial(3, [0.5]), trial(9, [0.7], status="failed", failure="x")], 9, "r", True, 0)
    assert [line[:6] for line in lines[2:]] == ["    2*", "    3 "]


def test_a_score_that_is_no_number_is_never_the_best_of_the_shown():
    many = [trial(n, [math.nan], status="stopped") for n in (1, 3, 5, 7, 9)]
    many += [trial(n, [n / 100], status="stopped") for n in (2, 4, 6, 8)]
    lines = table(sorted(many, key=lambda record: record.number), 9, "r", True, 0)
    assert {2, 4, 6, 8} <= {int(line[:5]) for line in lines[2:]}
    assert [line[:6] for line in lines if "*" in line] == ["    8*"]


@pytest.mark.parametrize(
    "point",
    [{"autoencoder_hidden_sizes": [500] * 90}, {f"setting_{i}": i for i in range(60)}, {"x": "é" * 200}, {}, {"x": {}}],
)
def test_no_line_is_wider_than_a_terminal(point):
    scored = [TrialRecord(number, point, status, reports=trial(1, [0.5]).reports)
              for number, status in ((1, "running"), (9999, "finished"), (3, "stopped"))]  # fmt: skip
    others = [TrialRecord(n, point, s, failure="x" * 200) for n, s in enumerate(("waiting", "failed") * 999, 10)]
    lines = table([*scored, *others], 100_000, "a_metric_of_a_long_name@" + "0" * 80, True, 1e9)
    assert len(lines) == 5 and max(map(len, lines)) <= 80
    longest = max(len(" ".join(f"{name}={value}" for name, value in point.items())), 0)
    assert all(line.endswith("…") == (longest > 40) for line in lines[2:])


def test_a_search_that_has_not_begun_has_one_line():
    assert table([], 20, "recall@20", True, 0.04) == ["0 of 20 trials: none started, in 0.0 s"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """The time that progress sees, which a test sets."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_has_a_new_table_when_a_trial_has_ended_and_every_minute(clock):
    stream = io.StringIO()
    shown = Progress(3, "r", True, stream)
    running = [trial(1, [0.1], status="running"), trial(2, [0.2], status="running")]

    def tables(after, records):
        clock[0] += after
        shown.show(records)
        return stream.getvalue().count("of 3 trials")

    assert tables(0, running) == 1
    running[0].reports.append({**running[0].reports[0], "epoch": 1})
    assert tables(5, running) == 1 and tables(50, running) == 1  # nothing has ended
    running[0].status = "stopped"
    assert tables(1, running) == 2 and tables(59, running) == 2
    assert tables(1, running) == 3  # a minute later
    running[1].status = "failed"
    assert tables(1, running) == 4
    assert "\x1b" not in stream.getvalue()
    assert "2 of 3 trials: 1 stopped, 1 failed, in 117 s" in stream.getvalue()


def test_a_terminal_has_the_table_in_one_place(clock):
    stream = Terminal()
    shown = Progress(3, "r", True, stream)
    shown.show([trial(1, [0.1], status="running")])
    first = stream.getvalue()
    assert first.count("\n") == 4 and "\x1b" not in first  # counts, head, the trial, and an empty line
    shown.show([trial(1, [0.1], status="running"), trial(2, [0.2], status="running")])
    assert stream.getvalue()[len(first) :].startswith("\x1b[4A\x1b[J2 of 3 trials: 2 running")
    shown.show([])
    assert stream.getvalue().rpartition("\x1b[5A\x1b[J")[2] == "0 of 3 trials: none started, in 0.0 s\n\n"
