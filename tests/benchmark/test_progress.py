"""The time left is told from cells that were run: those of the same settings, or of the model; or it is unknown."""

from __future__ import annotations

import pytest

from recbole_cadmr.benchmark import progress
from recbole_cadmr.benchmark.progress import Progress
from recbole_cadmr.execution.run_spec import ModelSpec, RunSpec

RESULT = {
    "seconds": {"construction": 1.0, "training": 2.0},
    "evaluation_seconds": 0.5,
    "best_valid_score": 0.25,
    "protocol": {"valid_metric": "Recall@20"},
}


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """Two seeds of BPR, two of a wider one, and one of EASE."""
    monkeypatch.setattr(progress, "checked_result", lambda _: RESULT)
    specs = [ModelSpec("BPR", None, "synthetic", {"embedding_size": size}) for size in (8, 64)]
    specs.append(ModelSpec("EASE", None, "synthetic"))
    seeds = [(specs[0], 1), (specs[0], 2), (specs[1], 1), (specs[1], 2), (specs[2], 1)]
    return [RunSpec(spec, seed, tmp_path / f"{spec.digest}-{seed}") for spec, seed in seeds]


def end(cell):
    cell.run.mkdir(parents=True)
    (cell.run / "result.json").write_text("{}")


class Runner:
    """Ends every cell after the seconds that it is told."""

    def __init__(self, times):
        self.times = times

    def run(self, specs, on_start, on_end):
        for spec, taken in zip(specs, self.times):
            on_start(spec)
            end(spec)
            on_end(spec, taken)


def test_the_time_left_is_learnt_from_the_cells_that_were_run(cells, capsys):
    unknown = "the time of {} is not known before a first run"
    Progress(cells, 1).run(Runner([10.0, 30.0, 600.0, 660.0, 5.0]))
    told = [line.rpartition("elapsed, ")[2] for line in capsys.readouterr().out.splitlines() if "elapsed" in line]
    assert told == [
        f"about 30 s left (2 of the cells by other settings of their model), but {unknown.format('EASE')}",
        f"about 40 s left (2 of the cells by other settings of their model), but {unknown.format('EASE')}",
        f"about 10 min left, but {unknown.format('EASE')}",
        unknown.format("EASE"),
        "nothing left to run",
    ]


def test_a_benchmark_that_goes_on_knows_how_long_its_cells_took_in_all(cells, capsys):
    for cell, taken in zip(cells[:3], ("44.0\n", "0.5\n", "")):
        end(cell)
        cell.duration_file.write_text(taken)
    Progress(cells, 2)
    # 44 s, and what the results say where that is more, or all that is known: 3.5 s.
    assert capsys.readouterr().out.startswith("5 cells, 3 finished; about 3.5 s left, but the time of EASE is not")
    more = [*cells, RunSpec(cells[0].model_spec, 3, cells[0].folder.parent / "third")]
    Progress(more, 2)
    assert "about 24 s left" in capsys.readouterr().out  # (44 + 3.5) / 2, which no second process shortens
