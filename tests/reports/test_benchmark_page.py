"""The report of a benchmark: its numbers are those of the tables, and it is safe to open."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import numpy as np
import pandas as pd
import pytest

import recbole_cadmr
from recbole_cadmr.config.model_yaml import Published
from recbole_cadmr.errors import UserError
from recbole_cadmr.formatting import seconds
from recbole_cadmr.reports.benchmark_page import write_benchmark_page
from recbole_cadmr.reports.collect import read_results
from recbole_cadmr.reports.frame import (
    ALL,
    EVALUATION,
    GPU_MEMORY,
    MEMORY,
    PARAMETERS,
    RUN,
    TRAINING,
    Results,
)
from recbole_cadmr.reports.latex import columns_of, joint, latex
from recbole_cadmr.reports.measure import COLD
from recbole_cadmr.reports.results_table import CPU
from recbole_cadmr.reports.tables import csv_text, markdown, protocol_lines
from recbole_cadmr.runs import result
from recbole_cadmr.runs.result import read_result
from tests.charts import read, traces

PROTOCOL = {"metrics": ["Recall", "NDCG"], "topk": [10, 20], "valid_metric": "Recall@20", "data_note": "<i>note</i>",
            "mask_valid_at_test": False, "split": "pre-split", "group_by": None, "candidates": "all items"}  # fmt: skip
COUNTS = {"users": 1000, "items": 200, "interactions": [5000, 600, 700]}


def model(name, recalls, duration, cold=None):
    """Rows of runs whose other values are shares of recall@20."""
    ranking = {"recall@10": 0.5, "recall@20": 1, "ndcg@10": 0.3, "ndcg@20": 0.4}
    diversity = {"itemcoverage": 2, "giniindex": 1.5, "tailpercentage": 0.1}
    shares = ranking | {f"{metric}@{k}": share for metric, share in diversity.items() for k in (10, 20)}
    for seed, recall in enumerate(recalls):
        parts = {
            ALL: {metric: share * recall for metric, share in shares.items()},
            "other items": {"users": 9, "pairs": 1234, "recall@20": 2 * recall},
            COLD: {"users": 3, "pairs": 5} | ({} if cold is None else {"recall@20": cold}),
            RUN: {TRAINING: duration, EVALUATION: 0.25, MEMORY: 3 * 2**29, PARAMETERS: 12345},
        }
        for part, values in parts.items():
            yield from ((name, seed, part, metric, value) for metric, value in values.items())


def results(runs, comparisons, missing, **settings):
    frame = pd.DataFrame(runs, columns=["model", "seed", "part", "metric", "value"])
    names = frame["model"].unique()
    seeds = frame.groupby("model")["seed"].agg(lambda seeds: seeds.unique().tolist())[names]
    models = pd.DataFrame({"seeds": seeds, "deterministic": seeds.map(len) == 1, "multimodal": names == names[0]})
    models["from_file"] = False
    models["settings"] = [settings.get(name, "defaults") for name in names]
    validations = [(name, 0, epoch, 10.0 * epoch, 0.1 * epoch) for name in names for epoch in (1, 2)]
    compared = pd.DataFrame(comparisons, columns=["metric", "model", "other", "difference", "p", "better"])
    compared["wilcoxon"] = 2 * compared["p"]
    return Results(
        "shop <1>",
        PROTOCOL,
        COUNTS,
        models,
        frame,
        pd.DataFrame(validations, columns=["model", "seed", "epoch", "seconds", "score"]),
        compared.set_index(["metric", "model"]),
        pd.DataFrame([("quick", "recall@20", 0.2, "<paper>")], columns=["model", "metric", "value", "source"]),
        missing,
        tuned=False,
        threads=[1],
    )


MISSING = {"DRAGON <seed 1>": "failed: no number", "MICRO": "skipped: needs 41 GB"}


@pytest.fixture
def table():
    """Of five models, ``slow`` is the best, ``quick`` is near it and ``poor`` and ``same`` are on no front."""
    runs = [
        *model("slow <b>x</b>", [0.30, 0.32], 100, cold=0.5),
        *model("quick", [0.30], 8),
        *model("same", [0.30, 0.30], 9),
        *model("poor", [0.19, 0.21], 50),
        *model("first", [0.10], 1),
    ]
    comparisons = [
        ("recall@20", "slow <b>x</b>", "quick", 0.01, 0.02, True),
        ("recall@20", "quick", "slow <b>x</b>", -0.01, 0.00001, False),
    ]
    return results(runs, comparisons, MISSING, quick="learning_rate=</script><script>alert(1)</script>")


def figure(page, name):
    """The traces of a figure: their places and texts."""
    return [(trace["x"], trace["y"], trace.get("text")) for trace in traces(page, name)]


def cells(page, head, kind):
    """The cells of a line of a table as text."""
    body = page.partition(f'<table class="{kind}">')[2].partition("</table>")[0].partition("<tbody>")[2]
    lines = [re.findall(r"<td.*?>(.*?)</td>", line) for line in body.split("</tr>")]
    found = next(line for line in lines if line and unescape(line[0]) == head)
    return [unescape(re.sub("<.*?>", "", cell)) for cell in found[1:]]


def test_the_figures_are_those_of_the_table(table, tmp_path):
    write_benchmark_page([table], tmp_path / "report.html")
    page, facts = read(tmp_path / "report.html")
    (section,) = facts["datasets"]
    assert (section["best"], section["fastest_near_best"], section["metric"]) == ("slow <b>x</b>", "quick", "recall@20")
    assert [model["name"] for model in section["models"]] == list(table.models.index)
    slow, quick = section["models"][:2]
    assert slow["metrics"]["recall@20"]["mean"] == pytest.approx(0.31)
    assert slow["metrics"]["recall@20"]["deviation"] == pytest.approx(0.02 / np.sqrt(2))
    assert (slow["training_seconds"], slow["seeds"], slow["strata"][COLD]["recall@20"]) == (100, [0, 1], [0.5, 0.5])
    assert quick["comparisons"]["recall@20"] == {
        "other": "slow <b>x</b>",
        "difference": -0.01,
        "p": 0.00001,
        "wilcoxon": 0.00002,
    }
    assert quick["metrics"]["recall@20"] == {"mean": 0.3, "deviation": None, "values": [0.3]}
    shown = cells(page, "slow <b>x</b>", "sortable")
    assert shown == ["2", "0.1550 ± 0.0071", "0.3100 ± 0.0141*", "0.0930 ± 0.0042", "0.1240 ± 0.0057",
                     "+0.0100 p = 0.02, Wilcoxon p = 0.04", "100 s", "0.2 s", "1.5 GB", "12,345"]  # fmt: skip
    assert cells(page, "quick", "sortable")[:6] == [
        "deterministic",
        "0.1500",
        "0.3000",
        "0.0900",
        "0.1200",
        "−0.0100 p < .0001, Wilcoxon p < .0001",
    ]
    assert "<b>0.3100 ± 0.0141</b>*" in page and "<u>0.3000</u>" in page
    glance = page.partition('<div class="facts">')[2].partition("<h3>")[0].replace("\u00a0", " ")
    assert "<b>slow &lt;b&gt;x&lt;/b&gt;</b><span>best by recall@20: 0.3100 ± 0.0141</span>" in glance
    assert "<b>+0.0100</b><span>ahead of quick; p = 0.02, statistically significant</span>" in glance
    assert "<b>quick</b><span>fastest within 5% of the best: 8.0 s of training, 0.3000</span>" in glance


def test_memory_of_the_gpu_stands_beside_the_other_where_a_run_had_one(table, tmp_path):
    last = table.runs.query(f"model == 'quick' and metric == '{MEMORY}'").iloc[0]
    mine = pd.DataFrame([{**last, "metric": GPU_MEMORY, "value": 2.0 * 2**30}])
    with_gpu = replace(table, runs=pd.concat([table.runs, mine], ignore_index=True))
    write_benchmark_page([with_gpu], tmp_path / "report.html")
    page, facts = read(tmp_path / "report.html")
    assert cells(page, "quick", "sortable")[-4:] == ["0.2 s", "1.5 GB", "2.0 GB", "12,345"]
    assert [model["peak_gpu_memory_bytes"] for model in facts["datasets"][0]["models"][:2]] == [0.0, 2**31]
    assert "| peak memory | of the GPU | parameters |" in markdown([with_gpu])
    assert f"shop <1>,quick,0,{GPU_MEMORY},{2**31}\n" in csv_text([with_gpu])
    assert "of the GPU" not in markdown([table]) and table.costs.columns[-1] == PARAMETERS


def test_strata_tell_who_cannot_score_cold_items(table, tmp_path):
    write_benchmark_page([table], tmp_path / "report.html")
    page, _ = read(tmp_path / "report.html")
    assert cells(page, "slow <b>x</b>", "heat") == ["0.6200", "0.5000"]
    assert cells(page, "quick", "heat") == ["0.6000", "cannot score them"]
    assert "other items<br><small>1,234 pairs" in page and f"{COLD}<br><small>5 pairs" in page


def test_the_front_holds_what_none_beats_without_taking_longer(table, tmp_path):
    assert table.pareto_front("recall@20") == ["first", "quick", "slow <b>x</b>"]
    write_benchmark_page([table], tmp_path / "report.html")
    page, facts = read(tmp_path / "report.html")
    assert facts["datasets"][0]["pareto_front"] == ["first", "quick", "slow <b>x</b>"]
    line, *points = figure(page, "accuracy-0")
    assert line[0] == [1, 8, 100] and line[1] == pytest.approx([0.1, 0.3, 0.31])
    named = {text: x for times, _, texts in points for text, x in zip(texts, times) if text}
    assert named == {"first": 1, "quick": 8, "slow &lt;b&gt;x&lt;/b&gt;": 100}


def test_the_page_loads_nothing_and_runs_nothing_of_the_names(table, tmp_path):
    write_benchmark_page([table, table], tmp_path / "report.html")
    page, _ = read(tmp_path / "report.html")
    assert "<b>x" not in page and "<script>alert" not in page and "<i>note" not in page and "shop <" not in page
    # A chart reads the tags in its texts itself, so these are escaped within its JSON, too.
    assert "\\u003cb\\u003ex" not in page and "slow &lt;b&gt;x&lt;" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) and {"data-0", "data-1"} <= set(ids)
    assert re.findall('href="(#.*?)"', page) == ["#data-0", "#data-1"]


def test_what_failed_is_named(table, tmp_path):
    write_benchmark_page([table], tmp_path / "report.html")
    page, facts = read(tmp_path / "report.html")
    assert "<td>DRAGON &lt;seed 1&gt;</td><td>failed: no number</td>" in page
    assert "<td>MICRO</td><td>skipped: needs 41 GB</td>" in page and "2 failed or left out" in page
    assert facts["datasets"][0]["missing"] == table.missing


def test_what_was_published_stands_beside_what_was_measured(table, tmp_path):
    write_benchmark_page([table], tmp_path / "report.html")
    page, facts = read(tmp_path / "report.html")
    row = "<td>quick</td><td>recall@20</td><td>0.2000</td><td>0.3000</td><td>+50.0%</td><td>&lt;paper&gt;</td>"
    assert row in page
    assert facts["datasets"][0]["published"][0]["value"] == 0.2
    assert "| quick | recall@20 | 0.2000 | 0.3000 | +50.0% | &lt;paper&gt; |" in markdown([table])
    assert "\nshop <1>,quick,published,recall@20,0.2\n" in csv_text([table])


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ({"split": "pre-split"}, "as in its files"),
        ({"split": "pre-split", "split_note": "leave-last, <seed> 2020"}, "leave-last, <seed> 2020"),
        ({"split": {"RS": [8, 1, 1]}, "group_by": "user"}, "{'RS': [8, 1, 1]}, user"),
    ],
)
def test_how_the_data_were_split_is_said_as_far_as_it_is_known(table, protocol, said):
    table.protocol = PROTOCOL | protocol
    assert protocol_lines(table)[0].endswith(f"700 to test; split {said}")


def test_one_model_and_other_metrics(table, tmp_path):
    table = results(model("quick", [0.30], 8), [], {})
    table.protocol = {**PROTOCOL, "metrics": ["NDCG"], "topk": [20], "valid_metric": "NDCG@20"}
    write_benchmark_page([table], tmp_path / "report.html")
    page, facts = read(tmp_path / "report.html")
    assert facts["datasets"][0]["metric"] == "ndcg@20" and "ahead of" not in page
    assert cells(page, "quick", "sortable")[:2] == ["deterministic", "0.1200"]


def test_hostile_names_are_text_in_every_table(table):
    table.models = table.models.rename(index={"poor": "p|r_[x](http://y)"})
    table.runs = table.runs.replace({"model": {"poor": "p|r_[x](http://y)"}})
    text, tex = markdown([table]), latex([table])
    assert "| p\\|r_[x]\\(http://y) | 2 |" in text and "<b>x" not in text and "&lt;b&gt;x&lt;/b&gt;" in text
    assert "shop &lt;1&gt;" in text and "<script>" not in text
    assert r"p|r\_[x](http://y) & 2 & 0.1000 $\pm$ 0.0071 &" in tex


def test_marks_of_the_tables(table):
    text, tex = markdown([table]), latex([table])
    assert "| slow &lt;b&gt;x&lt;/b&gt; | 2 | **0.1550 ± 0.0071** | **0.3100 ± 0.0141**\\* |" in text
    assert "| quick | deterministic | <u>0.1500</u> | <u>0.3000</u> | <u>0.0900</u> | <u>0.1200</u> | 8.0 s |" in text
    assert r"\textbf{0.3100 $\pm$ 0.0141}$^*$" in tex and r"quick & deterministic & \underline{0.1500}" in tex
    assert "| quick |  | -0.0100 against slow &lt;b&gt;x&lt;/b&gt;, p &lt; .0001 (Wilcoxon p &lt; .0001) |" in text
    assert "| model | other items (1,234) | cold items (5) |" in text.replace(COLD, "cold items")
    assert "| quick | 0.6000 | cannot score them |" in text
    assert "- MICRO: skipped: needs 41 GB" in text and "MICRO: skipped: needs 41 GB\\\\\n" in tex


def test_equal_models_share_their_mark(tmp_path):
    level = [("recall@20", "a", "quick", -1e-17, 1.0, False), ("recall@20", "quick", "a", 1e-17, 1.0, False)]
    equal = results([*model("a", [0.3], 2), *model("quick", [0.3], 1), *model("c", [0.2], 1)], level, {})
    text = markdown([equal])
    assert all(f"| {name} | deterministic | **0.1500** | **0.3000** |" in text for name in ("a", "quick"))
    assert "| c | deterministic | <u>0.1000</u> |" in text and "+0.0000 against quick" in text and "-0.0000" not in text
    write_benchmark_page([equal], tmp_path / "report.html")
    page, _ = read(tmp_path / "report.html")
    assert "level with quick" in page and "\u22120.0000" not in page and "ahead of" not in page


def test_all_data_sets_stand_in_one_table_in_latex(table):
    other = results([*model("quick", [0.4], 8), *model("50%_&_more", [0.41, 0.43], 5)], [], {})
    other.dataset = "a_b"
    text = joint([table, other], ["NDCG@20", "recall@20"])
    lines = text.splitlines()
    assert lines[:2] == [r"\begin{table}", r"\centering"] and lines[-1] == r"\end{table}"
    assert lines[2].startswith(
        r"\caption{shop <1>: 1,000 users, 200 items, 5,000 train, 600 validation and 700 test inter"
    )
    assert r"; a\_b: 1,000 users" in lines[2] and ". Ranking over all items" in lines[2] and "$p<.05$" in lines[2]
    assert ". --: not measured. Best bold" in lines[2] and lines[3] == r"\label{tab:benchmark}"
    begin = lines.index(r"\toprule")
    assert lines[begin - 1] == r"\begin{tabular}{lrrrr}"
    assert lines[begin + 1] == r" & \multicolumn{2}{c}{shop <1>} & \multicolumn{2}{c}{a\_b} \\"
    assert lines[begin + 2] == r"\cmidrule(lr){2-3} \cmidrule(lr){4-5}"
    assert lines[begin + 3] == r"Model & ndcg@20 & recall@20 & ndcg@20 & recall@20 \\"
    rows = [line.removesuffix(r" \\").split(" & ") for line in lines[begin + 5 : lines.index(r"\bottomrule")]]
    assert [row[0] for row in rows] == ["slow <b>x</b>", "quick", "same", "poor", "first", r"50\%\_\&\_more"]
    assert rows[0][1:] == [r"\textbf{0.1240 $\pm$ 0.0057}", r"\textbf{0.3100 $\pm$ 0.0141}$^*$", "--", "--"]
    assert rows[1][1:] == [r"\underline{0.1200}", r"\underline{0.3000}", r"\underline{0.1600}", r"\underline{0.4000}"]
    for one in (text, latex([table, other])):  # what LaTeX reads as a sign of its own is escaped, and groups are closed
        bare = re.sub(r"\\[\\{}&%$#_]|\$\^\*\$|\$\\pm\$|\$p<\.05\$", "", one)
        assert bare.count("{") == bare.count("}") and not re.search(r"[$#%^~]", bare)
        assert sorted(re.findall(r"begin\{(\w+)", one)) == sorted(re.findall(r"end\{(\w+)", one))


def test_columns_of_the_joint_table_are_metrics_that_were_measured():
    measured = ["recall@10", "recall@20", "ndcg@10", "ndcg@20"]
    assert columns_of([], measured) == ["recall@20", "ndcg@20"] and columns_of([], ["hit@5", "mrr@5"]) == [
        "hit@5",
        "mrr@5",
    ]
    assert columns_of(["NDCG@10", "ndcg@10"], measured) == ["ndcg@10"]
    with pytest.raises(UserError, match=r"--columns: recal@20 is not measured; did you mean recall@20"):
        columns_of(["recal@20"], measured)


def test_long_names_that_differ_in_the_middle_have_each_their_row(tmp_path):
    names = [f"BPR embedding_size={size}, learning_rate=0.001" for size in (16, 32)]
    table = results([*model(names[0], [0.1, 0.2], 3), *model(names[1], [0.3], 3)], [], {})
    table.published = table.published[:0]
    write_benchmark_page([table], tmp_path / "report.html")
    page, _ = read(tmp_path / "report.html")
    seeds, means = figure(page, "seeds-0")
    assert seeds[:2] == ([0.1, 0.2, 0.3], [0, 0, 1]) and means[1] == [0, 1]
    assert [scores for _, scores, _ in figure(page, "curves-0")] == [[0.1, 0.2], [0.1, 0.2]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Brief runs on the embedded set."""
    place, folders = tmp_path_factory.mktemp("runs"), []
    for model, seeds in {"Pop": [0], "EASE": [0], "BPR": [0, 1]}.items():
        for seed in seeds:
            folders.append(place / f"{model}-{seed}")
            settings = {"save_lists": True, "show_progress": False, "epochs": 2, "seed": seed}
            recbole_cadmr.train(model, "synthetic", output=folders[-1], settings=settings)
    return folders


def test_of_real_runs(runs, tmp_path):
    table = read_results(runs)
    write_benchmark_page([table], tmp_path / "report.html")
    page, facts = read(tmp_path / "report.html")
    (section,) = facts["datasets"]
    assert section["best"] == "EASE" and section["pareto_front"][-1] == "EASE"
    for name, entry in zip(table.models.index, section["models"], strict=True):
        own = [run for run in map(read_result, runs) if run["model"] == name]
        recalls = [run["test_result"]["recall@20"] for run in own]
        assert entry["metrics"]["recall@20"]["values"] == recalls
        shown = cells(page, name, "sortable")
        assert shown[1].replace("*", "") == table.value(name, "recall@10")
        training = np.mean([sum(run["seconds"].values()) for run in own])
        assert shown[6] == seconds(training) and entry["training_seconds"] == pytest.approx(training)
        cpu = np.mean([sum(run["cpu_seconds"].values()) for run in own])
        assert shown[8] == seconds(cpu) and entry["cpu_seconds"] == pytest.approx(cpu)
        assert f'data-v="{table.costs.at[name, CPU]}">{seconds(cpu)}<' in page  # by which the column is sorted
    assert "& CPU time &" in latex([table])
    _, *points = figure(page, "accuracy-0")
    drawn = {x: y for times, recalls, _ in points for x, y in zip(times, recalls)}
    assert drawn == pytest.approx(dict(zip(table.costs[TRAINING], table.means["recall@20"])))


def test_each_row_asks_for_what_was_published_of_it(runs, monkeypatch):
    asked = []

    def published(*arguments):
        asked.append(arguments)
        return Published({"recall@20": 0.5, "gauc": 0.9}, "a paper") if arguments[0] == "EASE" else None

    monkeypatch.setattr(result, "published", published)
    table = read_results(runs)
    counts = read_result(runs[0])["fingerprint"]["counts"]["interactions"]
    assert asked == [(name, None, "synthetic", counts) for name in ("Pop", "EASE", "BPR")]
    assert table.published.to_dict("records")[0] == {
        "model": "EASE",
        "metric": "recall@20",
        "value": 0.5,
        "source": "a paper",
    }
    recall = read_result(runs[1])["test_result"]["recall@20"]
    row = f"| EASE | recall@20 | 0.5000 | {recall:.4f} | {recall / 0.5 - 1:+.1%} | a paper |"
    assert row in markdown([table]) and "gauc" not in markdown([table])


def test_models_of_the_same_settings_are_kept_apart_by_their_specs(runs):
    specs = dict(zip(runs, ("a", "b", "c", "d")))
    table = read_results(runs, model_specs=specs)
    assert sorted(table.models.index) == ["BPR", "BPR (2)", "EASE", "Pop"]
    assert table.models.at["BPR (2)", "seeds"] == [1]
