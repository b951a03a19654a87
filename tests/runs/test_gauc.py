"""GAUC is measured over the whole ranking: it has no list length, wherever it is named or shown."""

from __future__ import annotations

import pytest

import recbole_cadmr
from recbole_cadmr.benchmark.plan import model_specs
from recbole_cadmr.errors import UserError
from recbole_cadmr.reports.results_table import results_table
from recbole_cadmr.runs.result import metric_table
from tests.micro import write_drawn

ROWS = [f"u{u} i{(u * k) % 7}" for u in range(1, 7) for k in range(1, 6)]


@pytest.fixture
def run(tmp_path):
    settings = {"data_path": str(write_drawn(tmp_path, ROWS)), "epochs": 2, "show_progress": False}
    measured = {"metrics": ["GAUC", "Recall"], "topk": [2], "valid_metric": "GAUC"}
    return recbole_cadmr.train("BPR", "drawn", output=tmp_path / "run", settings={**settings, **measured})


def test_a_run_is_chosen_by_it_and_scored_again(run):
    result = run.result
    assert result["best_valid_score"] == max(entry["valid_result"]["gauc"] for entry in result["history"])
    for metrics in ("GAUC", ["GAUC"]):
        assert recbole_cadmr.evaluate(run.checkpoint, metrics=metrics)["result"] == {
            "gauc": pytest.approx(result["test_result"]["gauc"])
        }
    assert f"{result['test_result']['gauc']:.4f}" in results_table([run.folder], ["gauc", "recall@2"])


def test_it_stands_in_a_column_without_a_length():
    text = metric_table({"test": {"gauc": 0.6178, "recall@2": 0.5, "recall@10": 0.75}})
    rows = [("test", "", "@2", "@10"), ("gauc", "0.6178", "", ""), ("recall", "", "0.5000", "0.7500")]
    assert text.splitlines() == [name.ljust(8) + "".join(cell.rjust(9) for cell in cells) for name, *cells in rows]


def test_a_benchmark_refuses_it(tmp_path):
    settings = {"data_path": str(write_drawn(tmp_path, ROWS)), "metrics": ["GAUC"], "valid_metric": "GAUC"}
    with pytest.raises(UserError, match="a benchmark measures .*, not GAUC"):
        model_specs(["BPR"], ["drawn"], settings)
