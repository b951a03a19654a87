"""Which GPU a run sees, and what it leaves to others."""

from __future__ import annotations

import os

import pytest

from recbole_cadmr.config.config import Config


@pytest.mark.parametrize("given", [None, "", "1", "GPU-5b2c"])
def test_a_config_leaves_the_devices_of_the_process_as_they_were(monkeypatch, given):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    first = Config("BPR", settings={"use_gpu": False})
    second = Config("BPR", settings={"use_gpu": True})
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == given
    assert first["device"].type == "cpu" and first["gpu_id"] == ""
    assert second["gpu_id"] == ("0" if given is None else given)  # a launcher's choice is kept


def test_a_gpu_that_is_named_stands_above_the_launcher_s(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert Config("BPR", settings={"gpu_id": 3})["gpu_id"] == "3"
