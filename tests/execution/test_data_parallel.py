"""Training that two processes share is that of one: losses, parameters, metrics and checkpoints, whatever ends it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
import torch

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.data_parallel import processes
from recbole_cadmr.execution.ray_data_parallel import meeting_place, processes_on
from recbole_cadmr.models.contract import training_hooks
from recbole_cadmr.models.registry import MODELS
from recbole_cadmr.training.callbacks import TrainingCallback
from recbole_cadmr.training.checkpoint import load_checkpoint
from tests.micro import open_micro, write_micro

QUIET = {"show_progress": False, "eval_step": 1, "stopping_step": 100}
# Batches of five and three of eight interactions, which two processes cannot halve; users are ranked one at a time.
ON_MICRO = {
    "topk": [1, 2],
    "valid_metric": "Recall@2",
    "embedding_size": 8,
    "epochs": 2,
    "learning_rate": 0.01,
    "train_batch_size": 5,
    "eval_batch_size": 5,
}
NEVER = ("REARM", "LinearCADMR", "AddEASE", "CEASE", "L3AE", "MMGF", "RP3beta", "CADMR", "EASE")
CASES = {name: {} if name in ("BPR", "LightGCN") else {"neighbours": 2} for name in ("BPR", "LightGCN", *MODELS)}
CASES = {name: settings for name, settings in CASES.items() if name not in (*NEVER, "TwoDomainSASRec")} | {
    "BM3": {"neighbours": 2, "dropout": 0.3},
    "MMHCL": {"neighbours": 2, "contrast_rows": 2},
    "SLMRec FD+FM": {"neighbours": 2, "ssl_task": "FD+FM"},
    "SMORE": {"dropout": 0.0, "modality_neighbours": {"text": 2, "image": 2}},
}
# Twenty steps and more on the embedded set, whose users are ranked in several batches.
# fmt: off
ON_EMBEDDED = {
    "LightGCN": {"epochs": 3},
    "FREEDOM": {"epochs": 3, "learning_rate_schedule": "cosine"},
    "CADMR": {"preset": "best", "epochs": 2, "attention_trials": 2,
              "linear_settings": {"adaptive_fits": 2}, "attention_weights": [0.03, 0.01]},
}
# fmt: on


def train(model, folder, **settings):
    name = model.split()[0]
    data = {} if name in ON_EMBEDDED and "data_path" not in settings else {"dataset": "micro"}
    run = recbole_cadmr.train(name, output=folder, settings={**QUIET, **data, **settings})
    return outcome(run.folder)


def outcome(folder):
    """What must be the same of two runs: losses, metrics, and the tensors of the best model."""
    result = json.loads((folder / "result.json").read_text())
    losses = [loss for entry in result["history"] for loss in entry["losses"].values()]
    metrics = [entry["valid_result"] for entry in result["history"]] + [result.get("test_result")]
    return losses, metrics, load_checkpoint(folder / "model.pt")["state_dict"]


def check_same(one, other, tolerance):
    assert other[0] == pytest.approx(one[0], abs=1e-5)
    assert other[1] == one[1]
    assert one[2].keys() == other[2].keys()
    for name, tensor in one[2].items():
        torch.testing.assert_close(other[2][name], tensor, rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def micro(tmp_path_factory):
    return str(write_micro(tmp_path_factory.mktemp("data")))


def test_two_processes_train_what_one_does(tmp_path, micro):
    cases = {name: {**ON_MICRO, **settings, "data_path": micro} for name, settings in CASES.items()}
    cases |= {f"{name} embedded": {"eval_batch_size": 100_000, **more} for name, more in ON_EMBEDDED.items()}
    alone = {name: train(name, tmp_path / f"{name} alone", **settings) for name, settings in cases.items()}
    with processes(2):
        shared = {name: train(name, tmp_path / f"{name} shared", **settings) for name, settings in cases.items()}
    for name in cases:  # the other process counts, too
        cpu = json.loads((tmp_path / f"{name} shared" / "result.json").read_text())["cpu_seconds"]
        assert cpu["process"] > 0 < cpu["children"]
    for name in cases:
        # Steps of Adam do not shrink with a gradient, which on the micro set may be little but rounding.
        check_same(alone[name], shared[name], 1e-5 if "embedded" in name else 1e-4)


@pytest.mark.parametrize("name", NEVER)
def test_what_learns_from_a_batch_as_a_whole_is_not_shared(micro, name):
    assert training_hooks(open_micro(Path(micro), name).model).shared_by is None


class At(TrainingCallback):
    """Does something before an epoch."""

    def __init__(self, epoch, act):
        self.epoch, self.act = epoch, act

    def on_epoch_start(self, trainer, epoch):
        if epoch == self.epoch:
            self.act()


def kill_the_other():
    others = [child for child in psutil.Process().children() if "data_parallel" in " ".join(child.cmdline())]
    assert len(others) == 1
    others[0].kill()


def interrupt():
    raise KeyboardInterrupt  # what ctrl-C does, whatever tests before have made of the signal


def test_a_run_that_is_cut_goes_on_with_another_number_of_processes(tmp_path, micro):
    whole, killed, stopped = (tmp_path / name for name in ("whole", "killed", "stopped"))
    settings = {**QUIET, **ON_MICRO, "epochs": 4, "settings_schedule": {1: {"learning_rate": 0.002}}, "neighbours": 2}
    settings |= {"dataset": "micro", "data_path": micro}
    run = recbole_cadmr.train("FREEDOM", output=whole, settings=settings)
    lost = rf"^process 1 was killed from outside.* resume with: .*--resume {killed}$"
    with pytest.raises(UserError, match=lost), processes(2):
        recbole_cadmr.train("FREEDOM", output=killed, settings=settings, callbacks=[At(2, kill_the_other)])
    assert torch.distributed.is_initialized() is False
    with processes(2):
        with pytest.raises(UserError, match="REARM learns from a batch as a whole"):
            recbole_cadmr.train("REARM", output=tmp_path / "refused", settings=settings)
        with pytest.raises(KeyboardInterrupt, match=f"the state is kept, resume with: .*--resume {stopped}$"):
            recbole_cadmr.train("FREEDOM", output=stopped, settings=settings, callbacks=[At(3, interrupt)])
    assert not (tmp_path / "refused").exists()
    assert sorted(file.name for file in stopped.iterdir()) == sorted(file.name for file in killed.iterdir())
    assert main(["train", "--resume", str(killed)]) == 0
    assert main(["train", "--resume", str(stopped), "--nproc=2"]) == 0
    for folder in (killed, stopped):
        check_same(outcome(run.folder), outcome(folder), 1e-4)
        assert sorted(file.name for file in folder.iterdir()) == sorted(file.name for file in whole.iterdir())


def test_a_number_of_processes_is_one_at_least(capsys):
    assert main(["train", "--nproc=0"]) == 2
    assert capsys.readouterr().err.startswith("error: --nproc must be at least 1, not '0'")


def test_processes_meet_at_one_address_alone():
    store = meeting_place("127.0.0.1", 2)
    listening = [c.laddr for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == store.port]
    assert [address.ip for address in listening] == ["127.0.0.1"]
    torch.distributed.TCPStore("127.0.0.1", store.port, 2, is_master=False).set("1 is ready", "")
    store.wait(["1 is ready"], timedelta(seconds=30))  # setting it does not wait for the other side
    assert store.get("1 is ready") == b""


def test_processes_of_a_cluster_train_what_one_does(tmp_path, micro):
    settings = {**ON_MICRO, "data_path": micro, "neighbours": 2}
    alone = train("VBPR", tmp_path / "alone", **settings)
    with processes_on("local", 2):
        shared = train("VBPR", tmp_path / "shared", **settings)
        with pytest.raises(UserError, match="already"), processes(2):
            pass
    check_same(alone, shared, 1e-4)
    with pytest.raises(UserError, match="has 2 cores, too few for 3 processes"), processes_on("local", 4):
        pass
