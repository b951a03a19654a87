"""The report of a benchmark: its numbers are those of the tables, and it is safe to open."""

from __future__ import annotations

import json
import re
from html import unescape

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

import recbole_cadmr
from recbole_cadmr.formatting import seconds
from recbole_cadmr.reports.benchmark_charts import pareto_front
from recbole_cadmr.reports.benchmark_labels import HEIGHT, label_width, place_labels
from recbole_cadmr.reports.benchmark_report import write_report
from recbole_cadmr.reports.significance import Comparison
from recbole_cadmr.reports.summary import DatasetTable, Row, summarise
from recbole_cadmr.reports.tables import COLD, value

PROTOCOL = {"metrics": ["Recall", "NDCG"], "topk": [10, 20], "valid_metric": "Recall@20", "data_note": "<i>note</i>",
            "mask_valid_at_test": False, "split": "pre-split", "group_by": None, "candidates": "all items"}  # fmt: skip
COUNTS = {"users": 1000, "items": 200, "interactions": [5000, 600, 700]}


def row(name, model, recalls, duration, cold=None, **settings):
    """A row whose other figures are shares of recall@20."""
    shares = {"recall@10": 0.5, "recall@20": 1, "ndcg@10": 0.3, "ndcg@20": 0.4, "itemcoverage@20": 2,
              "giniindex@20": 1.5, "tailpercentage@20": 0.1}  # fmt: skip
    strata = {"other items": {"users": [9.0], "pairs": [1234.0], "recall@20": [2 * recall for recall in recalls]}}
    if cold is not None:
        strata[COLD] = {"users": [3.0], "pairs": [5.0], "recall@20": [cold]}
    history = [{"epoch": e, "seconds": duration * (e + 1), "valid_score": s} for e, s in enumerate((0.1, None, 0.2))]
    results = [
        {"model": model, "protocol": {"seed": seed, "threads": 1},
         "seconds": {"construction": 0.5, "training": duration - 0.5}, "seconds_per_evaluation": 0.25,
         "peak_memory_bytes": 3 * 2**29, "parameters": 12345, "history": history}
        for seed in range(len(recalls))
    ]  # fmt: skip
    metrics = {metric: [share * recall for recall in recalls] for metric, share in shares.items()}
    return Row(name, settings, results, metrics, strata=strata, deterministic=len(recalls) == 1)


@pytest.fixture
def table():
    """Of five models, ``slow`` is the best, ``quick`` is near it and ``poor`` and ``same`` are on no front."""
    rows = [
        row("slow <b>x</b>", "LinearCADMR", [0.30, 0.32], 100, cold=0.5),
        row("quick", "EASE", [0.30], 8, learning_rate="</script><script>alert(1)</script>"),
        row("same", "BPR", [0.30, 0.30], 9),
        row("poor", "BPR", [0.19, 0.21], 50),
        row("first", "Pop", [0.10], 1),
    ]
    found = {"slow <b>x</b>": Comparison("quick", 0.01, 0.02), "quick": Comparison("slow <b>x</b>", -0.01, 0.00001)}
    missing = {"DRAGON <seed 1>": "failed: no number", "MICRO": "skipped: needs 41 GB"}
    return DatasetTable("shop <1>", PROTOCOL, COUNTS, rows, {"recall@20": found}, missing)


def read(path):
    """The page without plotly, and its numbers."""
    text = path.read_text(encoding="utf-8")
    assert text.count(get_plotlyjs()) == 1
    facts = json.loads(text.rpartition('<script type="application/json" id="facts">')[2].partition("</script>")[0])
    return text.replace(get_plotlyjs(), ""), facts


def cells(page, head, kind):
    """The cells of a line of a table as text."""
    body = page.partition(f'<table class="{kind}">')[2].partition("</table>")[0].partition("<tbody>")[2]
    lines = [re.findall(r"<td.*?>(.*?)</td>", line) for line in body.split("</tr>")]
    found = next(line for line in lines if line and unescape(line[0]) == head)
    return [unescape(re.sub("<.*?>", "", cell)) for cell in found[1:]]


def test_the_figures_are_those_of_the_table(table, tmp_path):
    write_report([table], tmp_path / "report.html")
    page, facts = read(tmp_path / "report.html")
    (section,) = facts["datasets"]
    assert (section["best"], section["fastest_near_best"], section["metric"]) == ("slow <b>x</b>", "quick", "recall@20")
    assert [model["name"] for model in section["models"]] == [row.name for row in table.rows]
    slow, quick = section["models"][:2]
    assert slow["metrics"]["recall@20"]["mean"] == pytest.approx(0.31)
    assert slow["metrics"]["recall@20"]["deviation"] == pytest.approx(0.02 / np.sqrt(2))
    assert (slow["training_seconds"], slow["seeds"], slow["strata"][COLD]["recall@20"]) == (100, [0, 1], [0.5])
    assert quick["comparisons"]["recall@20"] == {"other": "slow <b>x</b>", "difference": -0.01, "p": 0.00001}
    assert quick["metrics"]["recall@20"] == {"mean": 0.3, "deviation": None, "values": [0.3]}
    shown = cells(page, "slow <b>x</b>", "sortable")
    assert shown == ["2", "0.1550 ± 0.0071", "0.3100* ± 0.0141", "0.0930 ± 0.0042", "0.1240 ± 0.0057",
                     "+0.0100 p = .02", "100 s", "0.2 s", "1.5 GB", "12,345"]  # fmt: skip
    assert cells(page, "quick", "sortable")[:6] == ["all", "0.1500", "0.3000", "0.0900", "0.1200", "−0.0100 p < .0001"]
    assert "<b>0.3100</b>*" in page and "<u>0.3000</u>" in page
    glance = page.partition('<div class="facts">')[2].partition("<h3>")[0].replace("\u00a0", " ")
    assert "<b>slow &lt;b&gt;x&lt;/b&gt;</b><span>best by recall@20: 0.3100 ± 0.0141</span>" in glance
    assert "<b>+0.0100</b><span>ahead of quick; p = .02, beyond chance</span>" in glance
    assert "<b>quick</b><span>fastest within 5% of the best: 8.0 s of training, 0.3000</span>" in glance


def test_strata_tell_who_cannot_score_cold_items(table, tmp_path):
    write_report([table], tmp_path / "report.html")
    page, _ = read(tmp_path / "report.html")
    assert cells(page, "slow <b>x</b>", "heat") == ["0.6200", "0.5000"]
    assert cells(page, "quick", "heat") == ["0.6000", "cannot score them"]
    assert "other items<br><small>1,234 pairs" in page and f"{COLD}<br><small>5 pairs" in page


def test_the_front_holds_what_none_beats_without_taking_longer(table, tmp_path):
    assert [row.name for row in pareto_front(table.rows, "recall@20")] == ["first", "quick", "slow <b>x</b>"]
    write_report([table], tmp_path / "report.html")
    page, facts = read(tmp_path / "report.html")
    assert facts["datasets"][0]["pareto_front"] == ["first", "quick", "slow <b>x</b>"]
    named = json.loads(page.partition('class="narrow" data-chart="accuracy-0">')[2].partition("</script>")[0])
    assert sorted(name["text"] for name in named) == ["first", "quick", "slow &lt;b&gt;x&lt;/b&gt;"]
    assert sorted(name["x"] for name in named) == pytest.approx([0, np.log10(8), 2])


def test_the_page_loads_nothing_and_runs_nothing_of_the_names(table, tmp_path):
    write_report([table, table], tmp_path / "report.html")
    page, _ = read(tmp_path / "report.html")
    assert "<b>x" not in page and "<script>alert" not in page and "<i>note" not in page and "shop <" not in page
    # A chart reads the tags in its texts itself, so these are escaped within its JSON, too.
    assert "\\u003cb\\u003ex" not in page and "slow &lt;b&gt;x&lt;" in page
    assert not re.findall(r'(?:src|href)="(?!#)', page) and "@import" not in page and "url(" not in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) and {"data-0", "data-1"} <= set(ids)
    assert re.findall('href="(#.*?)"', page) == ["#data-0", "#data-1"]


def test_what_failed_is_named(table, tmp_path):
    write_report([table], tmp_path / "report.html")
    page, facts = read(tmp_path / "report.html")
    assert "<td>DRAGON &lt;seed 1&gt;</td><td>failed: no number</td>" in page
    assert "<td>MICRO</td><td>skipped: needs 41 GB</td>" in page and "2 failed or left out" in page
    assert facts["datasets"][0]["missing"] == table.missing


def test_a_table_of_failures_alone(table, tmp_path):
    table.rows, table.comparisons = [], {}
    write_report([table], tmp_path / "report.html")
    page, facts = read(tmp_path / "report.html")
    assert facts["datasets"][0]["best"] is None and "skipped: needs 41 GB" in page


def test_one_model_and_other_metrics(table, tmp_path):
    table.rows, table.comparisons, table.missing = table.rows[1:2], {}, {}
    table.protocol = {**PROTOCOL, "metrics": ["NDCG"], "topk": [20], "valid_metric": "NDCG@20"}
    write_report([table], tmp_path / "report.html")
    page, facts = read(tmp_path / "report.html")
    assert facts["datasets"][0]["metric"] == "ndcg@20" and "ahead of" not in page
    assert cells(page, "quick", "sortable")[:2] == ["all", "0.1200"]


def test_labels_lie_beside_their_points_and_on_nothing():
    points = np.array([[0.5, 0.5], [0.51, 0.5], [0.5, 0.52], [0.98, 0.1], [0.3, 0.5]])
    names, area, other = ["one", "another", "third", "at the edge", "left"], (800.0, 400.0), np.array([[0.53, 0.5]])
    offsets = place_labels(points, names, [area], other)
    boxes = []
    for point, name, (right, down) in zip(points * area, names, offsets):
        x, y, half = point[0] + right, point[1] + down, label_width(name) / 2
        assert half <= x <= area[0] - half and HEIGHT / 2 <= y <= area[1] - HEIGHT / 2
        boxes.append((x - half, x + half, y - HEIGHT / 2, y + HEIGHT / 2))
    for index, (left, right, top, bottom) in enumerate(boxes):
        for x, y in np.concatenate([points, other]) * area:
            assert not (left < x < right and top < y < bottom)
        for left_2, right_2, top_2, bottom_2 in boxes[:index]:
            assert right <= left_2 or right_2 <= left or bottom <= top_2 or bottom_2 <= top


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
    table = summarise(runs)
    write_report([table], tmp_path / "report.html")
    page, facts = read(tmp_path / "report.html")
    (section,) = facts["datasets"]
    assert section["best"] == "EASE" and section["pareto_front"][-1] == "EASE"
    for line, model in zip(table.rows, section["models"]):
        assert model["metrics"]["recall@20"]["values"] == line.metrics["recall@20"]
        shown = cells(page, line.name, "sortable")
        assert shown[1].replace("*", "") == value(line, "recall@10")
        assert shown[6] == seconds(line.training_seconds)
    points = re.search(r'"accuracy-0",\s*(\[.*?\]),\s*\{"templ', page, re.DOTALL)
    assert points is not None
    drawn = {x: y for trace in json.loads(points.group(1))[1:] for x, y in zip(trace["x"], trace["y"])}
    assert drawn == {line.training_seconds: pytest.approx(line.mean("recall@20")) for line in table.rows}
