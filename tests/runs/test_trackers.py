"""Trackers are told what the history says, by real MLflow and Weights & Biases; none of them can end a run."""

from __future__ import annotations

import json
import logging

import pandas as pd
import pytest

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.config.rules import TRACKERS
from recbole_cadmr.errors import UserError
from recbole_cadmr.runs import trackers
from recbole_cadmr.runs.train import resume
from recbole_cadmr.training.callbacks import TrainingCallback
from recbole_cadmr.tuning.plan import make_plan
from tests.micro import PAIRS, write_micro


class Stop(TrainingCallback):
    """Ends the run before an epoch, as ctrl-C does."""

    def on_epoch_start(self, trainer, epoch):
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Train BPR for four epochs on the micro set, with the trackers of these names, all of them local."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path / 'mlruns'}")  # quicker than its default, a database
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb"))
    write_micro(tmp_path / "dataset")

    def run(names, **more):
        settings = {**PAIRS, "data_path": str(tmp_path / "dataset"), "epochs": 4, "tracker": names}
        return recbole_cadmr.train("BPR", "micro", output=tmp_path / "run", settings=settings, **more)

    return run


def rows_of(history):
    """The history as a table, by the names of trackers."""
    return pd.DataFrame([{"epoch": entry["epoch"], **dict(trackers.values_of(entry))} for entry in history])


def records_of(data):
    """The records of a file of W&B's: after 7 bytes, those of LevelDB's logs, here each in one piece."""
    place = 7
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        if kind == 1:
            yield data[place + 7 : place + 7 + length]
        place += 7 + length


def test_a_csv_is_the_history_also_of_a_run_that_was_stopped(train, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train("csv", callbacks=[Stop()])
    assert pd.read_csv(tmp_path / "run" / "metrics.csv")["epoch"].tolist() == [0, 1]
    run = resume(tmp_path / "run")
    table = pd.read_csv(run.folder / "metrics.csv")
    assert table["valid_score"].tolist() == [entry["valid_score"] for entry in run.result["history"]]
    columns = ["epoch", "losses/loss", "valid_result/recall@2"]
    pd.testing.assert_frame_equal(table[columns], rows_of(run.result["history"])[columns])
    assert not (run.folder / "log_tensorboard").exists()  # RecBole's own writes go nowhere, either


def test_no_tracker_is_a_choice(train):
    assert not {"metrics.csv", "log_tensorboard"} & {path.name for path in train("none").folder.iterdir()}


def test_mlflow_has_one_run_with_all_that_happened(train, tmp_path):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    from mlflow import MlflowClient

    with pytest.raises(KeyboardInterrupt):
        train(["mlflow"], callbacks=[Stop()])
    client = MlflowClient()
    (experiment,) = (e for e in client.search_experiments() if e.name == "recbole_cadmr")
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["KILLED"]
    result = resume(tmp_path / "run").result
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "BPR-micro-2020")
    assert (run.data.params["model"], run.data.params["learning_rate"]) == ("BPR", "0.001")
    assert "data_path" not in run.data.params
    for name in ("losses/loss", "valid_result/recall@2"):
        steps = {m.step: m.value for m in client.get_metric_history(run.info.run_id, name.replace("@", "_at_"))}
        assert steps == dict(rows_of(result["history"]).set_index("epoch")[name])
    assert run.data.metrics["test/recall_at_2"] == result["test_result"]["recall@2"]


def test_wandb_keeps_a_run_offline(train, capfd):
    wandb = pytest.importorskip("wandb", reason="the extra wandb is not installed")
    from wandb.proto import wandb_internal_pb2

    run = train("wandb")
    (file,) = run.folder.glob("wandb/offline-run-*/run-*.wandb")
    values = []
    for data in records_of(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            values.append({"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item})
    expected = rows_of(run.result["history"])
    assert [row["valid_result/recall@2"] for row in values] == expected["valid_result/recall@2"].tolist()
    assert [row["epoch"] for row in values] == expected["epoch"].tolist()
    assert [path for path in run.folder.rglob("*") if path.is_symlink()] == []
    assert wandb.run is None
    assert json.loads((run.folder / "trackers.json").read_text()).keys() == {"wandb"}


def test_a_tracker_that_fails_is_given_up_with_one_warning(train, monkeypatch, caplog):
    class NoNetwork(trackers.Tracker):
        def log(self, trainer, validation):
            raise ConnectionError("no route to host\nand more")

    monkeypatch.setitem(trackers._TRACKERS, "mlflow", (f"{__name__}:none", None))
    monkeypatch.setattr(trackers, "resolve_name", lambda _: NoNetwork)
    monkeypatch.setattr(logging.getLogger("recbole_cadmr"), "propagate", True)
    run = train("mlflow")
    log = next((run.folder / "log").glob("*.log")).read_text()
    assert log.count("tracker mlflow is told no more of this run: ConnectionError: no route to host") == 1
    assert len(run.result["history"]) == 4


def test_settings_name_the_trackers_that_there_are():
    assert tuple(trackers._TRACKERS) == TRACKERS


def test_what_is_no_tracker_or_not_installed_is_refused(train, tmp_path, monkeypatch, capsys):
    assert main(["train", "--tracker=csv,wandbb", f"--data_path={tmp_path / 'dataset'}", "--dataset=micro"]) == 2
    assert "there is no tracker 'wandbb'; did you mean wandb?" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"tracker cannot be none and others at once \(none, csv\)"):
        train("none,csv")
    with pytest.raises(UserError, match="names one twice"):
        train("csv,csv")
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"tracker wandb needs the package wandb; install recbole_cadmr\[wandb\]"):
        train("csv,wandb")
    assert not (tmp_path / "run").exists()


def test_a_population_has_no_runs_of_trackers(tmp_path, monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: name)
    settings = {**PAIRS, "data_path": str(write_micro(tmp_path / "dataset")), "tracker": "csv,mlflow"}
    with pytest.raises(UserError, match="take over each other's states, which mlflow would show"):
        make_plan("BPR", "micro", scheduler="pbt", settings=settings)
