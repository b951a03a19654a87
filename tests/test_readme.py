"""The README repeats figures of docs/results.md, in a table and as a picture: both are what stands there."""

import re
from pathlib import Path

import pytest

from tools import accuracy_against_time as picture

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def cells(line):
    return [cell.strip().strip("*`<>u/\\") for cell in line.strip("|").split("|")]


def test_picture_is_drawn_from_the_results():
    drawn = picture.drawn(picture.results(RESULTS))
    assert drawn == picture.PICTURE.read_text(encoding="utf-8"), "run: python -m tools.accuracy_against_time"


def test_every_model_of_the_tables_is_in_the_picture():
    rows = picture.results(RESULTS)
    of_baby = re.findall(r"^\| baby \|.*\n\|[-|]+\n((?:\|.*\n)+)", RESULTS, re.MULTILINE)
    assert len(rows) == sum(len(table.splitlines()) for table in of_baby) == 17
    by_model = {row.model: row for row in rows}
    assert by_model["CADMR (best)"].value == 0.1157 and by_model["CADMR (best)"].seconds == 900
    assert by_model["CADMR (paper)"].value == 0.0659 and by_model["CADMR (paper)"].seconds == 827
    assert by_model["Pop"].value == 0.0484 and by_model["Pop"].seconds == 0.5
    assert by_model["BPR (searched)"].value == 0.0837 and by_model["BPR"].value == 0.0554
    svg = picture.PICTURE.read_text(encoding="utf-8")
    assert all(f">{row.model}</text>" in svg for row in rows)


def test_points_lie_where_their_values_are():
    rows = [picture.Result("A", 0.1, 1), picture.Result("B", 0.05, 10), picture.Result("C", 0.02, 100)]
    points = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', picture.drawn(rows))
    (x1, y1), (x2, y2), (x3, y3) = ((float(x), float(y)) for x, y in points)
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.11)  # a decade is as wide as another
    assert (y2 - y1) / (y3 - y2) == pytest.approx(0.05 / 0.03, abs=0.01)


def test_figures_of_the_table_stand_in_the_results():
    """The columns of each row hold what a row of the same model and preset has there."""
    table = re.search(r"^\| model \|.*\n\|[-|]+\n((?:\|.*\n)+)", README, re.MULTILINE)
    names = {"CADMR`, preset `paper": "| CADMR | paper |", "CADMR`, preset `best": "| CADMR (best) |"}
    names |= {"LinearCADMR": "| LinearCADMR |", "FREEDOM": "| FREEDOM |"}
    rows = [cells(line) for line in table[1].splitlines()]
    assert [row[0] for row in rows] == list(names)
    on_baby = "\n".join(re.findall(r"^\| baby \|.*\n\|[-|]+\n((?:\|.*\n)+)", RESULTS, re.MULTILINE))
    for row in rows:
        (line,) = (line for line in on_baby.splitlines() if line.startswith(names[row[0]]))
        assert set(row[2:5]) <= set(cells(line)), row[0]


def test_published_figures_of_the_table_stand_in_the_docs():
    baselines = (ROOT / "docs" / "baselines.md").read_text(encoding="utf-8")
    (freedom,) = re.findall(r"^\| FREEDOM \| (\S+) \|", baselines, re.MULTILINE)
    assert f"recall@20 {freedom} |" in README
    (claimed,) = re.findall(r"claims an NDCG@10 of (\.\d+)", RESULTS)
    assert f"ndcg@10 {claimed} " in README


def test_figures_of_the_first_commands_stand_in_the_results():
    (said,) = re.findall(r"test recall@20 is about (\.\d\d), (\.\d\d) and (\.\d\d)", README)
    table = re.search(r"^\| synthetic \|.*\n\|[-|]+\n((?:\|.*\n)+)", RESULTS, re.MULTILINE)
    assert said == tuple(f"{float(cells(line)[4]):.2f}"[1:] for line in table[1].splitlines())


def test_the_pythons_are_those_of_the_package():
    minors = [
        int(minor) for minor in re.search(r"for minor in \(([\d, ]+)\)", (ROOT / "setup.py").read_text())[1].split(",")
    ]
    pythons = f"Python 3.{min(minors)} to 3.{max(minors)}"
    assert pythons in README and pythons in (ROOT / "docs" / "installation.md").read_text(encoding="utf-8")


def test_readme_is_a_front_door():
    assert len(README.splitlines()) <= 160
