"""A search on a cluster of two nodes, of which one dies."""

from __future__ import annotations

import os
import threading
import time

import pytest

import recbole_cadmr
from recbole_cadmr.errors import UserError
from recbole_cadmr.workflows.tune.files import best_settings
from recbole_cadmr.workflows.tune.place import MARK, Job, Place
from recbole_cadmr.workflows.tune.plan import make_plan
from recbole_cadmr.workflows.tune.records import FINISHED, folder_of, read_records
from recbole_cadmr.workflows.tune.resources import Resources
from recbole_cadmr.workflows.tune.search import search
from recbole_cadmr.workflows.tune.tune import run_plan, tune

SETTINGS = {"pretrain_epochs": 10, "epochs": 10, "show_progress": False}


@pytest.fixture
def cluster(monkeypatch):
    """A head with a core for a trial, and another node with one."""
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # on the loopback device alone
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.second = nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes
    nodes.shutdown()


def test_a_search_runs_across_two_nodes_and_survives_the_death_of_one(cluster, tmp_path, capsys):
    out, died = tmp_path / "out", []

    def kill():
        """Kill the second node while a trial on each is half way."""
        end = time.monotonic() + 120
        while time.monotonic() < end and not died:
            running = [r for r in read_records(out) if r.status == "running" and r.epochs >= 3] if out.is_dir() else []
            if len(running) == 2:
                cluster.remove_node(cluster.second, allow_graceful=False)
                died.extend(record.number for record in running)
            time.sleep(0.1)

    killer = threading.Thread(target=kill)
    killer.start()
    found = tune("CADMR", output=out, trials=3, scheduler="fifo", settings=SETTINGS,
                 resources=Resources(address=cluster.address))  # fmt: skip
    killer.join()
    assert "2 trials at once, 1 cores each" in capsys.readouterr().out
    assert len(died) == 2
    assert [record.status for record in found.records] == [FINISHED] * 3
    assert all(record.epochs == 20 for record in found.records)
    assert sorted(record.deaths for record in found.records) == [0, 0, 1]
    lost = next(record for record in found.records if record.deaths)
    assert lost.number in died
    # It went on from its state, and is what it would have been.
    run = recbole_cadmr.train(output=tmp_path / "alone", settings=best_settings(found.plan, lost))
    assert [entry["valid_score"] for entry in run.result["history"]] == [r["valid_score"] for r in lost.reports]


def test_a_machine_that_does_not_see_the_folder_sends_what_it_finds(tmp_path, monkeypatch):
    plan = make_plan("BPR", None, trials=2, scheduler="fifo", settings={"epochs": 6, "show_progress": False})
    seen, unseen = tmp_path / "seen", tmp_path / "unseen"
    found = run_plan(plan, seen, Resources(), test=False)
    # A trial knows by a mark whether it sees the folder; with another one in the job it does not.
    monkeypatch.setattr("recbole_cadmr.workflows.tune.search.Job", lambda *a: Job(*a[:5], "another", *a[6:]))
    other = run_plan(plan, unseen, Resources(), test=True)
    assert [r.reports[-1]["valid_score"] for r in other.records] == [
        r.reports[-1]["valid_score"] for r in found.records
    ]
    assert other.test is not None and (other.run / "model.pt").is_file() and not (other.run / "log").exists()


def test_a_population_needs_a_folder_that_all_machines_see(tmp_path, monkeypatch):
    plan = make_plan("BPR", None, trials=4, scheduler="pbt", settings={"epochs": 6, "show_progress": False})
    monkeypatch.setattr("recbole_cadmr.workflows.tune.search._sees", lambda root, mark: False)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="needs an --output that all machines of the cluster see"):
        search(plan, tmp_path / "out", Resources())


def test_a_place_elsewhere_fetches_and_sends(tmp_path):
    root, sent = tmp_path / "root", {}

    class Records:
        def send(self, number, names):
            return {name: b"state" for name in names if name == "run/resume.pt"}

        def receive(self, number, files):
            sent.update(files)

    root.mkdir()
    (root / MARK).write_text("mine")
    job = Job("BPR", "synthetic", None, {}, str(root), "other", False, 1, True)
    with Place(job, Records(), 3) as place:
        assert (place.folder / "run" / "resume.pt").read_bytes() == b"state"
        assert place.folder != folder_of(root, 3) and not place.is_finished
        (place.folder / "run" / "model.pt").write_bytes(b"model")
        place.deliver()
        assert sent == {"run/resume.pt": b"state", "run/model.pt": b"model"}
        sent.clear()
        place.deliver()
        assert sent == {}  # nothing is new
        scratch = place.folder
    assert not os.path.exists(scratch)
    with Place(Job("BPR", "synthetic", None, {}, str(root), "mine", False, 1, True), Records(), 3) as place:
        assert place.folder == folder_of(root, 3)
