"""Runs on a cluster: in the folder that its nodes share, resumed where they were cut, with the data set sent."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.execution import ray_api, shared_folder
from recbole_cadmr.execution import ray_runner as module
from recbole_cadmr.execution.ray_runner import RayRunner, _run_on_node
from recbole_cadmr.execution.run_spec import ModelSpec, RunSpec
from recbole_cadmr.execution.shared_folder import check_shared, marked
from recbole_cadmr.files import cache_folder
from recbole_cadmr.runs.result import read_result
from recbole_cadmr.runs.session import read_checkpoint
from tests.micro import write_micro

PREVIOUS = Path(__file__).parents[1] / "previous_version"
ADDRESS = "head:6379"
SETTINGS = {"topk": [1, 2], "valid_metric": "Recall@2", "show_progress": False}


def _lacks_the_package(root, mark):
    raise ModuleNotFoundError("No module named 'recbole_cadmr'")


@pytest.fixture(scope="module")
def ray():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_worker_niceness")  # which conftest.py sets for other clusters
        with ray_api.connected("local") as ray:
            yield ray


@pytest.fixture
def elsewhere(ray, monkeypatch):
    """The same cluster at an address, as if it were one of several machines."""

    @contextmanager
    def at(address):
        assert address == ADDRESS
        yield ray

    monkeypatch.setattr(module, "connected", at)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_micro(tmp_path_factory.mktemp("cluster") / "dataset")


def ease(data, folder, **needs):
    return RunSpec(ModelSpec("EASE", None, "micro", {**SETTINGS, "data_path": str(data)}), 1, folder, **needs)


def run(runner, *specs):
    """Run specs; what was started and what ended, in order."""
    events = []
    runner.run(specs, lambda spec: events.append(("start", spec)), lambda spec, _: events.append(("end", spec)))
    return events


def test_runs_do_not_give_way_to_other_work_on_the_machine(ray):
    def niceness():
        return os.nice(0)

    assert ray.get(ray.remote(niceness).remote()) == os.nice(0)


def test_runs_are_what_they_are_here_and_what_fails_stops_nothing(ray, elsewhere, data, tmp_path):
    broken = write_micro(tmp_path / "broken", train=["ann a", "ann b", "bob b", "bob a"])  # leaves no negative item
    bpr = RunSpec(
        ModelSpec("BPR", None, "micro", {**SETTINGS, "data_path": str(broken)}), 1, tmp_path / "bpr", memory=2**20
    )
    many, large = ease(data, tmp_path / "many", threads=64), ease(data, tmp_path / "large", memory=2**31)
    there = ease(data, tmp_path / "there")
    events = run(RayRunner(ADDRESS, tmp_path, limit=2**30), bpr, many, large, there)
    assert [spec for event, spec in events if event == "start"] == [bpr, there]
    assert {spec.folder for event, spec in events if event == "end"} == {s.folder for s in (bpr, many, large, there)}
    assert bpr.failure.startswith("failed: error: user 'ann' has every item")
    assert many.failure == "skipped: no node of the cluster has 64 cores and 0.0 GB free"
    assert large.failure == "skipped: no node of the cluster has 1 cores and 2.0 GB free"
    assert there.failure is None and not (tmp_path / ".mark").exists()
    recbole_cadmr.train("EASE", "micro", output=tmp_path / "here", settings=there.model_spec.settings)
    here, result = read_result(tmp_path / "here"), read_result(there.run)
    assert result["test_result"] == here["test_result"]
    assert result["fingerprint"] == here["fingerprint"]
    read_from = Path(read_checkpoint(there.run / "model.pt")["settings"]["data_path"])
    assert read_from.is_relative_to(ray.get(ray.remote(cache_folder).remote()) / "cluster")


def test_a_cut_run_is_resumed_in_the_shared_folder(elsewhere, data, tmp_path):
    settings = {**SETTINGS, "data_path": str(data), "embedding_size": 4, "epochs": 4}
    spec = RunSpec(ModelSpec("BPR", None, "micro", settings), 1, tmp_path / "cut")
    shutil.copytree(PREVIOUS / "cut", spec.run)
    run(RayRunner(ADDRESS, tmp_path), spec)
    assert spec.failure is None and not (spec.run / "resume.pt").exists()
    assert read_result(spec.run)["test_result"] == read_result(PREVIOUS / "run")["test_result"]


def test_a_run_that_takes_more_than_its_share_is_stopped(elsewhere, data, tmp_path):
    spec = ease(data, tmp_path / "run")
    run(RayRunner(ADDRESS, tmp_path, limit=2**26), spec)
    assert spec.failure == "stopped: it took more memory than there was (it may use 0.1 GB)"


def test_a_node_that_does_not_see_the_folder_is_refused(ray, elsewhere, data, tmp_path, monkeypatch, capsys):
    with marked(tmp_path) as mark:
        check_shared(ray, tmp_path, mark)
        with pytest.raises(UserError, match="does not see"):
            check_shared(ray, tmp_path, "that of another folder")
        with monkeypatch.context() as patch, pytest.raises(UserError, match="cannot run recbole_cadmr: ModuleNotFound"):
            patch.setattr(shared_folder, "sees", _lacks_the_package)
            check_shared(ray, tmp_path, mark)

    @contextmanager
    def another(root):
        with marked(root):
            yield "that of another folder"

    monkeypatch.setattr(module, "marked", another)
    arguments = ["--models=EASE", "--datasets=micro", f"--data_path={data}", "--topk=[1, 2]", "--valid_metric=Recall@2"]
    assert main(["benchmark", *arguments, f"--output={tmp_path / 'out'}", f"--ray-address={ADDRESS}"]) == 2
    error = capsys.readouterr().err
    assert f"does not see {tmp_path / 'out'}; choose an --output on storage that all nodes share" in error
    assert error.count("\n") == 1 and not (tmp_path / "out" / "cells").exists()


def test_a_node_that_joins_later_and_does_not_see_it_writes_nothing(data, tmp_path):
    spec = ease(data, tmp_path / "run")
    with pytest.raises(UserError, match=f"the node that was to run it does not see {tmp_path}"):
        _run_on_node(spec, data, tmp_path, "that of another folder", None)
    assert not os.listdir(tmp_path)
