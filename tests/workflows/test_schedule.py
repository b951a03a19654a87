"""Settings that change in the course of training, by a schedule or when a run goes on; and who observes a run."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

import recbole_cadmr
from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import UserError
from recbole_cadmr.training import trainer
from recbole_cadmr.training.checkpoint import load_checkpoint
from recbole_cadmr.workflows.train import resume
from tests.micro import SMALL, write_micro

COMMON = {"topk": [1, 2], "valid_metric": "NDCG@2", "show_progress": False, "threads": 1, "train_batch_size": 4,
          "use_gpu": False}  # fmt: skip
MODELS = {
    "BPR": {**COMMON, "epochs": 5, "embedding_size": 4},
    "LightGCN": {**COMMON, "epochs": 5, "embedding_size": 4},
    "CADMR": {**SMALL, **COMMON, "pretrain_epochs": 2, "epochs": 3, "gate_init": 0.3},
}


class Cut(Exception):
    """A run that is cut by its observer."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_micro(tmp_path_factory.mktemp("schedule") / "dataset")


@pytest.fixture
def run(data, tmp_path):
    """Train on the micro set; the folder of the run."""

    def of(name, model="BPR", observer=None, **settings):
        given = {**MODELS[model], "data_path": str(data), **settings}
        return recbole_cadmr.train(
            model, "micro", output=tmp_path / name, settings=given, observer=observer
        ).folder

    return of


def refusal(function, *arguments, **given):
    """The words of the error that a call ends with."""
    with pytest.raises(UserError) as error:
        function(*arguments, **given)
    return str(error.value)


def cut_before(epoch):
    """An observer that writes the state and cuts the run before an epoch."""

    def observer(history, keep):
        if history[-1]["epoch"] + 1 == epoch:
            keep()
            raise Cut

    return observer


def run_and_cut(run, epoch, name="cut", model="BPR", **settings):
    """The folder of a run that is cut before an epoch."""
    with pytest.raises(Cut):
        run(name, model, cut_before(epoch), **settings)
    return next(trainer_folder for trainer_folder in [run.__closure__ and _folder(run, name)])


def epochs(folder):
    """What every validation saw."""
    history = json.loads((folder / "result.json").read_text())["history"]
    return [{k: entry[k] for k in ("epoch", "phase", "losses", "valid_score", "valid_result")} for entry in history]


def assert_same(left, right):
    """Two runs agree bit for bit: every validation, the best model, the test part, and the state of the last epoch."""
    assert epochs(left) == epochs(right)
    results = [json.loads((folder / "result.json").read_text()) for folder in (left, right)]
    for name in ("best_valid_score", "best_epoch", "best_valid_result", "test_result", "epochs_run"):
        assert results[0][name] == results[1][name]
    for name in ("model.pt", "resume.pt"):
        one, other = (load_checkpoint(folder / name)["state_dict"] for folder in (left, right))
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
