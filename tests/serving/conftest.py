"""Models that are served: one on the embedded set, and small ones on a set of a few items whose titles are no good."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest

import recbole_cadmr
from recbole_cadmr.serving import models
from tests.micro import write_micro

# In the order of their ids, a to e.
TITLES = ["<script>alert(1)</script>", "Crème brûlée", '"quoted" & <b>bold</b>', "", "東京タワー"]


@pytest.fixture(scope="session", autouse=True)
def garbage_of_tests_stays():
    """A service that loads a model searches no more than that for garbage, not all that was imported for tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "gc", SimpleNamespace(unfreeze=lambda: None, collect=gc.collect, freeze=gc.freeze))
        yield


@pytest.fixture(scope="session")
def linear(tmp_path_factory):
    """LinearCADMR on the embedded set, as a checkpoint."""
    folder = tmp_path_factory.mktemp("linear") / "run"
    how = {"adaptive_fits": 1, "show_progress": False}
    return recbole_cadmr.train("LinearCADMR", "synthetic", output=folder, settings=how).checkpoint


@pytest.fixture(scope="session")
def micro_data(tmp_path_factory):
    """The data sets' folder of a set of four items with titles."""
    folder = write_micro(tmp_path_factory.mktemp("micro"))
    rows = [f"{item}\t{title}" for item, title in zip("abcde", TITLES)]
    (folder / "micro" / "micro.item").write_text("\n".join(["item_id:token\ttitle:token_seq", *rows, ""]))
    return folder


@pytest.fixture(scope="session")
def micro_runs(micro_data, tmp_path_factory):
    """Two checkpoints on it, of other settings."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        recbole_cadmr.train(
            "LinearCADMR",
            "micro",
            output=folder / str(ridge),
            settings={
                "data_path": str(micro_data), "topk": [1, 2], "valid_metric": "Recall@2", "show_progress": False,
                "adaptive_fits": 1, "reg_weight": ridge,
            },
        ).checkpoint
        for ridge in (1.0, 50.0)
    ]  # fmt: skip
