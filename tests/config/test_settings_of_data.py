"""What a data set's own yaml may say, and which names may become part of a file's."""

from __future__ import annotations

import shutil

import pytest

from recbole_cadmr.config.config import Config
from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.session import restore_config
from recbole_cadmr.training.checkpoint import load_checkpoint, save_checkpoint
from tests.micro import write_micro


def with_yaml(tmp_path, text):
    """The settings of a run on the micro set with ``text`` at the end of its yaml."""
    folder = write_micro(tmp_path)
    with open(folder / "micro" / "micro.yaml", "a") as file:
        file.write(text + "\n")
    return Config("BPR", "micro", settings={"data_path": str(folder), "topk": [1], "valid_metric": "Recall@1"})


@pytest.mark.parametrize(
    "line",
    ["output: elsewhere", "checkpoint_dir: elsewhere", "evaluate_test: false", "seed: 7", "epochs: 1", "use_gpu: false",
     "data_path: /", "model: BPR", "dataset: other", "preset: paper", "learning_rate: 0.1", "log_wandb: true"],
)  # fmt: skip
def test_what_does_not_concern_the_data_is_refused(tmp_path, line):
    name = line.partition(":")[0]
    with pytest.raises(UserError, match=f"micro.yaml may only say how the data are read.*which {name} does not"):
        with_yaml(tmp_path, line)


def test_what_concerns_the_data_is_taken(tmp_path):
    config = with_yaml(tmp_path, "data_note: small\nmask_valid_at_test: true\nencoding: latin-1\nmetrics: [Recall]")
    assert (config["data_note"], config["mask_valid_at_test"], config["encoding"]) == ("small", True, "latin-1")
    assert config["metrics"] == ["Recall"]


@pytest.mark.parametrize("name", ["../secret", "a/../../secret/train", "/etc/passwd", "..", ".hidden", "", "a\\b"])
@pytest.mark.parametrize("setting", ["benchmark_filename", "modalities", "item_graphs"])
def test_a_name_leads_nowhere_else(setting, name):
    with pytest.raises(UserError, match=f"{setting} must be a list, each a name that may be part"):
        Config("BPR", settings={setting: [name, "valid", "test"]})


def test_a_checkpoint_decides_nothing_about_the_machine(brief_run, tmp_path):
    content = load_checkpoint(brief_run.checkpoint)
    content["settings"] |= {"output": str(tmp_path / "out"), "checkpoint_dir": str(tmp_path / "saved"), "gpu_id": "7"}
    shutil.copytree(brief_run.folder, tmp_path / "run")
    save_checkpoint(tmp_path / "run" / "model.pt", content)
    config = restore_config(load_checkpoint(tmp_path / "run" / "model.pt"))
    assert config["output"] is None and config["checkpoint_dir"] == "saved" and config["gpu_id"] != "7"
