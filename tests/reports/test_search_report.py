"""The report of a search: its numbers are those of the trials, and it is safe to open."""

from __future__ import annotations

import json
import math
import re
from html import unescape

import pytest
from plotly.offline import get_plotlyjs

from recbole_cadmr.reports.search_charts import _dimension, _powers, _round_values, _two_lines
from recbole_cadmr.reports.search_outcome import Outcome
from recbole_cadmr.reports.search_report import write_report
from recbole_cadmr.tuning.trial_record import TrialRecord, best_record

EVIL = "<b>x</b></script><script>alert(1)</script>"
SEARCH = {"model": "CADMR", "dataset": "shop <1>", "preset": None, "metric": "recall@20", "bigger": True,
          "scheduler": "asha", "sampler": "random", "seed": 7, "threads": 2, "max_epochs": 10,
          "defaults": {"learning_rate": 0.001, "kind": "plain"},
          "space": {"learning_rate": "0.001, 0.01, 0.1", "kind": f"plain, {EVIL}"}}  # fmt: skip


def trial(number, scores, rate=0.001, kind="plain", status="finished", phases=(), **others):
    """A trial with a validation an epoch; ``phases`` are the epochs of all phases but the last."""
    names = ["pretrain"] * phases[0] + ["finetune"] * len(scores) if phases else ["training"] * len(scores)
    reports = [{"epoch": e, "phase": names[e], "valid_score": s, "losses": {}} for e, s in enumerate(scores)]
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
    write_report(search, records, best_record(records, search["bigger"]), test, path)
    text = path.read_text(encoding="utf-8")
    assert text.count(get_plotlyjs()) == 1
    facts = json.loads(text.rpartition('<script type="application/json" id="facts">')[2].partition("</script>")[0])
    return text.replace(get_plotlyjs(), ""), facts


def traces(page, name):
    """What plotly draws in a chart."""
    found = re.search(rf'"{name}",\s*(\[.*?\]),\s*\{{"templ', page, re.DOTALL)
    return json.loads(found.group(1)) if found else None


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
    assert (third["best_epoch"], third["epochs"], third["peak_memory_bytes"]) == (2, 4, 3 * 2**29)
    assert (fifth["status"], fifth["best_score"], fifth["failure"]) == ("failed", 0.9, f"no number {EVIL}")
    assert tiles(page) == {
        f"best recall@20, trial 3: learning_rate 0.1, kind {EVIL[:15]}…{EVIL[-14:]}": "0.2500",
        "recall@20 of the defaults (trial 1)": "0.2000",
        "best trial against the defaults, 25.0% better": "+0.0500",
        "trials finished; 1 stopped early, 2 failed": "4 of 7",
        "of the epochs that were allowed were trained, 13 of 60": "22%",
        "training and validation, all trials together": "2 min",
    }
    assert "7 trials: the defaults, and settings drawn at random; trials that fall behind are stopped early" in page
    assert "Seed 7, 2 threads a trial" in page and "Test figures" not in page and "Changes on the way" not in page


def test_tables(records, tmp_path):
    page, _ = write(tmp_path, records)
    assert rows(page, 0) == [["learning_rate", "0.1", "0.001", "0.001, 0.01, 0.1"],
                             ["kind", EVIL, "plain", f"plain, {EVIL}"]]  # fmt: skip
    table = rows(page)
    assert [line[0] for line in table] == ["3 best", "1 defaults", "2", "7", "4", "5", "6"]
    assert table[0] == ["3 best", "finished", "0.2500", "0.1", EVIL, "2", "4", "40 s", "1.5 GB", ""]
    assert table[3] == ["7", "finished", "0.1500", "0.01", "plain", "2", "", "", "1.5 GB", "same as trial 2"]
    assert table[4][-1] == "came back from 1 death" and table[5][-1] == f"no number {EVIL}"
    assert table[6][:3] == ["6", "failed", ""] and table[6][5:] == ["", "0", "0.0 s", "1.5 GB", "out of memory"]
    assert '<th class="n" aria-sort=descending><button>recall@20' in page
    assert '<td class="n" data-v="-Infinity"></td>' in page and '<td class="n" data-v="0.01">0.01</td>' in page


def test_parallel_coordinates_hold_a_line_a_trial_with_a_score(records, tmp_path):
    page, _ = write(tmp_path, records)
    (lines,) = traces(page, "parallel")
    rate, kind, score = lines["dimensions"]
    assert rate["values"] == pytest.approx([-3, -2, -1, -1]) and rate["ticktext"] == ["0.001", "0.01", "0.1"]
    assert kind["values"] == [1, 1, 0, 1] and kind["ticktext"] == ["<b>x</b…cript>", "plain"]
    assert score["values"] == [0.2, 0.15, 0.25, 0.05] and score["label"] == "best recall@20"
    assert lines["line"]["color"] == pytest.approx([1.5, 0.5, 2, 0])  # defaults, between, best, worst


def test_learning_curves_tell_the_best_the_defaults_and_the_stopped(records, tmp_path):
    page, _ = write(tmp_path, records)
    curves = {trace["name"]: trace for trace in traces(page, "curves")}
    assert list(curves) == ["failed", "stopped early", "finished", "defaults: trial 1", "best: trial 3",
                            "finetune begins"]  # fmt: skip
    best = curves["best: trial 3"]
    assert (best["x"], best["y"], best["line"]["width"]) == ([0, 1, 2, 3], [0.1, 0.2, 0.25, 0.22], 3)
    assert best["customdata"] == ["pretrain", "pretrain", "finetune", "finetune"]
    assert best["hovertext"].startswith("<b>trial 3</b>, finished<br>learning_rate 0.1<br>kind &lt;b&gt;x")
    assert curves["finished"]["x"] == [0, 2]  # the second trial, without what is no number
    assert (curves["finetune begins"]["x"], curves["finetune begins"]["y"]) == ([2, 2], [0.2, 0.25])


def test_the_page_loads_nothing_and_runs_nothing_of_the_values(records, tmp_path):
    records[0].point[EVIL] = 1
    page, _ = write(tmp_path, records, {**SEARCH, "preset": EVIL, "scheduler": EVIL, "metric": EVIL}, {EVIL: 0.1})
    assert "<b>x" not in page and "<script>alert" not in page and "shop <" not in page
    assert not re.findall(r'(?:src|href)="(?!#)', page) and "@import" not in page and "url(" not in page
    (lines,) = traces(page, "parallel")
    drawn = json.dumps([[d["label"] for d in lines["dimensions"]], traces(page, "curves")])
    assert "<b>x" not in drawn and "<script" not in drawn and "&lt;b&gt;x" in drawn


def test_importance_is_said_with_how_far_it_is_to_be_trusted(tmp_path):
    good = [trial(n, [1 - n % 3 / 3], rate=10.0 ** -(n % 3 + 1), kind=f"k{n % 2}") for n in range(1, 25)]
    page, facts = write(tmp_path, good)
    assert list(facts["importance"]["shares"]) == ["learning_rate", "kind"]
    assert facts["importance"]["shares"]["learning_rate"] > 0.95 and facts["importance"]["r_squared"] > 0.9
    assert "so the order can be relied on" in page and "not to be relied on" not in page
    (bars,) = traces(page, "importance")
    assert bars["x"] == list(facts["importance"]["shares"].values())[::-1]
    chance = [0.31, 0.75, 0.05, 0.62, 0.44, 0.93, 0.12, 0.5, 0.27, 0.81, 0.38, 0.69]
    poor = [trial(n + 1, [score], rate=n + 1.0, kind=f"k{n // 2 % 2}") for n, score in enumerate(chance)]
    page, facts = write(tmp_path, poor)
    assert facts["importance"]["r_squared"] < 0
    assert "These shares are not to be relied on." in page and "worse than the mean does (R² = −" in page


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
    assert "Plotly.newPlot" not in page and "Not reckoned: fewer than 8 trials have a score" in page
    assert [line[-1] for line in rows(page)] == ["out of memory"] * 2


def test_one_trial_that_is_the_defaults_and_the_best(tmp_path):
    page, facts = write(tmp_path, [trial(1, [0.1])], test={"recall@10": 0.05, "recall@20": 0.08, "ndcg@20": math.nan})
    assert facts["difference"] == 0 and tiles(page)["best trial against the defaults"] == "none better"
    assert "best recall@20, trial 1: the defaults" in tiles(page)
    assert traces(page, "parallel") is None
    (curve,) = traces(page, "curves")
    assert (curve["name"], curve["mode"]) == ("best: trial 1, the defaults", "markers")
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
    assert "population-based training" in page and "settings changed" in page
    assert facts["best_settings"] == {"learning_rate": 0.05, "kind": "plain"}
    assert facts["trials"][1]["point"] == {"learning_rate": 0.01, "kind": "plain"}
    assert rows(page) == [["2", "1", "learning_rate 0.05"], ["2", "3", f"learning_rate 0.1, kind {EVIL}"]]
    assert rows(page, 1)[0][:5] == ["2 best", "finished", "0.3000", "0.05", "plain"]


def test_values_without_a_hash(tmp_path):
    kinds = [[64, 32], {"a": [1]}, None, True, [64, 32], "text", [64, 32], None, 3]
    page, facts = write(tmp_path, [trial(n + 1, [0.1 + n / 100], kind=kind) for n, kind in enumerate(kinds)])
    assert [entry["best_settings"]["kind"] for entry in facts["trials"]] == kinds
    assert list(facts["importance"]["shares"]) == ["kind"]  # the learning rate never varies
    (lines,) = traces(page, "parallel")
    assert lines["dimensions"][0]["ticktext"] == ["None", "3", "text", "[64, 32]", "True", "{'a': [1]}"]
    assert lines["dimensions"][0]["values"] == [3, 5, 0, 4, 3, 2, 3, 0, 1]
    assert rows(page)[0][4] == "3"


def test_axes_have_marks_that_are_far_enough_apart():
    crowded = _dimension("weight", [0.0, 0.001, 1.0, 0.0])
    assert (crowded["values"], crowded["tickvals"]) == ([0, 1, 2, 0], [0, 1, 2])
    assert crowded["ticktext"] == ["0", "0.001", "1"]
    many = _dimension("rate", [10**-x for x in (1.05, 1.5, 2, 2.1, 2.2, 2.3, 2.4, 2.5, 2.95)])
    assert dict(zip(many["ticktext"], many["tickvals"])) == pytest.approx(
        {"0.002": math.log10(0.002), "0.005": math.log10(0.005), "0.01": -2, "0.02": math.log10(0.02),
         "0.05": math.log10(0.05), "0.001122": -2.95, "0.08913": -1.05})  # fmt: skip
    assert _dimension("same", [1, 1.0]) is None
    assert list(_round_values(0.03, 0.108)) == pytest.approx([0.04, 0.06, 0.08, 0.1])
    assert list(_powers(-5, -1).values()) == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2, 1e-1])
    assert _two_lines("learning_rate") == ["learning_rate"]
    assert _two_lines("learning_rate_schedule") == ["learning_", "rate_schedule"]
    assert _two_lines("x" * 40) == ["xxxxxxxx…xxxxxxx"]


def test_an_outcome_counts_no_failed_and_no_repeated_trial(records):
    outcome = Outcome(SEARCH, records, best_record(records))
    assert [record.number for record in outcome.scored] == [1, 2, 3, 4]
    assert outcome.names == ["learning_rate", "kind"] and outcome.defaults is records[0]
    records[0].status = "failed"
    assert outcome.defaults_score is None
