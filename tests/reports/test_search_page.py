"""The page of a search: its numbers are those of the trials, and it is safe to open."""

from __future__ import annotations

import json
import math
import re
from html import unescape
from types import SimpleNamespace

import pytest

from recbole_cadmr.html_page import INK, PALETTE, label
from recbole_cadmr.reports.search_page import write_search_page
from recbole_cadmr.tuning.outputs import trials_frame, validations_frame
from recbole_cadmr.tuning.trial_record import TrialRecord, best_record
from tests.charts import read, traces

EVIL = "<b>x</b></script><script>alert(1)</script>"
SEARCH = {"model": "CADMR", "dataset": "shop <1>", "preset": None, "metric": "recall@20", "bigger": True,
          "scheduler": "asha", "sampler": "random", "seed": 7, "threads": 2, "max_epochs": 10,
          "defaults": {"learning_rate": 0.001, "kind": "plain"},
          "space": {"learning_rate": "0.001, 0.01, 0.1", "kind": f"plain, {EVIL}"}}  # fmt: skip


def trial(number, scores, rate=0.001, kind="plain", status="finished", phases=(), **others):
    """A trial with a validation an epoch; ``phases`` are the epochs of all phases but the last."""
    names = ["pretrain"] * phases[0] + ["finetune"] * len(scores) if phases else ["training"] * len(scores)
    reports = [
        {"epoch": e, "phase": names[e], "valid_score": s, "losses": {}, "valid_result": {}}
        for e, s in enumerate(scores)
    ]
    record = TrialRecord(number, {"learning_rate": rate, "kind": kind}, status=status, seconds=10.0 * len(scores),
                    peak_memory_bytes=3 * 2**29, reports=reports)  # fmt: skip
    for name, value in others.items():
        setattr(record, name, value)
    return record


@pytest.fixture
def records():
    """The third is the best; one is stopped, two failed, one repeats the second."""
    return [
        trial(1, [0.1, 0.2, 0.2], phases=(2,)),
        trial(2, [0.1, math.nan, 0.15], rate=0.01),
        trial(3, [0.1, 0.2, 0.25, 0.22], rate=0.1, kind=EVIL, phases=(2,)),
        trial(4, [0.05], rate=0.1, status="stopped", deaths=1),
        trial(5, [0.9, math.nan], rate=0.1, status="failed", failure=f"no number {EVIL}"),
        trial(6, [], status="failed", kind=EVIL, failure="out of memory"),
        trial(7, [0.1, 0.05, 0.15], rate=0.01, repeats=2),
    ]


def write(tmp_path, records, search=SEARCH, test=None):
    """The page without plotly, and its numbers."""
    path = tmp_path / "report.html"
    winner = best_record(records, search["bigger"])
    trials = trials_frame(SimpleNamespace(bigger=search["bigger"], space=search["space"]), records)
    best = winner.number if winner else None
    write_search_page(search, trials, validations_frame(records), best, test, path)
    return read(path)


def dots(page, place=0):
    """The trials in the chart of a setting: kind by kind what stands where, and what is said of it."""
    return [
        (value, score, over)
        for t in traces(page, f"setting-{place}")
        for value, score, over in zip(t["x"], t["y"], t["customdata"])
    ]


def rows(page, place=-1):
    """The cells of a table as texts, line by line."""
    body = re.findall(r"<tbody>(.*?)</tbody>", page, re.DOTALL)[place]
    lines = [re.findall(r"<td.*?>(.*?)</td>", line) for line in body.split("</tr>")]
    return [[unescape(re.sub("<.*?>", "", cell)) for cell in line] for line in lines if line]


def tiles(page):
    """What is to be seen at a glance: values by what they are."""
    grid = page.partition('<div class="facts">')[2].partition("</div></div>")[0]
    return {unescape(name): value for value, name in re.findall("<b>(.*?)</b><span>(.*?)</span>", grid)}


def test_the_numbers_are_those_of_the_trials(records, tmp_path):
    page, facts = write(tmp_path, records, {**SEARCH, "settings": {"data_path": "/home/me/data"}})
    assert "/home/me" not in page  # a page is handed on
    assert (facts["best_trial"], facts["best_score"], facts["defaults_score"]) == (3, 0.25, 0.2)
    assert facts["best_settings"] == {"learning_rate": 0.1, "kind": EVIL}
    assert facts["difference"] == pytest.approx(0.05)
    assert facts["trials_by_status"] == {"finished": 4, "stopped": 1, "failed": 2}
    # The repeat was not trained: 3 + 3 + 4 + 1 + 2 epochs of six trials with 10 at most.
    assert (facts["epochs_trained"], facts["epochs_allowed"], facts["seconds"]) == (13, 60, 130.0)
    assert (
        facts["importance"] is None
        and facts["test"] is None
        and facts["search"] == {name: SEARCH[name] for name in SEARCH if name != "defaults"}
    )
    third, fifth = facts["trials"][2], facts["trials"][4]
    assert (third["best_epoch"], third["epochs_run"], third["peak_memory_bytes"]) == (2, 4, 3 * 2**29)
    assert (fifth["status"], fifth["best_valid_score"], fifth["failure"]) == ("failed", 0.9, f"no number {EVIL}")
    assert tiles(page) == {
        f"best recall@20, trial 3: learning_rate 0.1, kind {EVIL[:15]}…{EVIL[-14:]}": "0.2500",
        "recall@20 of the defaults (trial 1)": "0.2000",
        "best trial against the defaults, 25.0% better": "+0.0500",
        "trials finished; 1 stopped early, 2 failed": "4 of 7",
        "of the epochs that were allowed were trained, 13 of 60": "22%",
        "training and validation, all trials together": "2 min",
    }
    assert "7 trials: the defaults, and settings drawn at random; trials that fall behind are stopped early" in page
    assert "Seed 7, 2 threads a trial" in page and "Test results" not in page and "Changes in training" not in page


def test_tables(records, tmp_path):
    page, _ = write(tmp_path, records)
    assert rows(page, 0) == [["learning_rate", "0.1", "0.001", "0.001, 0.01, 0.1"],
                             ["kind", EVIL, "plain", f"plain, {EVIL}"]]  # fmt: skip
    table = rows(page)
    assert [line[0] for line in table] == ["3 best", "1 defaults", "2", "7", "4", "5", "6"]
    assert table[0] == ["3 best", "finished", "0.2500", "0.1", EVIL, "2", "4", "40 s", "1.5 GB", ""]
    assert table[3] == ["7", "finished", "0.1500", "0.01", "plain", "2", "", "", "1.5 GB", "same as trial 2"]
    assert table[4][-1] == "recovered from 1 death" and table[5][-1] == f"no number {EVIL}"
    assert table[6][:3] == ["6", "failed", ""] and table[6][5:] == ["", "0", "0.0 s", "1.5 GB", "out of memory"]
    assert '<th class="n" aria-sort=descending><button>recall@20' in page
    assert '<td class="n" data-v="-Infinity"></td>' in page and '<td class="n" data-v="0.01">0.01</td>' in page


def test_a_setting_has_a_dot_for_each_trial_with_a_score(records, tmp_path):
    page, _ = write(tmp_path, records)
    assert [dot[:2] for dot in dots(page)] == [("0.1", 0.05), ("0.01", 0.15), ("0.001", 0.2), ("0.1", 0.25)]
    assert [dot[2] for dot in dots(page)] == [
        "<b>trial 4</b>, stopped",
        "<b>trial 2</b>, finished",
        "<b>trial 1</b>, finished",
        "<b>trial 3</b>, finished",
    ]
    assert [dot[0] for dot in dots(page, 1)] == ["plain", "plain", "plain", label(f"{EVIL[:8]}…{EVIL[-7:]}")]
    stopped, _, defaults, best = (trace["marker"] for trace in traces(page, "setting-0"))
    assert (stopped["color"], defaults["color"], best["color"]) == ("#fff", INK, PALETTE[1])
    assert "<figcaption><b>learning_rate</b></figcaption>" in page and traces(page, "setting-2") is None


def test_many_values_stand_on_a_scale(tmp_path):
    many = [trial(n, [0.1 + n / 100], rate=10.0**-n) for n in range(1, 10)]
    page, _ = write(tmp_path, many)
    assert [dot[0] for dot in dots(page)] == [10.0**-n for n in range(1, 10)]
    assert '"type":"log"' in page and '"type":"category"' not in page


def test_a_single_validation_is_no_curve(tmp_path):
    page, _ = write(tmp_path, [trial(n, [n / 10], rate=n / 100) for n in (1, 2, 3, 4)])
    assert traces(page, "curves") is None and "Learning curves" not in page
    assert [dot[:2] for dot in dots(page)] == [("0.01", 0.1), ("0.02", 0.2), ("0.03", 0.3), ("0.04", 0.4)]


def test_learning_curves_tell_the_best_the_defaults_and_the_stopped(records, tmp_path):
    page, _ = write(tmp_path, records)
    curves = {trace["name"]: trace for trace in traces(page, "curves")}
    kinds = ["failed", "stopped early", "finished", "defaults: trial 1", "best: trial 3", "finetune begins"]
    assert list(curves) == kinds
    best = curves["best: trial 3"]
    assert (best["x"], best["y"], best["line"]["width"]) == ([0, 1, 2, 3], [0.1, 0.2, 0.25, 0.22], 3)
    assert best["customdata"] == ["pretrain", "pretrain", "finetune", "finetune"]
    assert best["meta"].startswith("<b>trial 3</b>, finished<br>learning_rate 0.1<br>kind &lt;b&gt;x")
    assert curves["finished"]["x"] == [0, 2]  # the second trial, without what is no number
    assert (curves["finetune begins"]["x"], curves["finetune begins"]["y"]) == ([2, 2], [0.2, 0.25])


def test_the_page_loads_nothing_and_runs_nothing_of_the_values(records, tmp_path):
    for place, record in enumerate(records):
        record.point[EVIL] = place
    hostile = {**SEARCH, "preset": EVIL, "scheduler": EVIL, "metric": EVIL, "space": {**SEARCH["space"], EVIL: EVIL}}
    page, _ = write(tmp_path, records, hostile, {EVIL: 0.1})
    assert "<b>x" not in page and "<script>alert" not in page and "shop <" not in page
    drawn = json.dumps([dots(page), dots(page, 1), traces(page, "curves")])
    assert "<b>x" not in drawn and "<script" not in drawn and "&lt;b&gt;x" in drawn


def test_importance_is_said_with_how_far_it_is_to_be_trusted(tmp_path):
    good = [trial(n, [1 - n % 3 / 3], rate=10.0 ** -(n % 3 + 1), kind=f"k{n % 2}") for n in range(1, 25)]
    page, facts = write(tmp_path, good)
    assert list(facts["importance"]["shares"]) == ["learning_rate", "kind"]
    assert facts["importance"]["shares"]["learning_rate"] > 0.95 and facts["importance"]["r_squared"] > 0.9
    assert "so the order can be relied on" in page and "Do not rely on" not in page
    (bars,) = traces(page, "importance")
    assert bars["x"] == list(facts["importance"]["shares"].values())
    chance = [0.31, 0.75, 0.05, 0.62, 0.44, 0.93, 0.12, 0.5, 0.27, 0.81, 0.38, 0.69]
    poor = [trial(n + 1, [score], rate=n + 1.0, kind=f"k{n // 2 % 2}") for n, score in enumerate(chance)]
    page, facts = write(tmp_path, poor)
    assert facts["importance"]["r_squared"] < 0
    assert "Do not rely on these shares." in page and "worse than the mean does (R² = −" in page


def test_defaults_that_were_stopped_are_said_to_be(records, tmp_path):
    records[0].status = "stopped"
    page, _ = write(tmp_path, records)
    assert tiles(page)["recall@20 of the defaults (trial 1), stopped early after 3 epochs"] == "0.2000"


def test_failed_trials_alone(tmp_path):
    records = [trial(n, [], status="failed", failure="out of memory") for n in (1, 2)]
    page, facts = write(tmp_path, records)
    assert (facts["best_trial"], facts["best_score"], facts["difference"]) == (None, None, None)
    assert facts["trials_by_status"] == {"finished": 0, "stopped": 0, "failed": 2}
    assert tiles(page)["no trial has a score"] == "–" and tiles(page)["the defaults (trial 1) have no score"] == "–"
    assert 'class="chart"' not in page and "Not computed: fewer than 8 trials have a score" in page
    assert [line[-1] for line in rows(page)] == ["out of memory"] * 2


def test_one_trial_that_is_the_defaults_and_the_best(tmp_path):
    page, facts = write(tmp_path, [trial(1, [0.1])], test={"recall@10": 0.05, "recall@20": 0.08, "ndcg@20": math.nan})
    assert facts["difference"] == 0 and tiles(page)["best trial against the defaults"] == "none better"
    assert "best recall@20, trial 1: the defaults" in tiles(page)
    assert traces(page, "setting-0") is None
    assert traces(page, "curves") is None
    assert facts["test"] == {"recall@10": 0.05, "recall@20": 0.08, "ndcg@20": None}
    assert "Read once, after the search" in page
    assert rows(page, 1) == [["recall", "0.0500", "0.0800"], ["ndcg", "", "nan"]]


def test_less_may_be_better(tmp_path):
    search = {**SEARCH, "metric": "rmse", "bigger": False, "sampler": "own", "max_epochs": 0}
    page, facts = write(tmp_path, [trial(1, [2.0, 1.0]), trial(2, [1.5, 0.75], rate=0.1)], search)
    assert (facts["best_trial"], facts["best_score"], facts["difference"]) == (2, 0.75, -0.25)
    assert tiles(page)["best trial against the defaults, 25.0% better"] == "−0.2500"
    assert "less is better" in page and "settings own" in page and "epochs that were allowed" not in page
    assert "aria-sort=ascending><button>rmse" in page
    assert [line[0] for line in rows(page)] == ["2 best", "1 defaults"]


def test_changes_of_population_based_training(tmp_path):
    changed = trial(2, [0.1, 0.2, 0.3, 0.25], rate=0.01)
    changed.changes = [[1, {"learning_rate": 0.05}], [3, {"learning_rate": 0.1, "kind": EVIL}]]
    page, facts = write(tmp_path, [trial(1, [0.1, 0.1]), changed], {**SEARCH, "scheduler": "pbt"})
    assert "population-based training" in page and "with changed settings" in page
    assert facts["best_settings"] == {"learning_rate": 0.05, "kind": "plain"}
    assert facts["trials"][1]["changes"] == changed.changes
    assert rows(page) == [["2", "1", "learning_rate 0.05"], ["2", "3", f"learning_rate 0.1, kind {EVIL}"]]
    assert rows(page, 1)[0][:5] == ["2 best", "finished", "0.3000", "0.05", "plain"]


def test_a_first_trial_that_changed_is_none_of_the_defaults(tmp_path):
    changed = trial(1, [0.1, 0.2], changes=[[1, {"learning_rate": 0.05}]])
    page, _ = write(tmp_path, [changed], {**SEARCH, "scheduler": "pbt"})
    assert rows(page, 1)[0][0] == "1 best"
    assert [curve["name"] for curve in traces(page, "curves")] == ["best: trial 1"]


def test_values_without_a_hash(tmp_path):
    kinds = [[64, 32], {"a": [1]}, None, True, [64, 32], "text", [64, 32], None, 3]
    page, facts = write(tmp_path, [trial(n + 1, [0.1 + n / 100], kind=kind) for n, kind in enumerate(kinds)])
    assert [entry["kind"] for entry in facts["trials"]] == kinds
    assert list(facts["importance"]["shares"]) == ["kind"]  # the learning rate never varies
    assert sorted(dot[0] for dot in dots(page)) == sorted(map(str, kinds))
    assert rows(page)[0][4] == "3"


def test_failed_and_repeated_trials_are_not_learned_from_and_defaults_that_failed_have_no_score(records, tmp_path):
    page, _ = write(tmp_path, records)
    assert [dot[1] for dot in dots(page)] == [0.05, 0.15, 0.2, 0.25]
    records[0].status = "failed"
    _, facts = write(tmp_path, records)
    assert facts["defaults_score"] is None
