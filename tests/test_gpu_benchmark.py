"""The benchmark of a GPU, on one that is pretended: what it measures, and what it says of what it cannot."""

from __future__ import annotations

import json
import math
import time

import pandas as pd
import pytest
import torch

from recbole_cadmr.models.vbpr import VBPR
from tests.benchmarks import gpu
from tests.benchmarks.generated import write_set
from tests.pretended_cuda import CUDA, for_every_run

BRIEF = {"epochs": 2, "attention_trials": 1, "linear_settings": {"adaptive_fits": 1}}


@pytest.fixture
def bench(monkeypatch, tmp_path):
    """On a pretended GPU, with a small set and all the time there is."""
    monkeypatch.setattr(gpu, "ALIKE", "tiny")
    write_set(tmp_path / "dataset" / "tiny", gpu.SHAPES["tiny"], {"text": 16})
    with for_every_run(monkeypatch):
        yield gpu.Bench(CUDA, tmp_path, math.inf)


def test_it_measures_epochs_fits_and_whole_runs_beside_their_memory(bench):
    bench.row("epochs", "tiny", "VBPR", lambda: bench.epoch("VBPR", "tiny"))
    bench.row("exact", "tiny", "LinearCADMR", lambda: bench.epoch("LinearCADMR", "tiny", fit="exact"))
    bench.row("best", "tiny", "CADMR@best", lambda: bench.best("tiny", **BRIEF))
    epoch, exact, best = bench.rows
    assert not bench.failed and [row["GPU MiB"] for row in bench.rows] == [3, 3, 3] and epoch["reserved MiB"] == 5
    for row in (epoch, exact):
        assert min(row[name] for name in ("built s", "epoch s", "evaluation s")) > 0
        assert row["note"].startswith("recall@20 0.")
    assert best["whole s"] > best["evaluation s"] > 0 and best["note"].startswith("2 epochs; construction")
    assert gpu.shown(best)["GPU MiB"] == "3" and gpu.shown(best)["epoch s"] == ""


def test_figures_that_are_not_those_of_the_cpu_are_found(bench, monkeypatch):
    bench.row("alike", "tiny", "CADMR@best", lambda: bench.alike("CADMR@best"))
    assert bench.rows[-1]["note"].startswith("alike; recall@20 0.") and not bench.failed
    scores, loss = VBPR.full_sort_predict, VBPR.calculate_loss
    monkeypatch.setattr(VBPR, "full_sort_predict", lambda model, x: scores(model, x) * (1 - 2 * (model.device == CUDA)))
    monkeypatch.setattr(VBPR, "calculate_loss", lambda model, x: loss(model, x) * (1 + (model.device == CUDA)))
    bench.row("alike", "tiny", "VBPR", lambda: bench.alike("VBPR"))
    note = bench.rows[-1]["note"]
    assert note.startswith("DIFFERS: recall@20 of the same model") and bench.failed
    assert "; loss loss 2.5" in note and "the CPU's with two seeds 1.2" in note


def test_what_cannot_be_measured_is_said(bench, monkeypatch):
    def fails(message):
        def measure():
            raise RuntimeError(message)

        return measure

    resets = []
    with monkeypatch.context() as initialised:
        initialised.setattr(torch.cuda, "is_initialized", lambda: True)
        initialised.setattr(torch.cuda, "reset_peak_memory_stats", lambda: resets.append(len(bench.rows)))
        bench.row("epochs", "tiny", "A", fails("CUDA out of memory. Tried to allocate 20.00 GiB"))
        assert bench.rows[-1]["note"].startswith("out of memory: CUDA") and not bench.failed
        bench.row("epochs", "tiny", "B", fails("no kernel\nis there"))
    assert bench.rows[-1]["note"] == "failed: RuntimeError: no kernel is there" and bench.failed
    assert resets == [0, 1]  # each row counts its own memory
    started = gpu.Until.on_validation

    def and_time_is_over(watch, trainer, validation):
        started(watch, trainer, validation)
        watch.end = 0.0

    monkeypatch.setattr(gpu.Until, "on_validation", and_time_is_over)
    bench.row("epochs", "tiny", "VBPR", lambda: bench.epoch("VBPR", "tiny"))
    assert bench.rows[-1]["note"].startswith("epoch 1 of 3, ") and bench.rows[-1]["epoch s"] > 0
    bench.row("best", "tiny", "CADMR@best", lambda: bench.best("tiny", eval_step=1, **BRIEF))
    assert bench.rows[-1]["note"] == "stopped: no time was left after 1 epochs"
    bench.end = time.perf_counter()
    bench.row("epochs", "tiny", "VBPR", lambda: bench.epoch("VBPR", "tiny"))
    assert bench.rows[-1]["note"] == "left out: no time was left" and "epoch s" not in bench.rows[-1]


def test_the_command_writes_a_table_a_picture_and_what_was_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "ALIKE", "tiny")
    given = ["--shapes", "tiny", "--exact", "tiny", "--models", "VBPR", "--seconds", "0.001", "--output", str(tmp_path)]
    assert gpu.main(["--device", "cpu", *given]) == 0
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert [(row["part"], row["note"]) for row in rows] == [(part, "left out: no time was left") for part in gpu.SHARES]
    assert "| best | tiny | CADMR@best |" in (tmp_path / "gpu.md").read_text() and (tmp_path / "gpu.html").is_file()
    assert "TF32 off" in capsys.readouterr().out
    assert list(pd.read_json(tmp_path / "gpu.json")["rows"].iloc[0]) == ["part", "shape", "model", "note"]
    with pytest.raises(SystemExit):
        gpu.main(["--device", "cuda", *given])
    assert "no GPU" in capsys.readouterr().err
