"""The pages that the package writes, in a real browser, from a file and without a network."""

from __future__ import annotations

import re
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from plotly.offline import get_plotlyjs_version

from recbole_cadmr.data.prepare.page import write_page as write_data_page
from recbole_cadmr.html_page import PALETTE, around, chart, write_page
from recbole_cadmr.reports.benchmark_page import write_benchmark_page
from recbole_cadmr.study.page import write_study_page
from tests.browser import needs_browser
from tests.charts import read, traces
from tests.micro import write_micro
from tests.reports.test_benchmark_page import model, results
from tests.reports.test_search_page import trial
from tests.reports.test_search_page import write as write_search
from tests.study.test_answer import CLAIM, found

WIDTHS = {"phone": 420, "wide": 1280}
MODELS = ["CADMR (best)", "LinearCADMR", "EASE", "ItemKNN", "LightGCN", "BPR", "VBPR", "FREEDOM", "MGCN", "LATTICE",
          "quick", "SMORE"]  # fmt: skip


def test_plotly_is_of_the_major_version_that_figures_are_made_for():
    folder = files("recbole_cadmr") / "templates" / "plotly"
    head = (folder / "plotly-basic.min.js").read_text(encoding="utf-8")[:200]
    version = re.search(r"plotly\.js \(basic - minified\) v(\d+)\.", head)
    assert version and version[1] == get_plotlyjs_version().partition(".")[0]
    assert "MIT" in head and "Permission is hereby granted, free of charge" in (folder / "LICENSE").read_text()


def benchmark(epochs):
    """Twelve models of three seeds, which take about as long and are about as good."""
    rng = np.random.default_rng(0)
    recalls = 0.3 - 0.002 * np.arange(len(MODELS))[:, None] + 0.002 * rng.random((len(MODELS), 3))
    runs = [row for name, own in zip(MODELS, recalls) for row in model(name, own, 9.0 + 300 * own[0], 0.1)]
    table = results(runs, [("recall@20", MODELS[0], MODELS[1], 0.01, 0.02, True)], {"MICRO": "needs 41 GB"})
    curves = pd.MultiIndex.from_product([MODELS, range(3), range(epochs)], names=["model", "seed", "epoch"])
    curves = curves.to_frame(False)
    table.validations = curves.assign(seconds=2.0 * curves["epoch"], score=rng.random(len(curves)))
    return table


def trials(n, epochs):
    rng = np.random.default_rng(1)
    return [trial(k, rng.random(epochs), rate=10.0 ** -rng.integers(1, 5), kind=f"k{k % 5}") for k in range(1, n + 1)]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    write_benchmark_page([benchmark(2)], folder / "benchmark.html")
    for name, tried in {
        "search": trials(10, 5),
        "four": [trial(n, [n / 10], rate=10.0**-n) for n in (1, 2, 3, 4)],
    }.items():
        write_search(folder, tried)
        (folder / "report.html").rename(folder / f"{name}.html")
    published = [("set", "paper", "ndcg@10", 0.1693, "a paper"), ("set", "paper", "ndcg@10", 0.17, "another")]
    many = {(f"a variant of a rather long name, number {n}", ""): [0.1, 0.2, 0.3] for n in range(10)}
    study = found(CLAIM | many, [(name, "paper") for name, _ in many], published)
    write_study_page(study, "claim", folder / "study.html")
    data = write_micro(folder / "data") / "micro"
    noise = np.random.default_rng(0).integers(0, 255, (90, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    write_data_page(data, "micro", dict.fromkeys("abcd", folder / "noise.png"))
    (data / "micro.html").rename(folder / "data.html")
    return folder


def test_large_pages_are_of_moderate_size_and_load_nothing(tmp_path):
    write_benchmark_page([benchmark(60), benchmark(60)], tmp_path / "report.html")
    page, _ = read(tmp_path / "report.html")
    curves = traces(page, "curves-1")
    # Of more than a thousand points plotly would make a kind of chart that the bundle does not have.
    assert sum(len(trace["x"]) for trace in curves) > 2000 and {trace["type"] for trace in curves} == {"scatter"}
    write_search(tmp_path, trials(100, 50))  # which reads it, too


@needs_browser
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("kind", ["benchmark", "search", "study", "data"])
def test_pages_are_drawn_within_the_width(browser, pages, kind, width):
    read(pages / f"{kind}.html")
    browser.open((pages / f"{kind}.html").as_uri(), width=width, mobile=width < 600)
    undrawn = "[...document.querySelectorAll('.chart')].filter(chart => !chart.querySelector('.main-svg')).length"
    browser.until(lambda: not browser.js(undrawn), f"{kind}: charts are missing", seconds=60)
    assert browser.complaints() == []
    assert browser.js("performance.getEntriesByType('resource').filter(e => !/^(data|blob):/.test(e.name)).length") == 0
    assert browser.js("document.documentElement.scrollWidth") <= width
    outside = """[...document.querySelectorAll("main *")].filter(e => {
        const box = e.getBoundingClientRect();
        return box.width && box.right > innerWidth + 1 && !e.closest(".scroll, .chart, nav");
    }).map(e => e.outerHTML.slice(0, 80))"""
    assert browser.js(outside) == []
    # Plotly draws nothing of a kind of chart that its bundle lacks, and squeezes a chart between long names.
    empty = "[...document.querySelectorAll('.chart')].filter(c => !c.querySelector('.trace, .barlayer path')).length"
    assert browser.js(empty) == 0
    narrow = "[...document.querySelectorAll('.chart')].map(c => c._fullLayout._size).filter(s => s.w < 180 || s.h < 60)"
    assert browser.js(f"{narrow}.length") == 0
    names, clashes = browser.js(_NAMES)
    assert not clashes and (kind != "benchmark" or names >= 5)


# Names beside points that are shown, and those of them that overlap another one or a point.
_NAMES = """[...document.querySelectorAll(".chart")].map(chart => {
    const boxes = s => [...chart.querySelectorAll(s)].filter(e => e.style.visibility !== "hidden")
        .map(e => e.getBoundingClientRect());
    const names = boxes(".textpoint"), all = [...names, ...boxes(".points path")];
    const meets = (a, b) => a !== b && a.left < b.right && a.right > b.left && a.top < b.bottom && a.bottom > b.top;
    return [names.length, names.filter(a => all.some(b => meets(a, b))).length];
}).reduce((a, b) => [a[0] + b[0], a[1] + b[1]])"""


@needs_browser
def test_what_is_pointed_at_is_told(browser, pages):
    browser.open((pages / "four.html").as_uri())
    browser.until(lambda: browser.all("#setting-0 .main-svg"), "the chart is missing")
    assert browser.js("document.querySelectorAll('#setting-0 .points path').length") == 4
    browser.js("Plotly.Fx.hover('setting-0', [{curveNumber: 3, pointNumber: 0}])")
    assert browser.texts("#setting-0 .hoverlayer text") == ["trial 4, finished0.0001: recall@20 0.4000"]


@needs_browser
def test_a_chart_that_cannot_be_drawn_says_so(browser, tmp_path):
    body = chart("one", [{"type": "scatter", "x": [1, 2], "y": [1, 2], "line": {"color": PALETTE[0]}}])
    write_page(tmp_path / "page.html", "page.html.j2", "one", {}, body=body)
    path = tmp_path / "page.html"
    path.write_text(path.read_text().replace("await Plotly.newPlot", "await Plotly.missing"))
    browser.open(path.as_uri())
    browser.until(lambda: "cannot be drawn: Plotly.missing is not" in browser.one("#one").text, "nothing is said")


def test_an_axis_of_a_single_value_stays_close_to_it():
    assert around([1.0, 1.0]) == {"yaxis_rangemode": "normal", "yaxis_range": [0.95, 1.05]}
    assert around([0.0]) == {"yaxis_rangemode": "normal", "yaxis_range": [-1.0, 1.0]}
    assert around([0.2, 0.3]) == around(iter([0.1, 0.3])) == {"yaxis_rangemode": "normal"}
