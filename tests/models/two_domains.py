"""A small data set of two domains, and TwoDomainSASRec, or another model, on it."""

from __future__ import annotations

import argparse
from pathlib import Path

from recbole_cadmr.config.config import Config
from recbole_cadmr.data.prepare.cross_domain import add_arguments, run
from recbole_cadmr.runs.folder import scratch_folder
from recbole_cadmr.runs.session import Session, open_session
from tests.cross_domain import write_source

SMALL = {
    "embedding_size": 8,
    "dropout": 0.0,
    "n_negatives": 20,
    "probe_users": 20,
    "epochs": 2,
    "eval_step": 1,
    "train_batch_size": 16,
    "learning_rate": 0.01,
    "topk": [5, 10],
    "show_progress": False,
}
GCA = {"gca_positions": "early", "gca_gate_start": 0.5}


def write_two(place: Path) -> Path:
    """The folder of a prepared data set ``two`` of 60 users."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    source = write_source(place / "source", days=8)
    run(parser.parse_args(["--source", str(source), "--name", "two", "--data_path", str(place / "dataset")]))
    return place / "dataset"


def opened(data: Path, model: str = "TwoDomainSASRec", **settings: object) -> Session:
    """A session of a model on it; with small settings, if it is TwoDomainSASRec."""
    small = (
        SMALL if model == "TwoDomainSASRec" else {k: SMALL[k] for k in ("epochs", "eval_step", "topk", "show_progress")}
    )
    with scratch_folder() as scratch:
        return open_session(Config(model, "two", settings={**small, "data_path": str(data), **settings}), scratch)
