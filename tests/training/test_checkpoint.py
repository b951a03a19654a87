"""Checkpoints come back as they went in, and never run what they hold."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recbole_cadmr.errors import UserError
from recbole_cadmr.runs.train import train
from recbole_cadmr.training import resumable_trainer
from recbole_cadmr.training.callbacks import TrainingCallback
from recbole_cadmr.training.checkpoint import load_checkpoint, load_settings, save_checkpoint, to_plain
from tests.micro import PAIRS, write_micro


def test_round_trip_keeps_values_types_and_formats(tmp_path):
    dense = np.arange(6, dtype=np.float32).reshape(2, 3)
    content = {
        "tensor": torch.arange(4).reshape(2, 2),
        "array": dense,
        "matrix": np.asmatrix(dense),
        "lil": sp.lil_matrix(dense),
        "csc": sp.csc_matrix(dense),
        "number": np.float64(0.25),
        "nested": [1, (2.5, None, "word", True)],
    }
    save_checkpoint(tmp_path / "c.pt", content)
    loaded = load_checkpoint(tmp_path / "c.pt")
    assert torch.equal(loaded["tensor"], content["tensor"])
    assert type(loaded["array"]) is np.ndarray and np.array_equal(loaded["array"], dense)
    assert type(loaded["matrix"]) is np.matrix and np.array_equal(loaded["matrix"], dense)
    for name in ("lil", "csc"):
        assert loaded[name].format == name and np.array_equal(loaded[name].toarray(), dense)
    assert loaded["number"] == 0.25 and type(loaded["number"]) is float
    assert loaded["nested"] == [1, (2.5, None, "word", True)]


def test_settings_alone(tmp_path):
    save_checkpoint(tmp_path / "c.pt", {"settings": {"topk": [5, 10], "fit": "sparse"}, "large": sp.eye(9).tocsr()})
    assert load_settings(tmp_path / "c.pt") == {"topk": [5, 10], "fit": "sparse"}
    save_checkpoint(tmp_path / "c.pt", {"epoch": 1})
    assert load_settings(tmp_path / "c.pt") is None
    with pytest.raises(UserError, match="there is no checkpoint"):
        load_settings(tmp_path / "absent.pt")


def test_a_large_matrix_is_held_once_when_it_is_written_and_when_the_best_model_is_read(tmp_path, monkeypatch):
    matrix, held = sp.eye(9, dtype=np.float32).tocsr(), []
    plain = to_plain({"weights": matrix})["weights"]
    assert all(np.shares_memory(plain[name].numpy(), getattr(matrix, name)) for name in ("data", "indices", "indptr"))

    class Watched(TrainingCallback):
        def on_validation(self, trainer, validation):
            self.trainer = trainer

    def load(path, device):
        held.append(watched.trainer.model.closed_form.weights)
        return load_checkpoint(path, device)

    monkeypatch.setattr(resumable_trainer, "load_checkpoint", load)
    watched, settings = Watched(), {**PAIRS, "data_path": str(write_micro(tmp_path)), "fit": "sparse"}
    run = train("LinearCADMR", "micro", settings=settings, callbacks=[watched], output=tmp_path / "run")
    assert held == [None] and watched.trainer.model.closed_form.weights is not None
    assert run.result["test_result"]["recall@2"] == 0.25


class _Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_a_hostile_pickle_does_not_run(tmp_path, kind):
    trap = tmp_path / "ran"
    file = tmp_path / "model.pt"
    if kind == "torch":
        torch.save({"format": "recbole_cadmr checkpoint", "state": _Hostile(trap)}, file)
    else:
        file.write_bytes(pickle.dumps(_Hostile(trap)))
    with pytest.raises(UserError, match="never run|damaged"):
        load_checkpoint(file)
    assert not trap.exists()


@pytest.mark.parametrize("junk", [b"", b"junk", b"PK\x03\x04 cut short"])
def test_junk_is_one_sentence(tmp_path, junk):
    (tmp_path / "model.pt").write_bytes(junk)
    with pytest.raises(UserError, match="model.pt"):
        load_checkpoint(tmp_path / "model.pt")


def test_a_truncated_checkpoint_and_a_foreign_one_are_refused(tmp_path):
    save_checkpoint(tmp_path / "whole.pt", {"t": torch.zeros(1000)})
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:2000])
    with pytest.raises(UserError, match="damaged|not a checkpoint"):
        load_checkpoint(tmp_path / "cut.pt")
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="not a checkpoint of this package"):
        load_checkpoint(tmp_path / "other.pt")
    with pytest.raises(UserError, match="there is no checkpoint"):
        load_checkpoint(tmp_path / "absent.pt")


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path):
    save_checkpoint(tmp_path / "c.pt", {"epoch": 1})
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(tmp_path / "c.pt", {"epoch": 2, "bad": lambda: None})
    assert load_checkpoint(tmp_path / "c.pt")["epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]
