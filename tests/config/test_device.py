"""Which GPU a run sees, and what it leaves to others."""

from __future__ import annotations

import os

import pytest
import torch

from recbole_cadmr.config import devices
from recbole_cadmr.config.config import Config
from recbole_cadmr.config.devices import given_devices, set_devices
from recbole_cadmr.errors import UserError


@pytest.fixture(autouse=True)
def no_devices(monkeypatch):
    """Nobody has chosen any device before."""
    monkeypatch.setattr(devices, "_devices", {})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that it is put back
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize("given", [None, "", "1", "GPU-5b2c"])
def test_runs_on_the_cpu_leave_the_devices_of_the_process_as_they_were(given):
    set_devices(given)
    first = Config("BPR", settings={"use_gpu": False})
    second = Config("BPR", settings={"use_gpu": True})
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == given
    assert first["device"].type == "cpu" and first["gpu_id"] == ""
    assert second["gpu_id"] == ("0" if given is None else given)  # a launcher's choice is kept


def test_what_a_run_on_a_gpu_chooses_is_not_taken_for_a_launcher_s_choice(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Config("BPR", settings={"gpu_id": 2})["device"].type == "cuda"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2" and given_devices() is None
    assert Config("BPR")["gpu_id"] == "0"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0" and given_devices() is None
    Config("BPR", settings={"use_gpu": False})
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    set_devices("1")
    assert Config("BPR")["gpu_id"] == "1" and given_devices() == "1"


def test_mixed_precision_is_for_models_of_recbole_alone():
    assert Config("BPR", settings={"enable_amp": True})["enable_amp"]
    for model in ("MGCN", "CADMR", "LinearCADMR"):  # sparse products and fits have no other precision
        with pytest.raises(UserError, match=f"^{model} computes in float32 only; leave out enable_amp$"):
            Config(model, settings={"enable_amp": True})


def test_a_gpu_that_is_named_stands_above_the_launcher_s(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert Config("BPR", settings={"gpu_id": 3})["gpu_id"] == "3"
