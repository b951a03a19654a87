"""A search on a cluster of two nodes, of which one dies."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

import recbole_cadmr
from recbole_cadmr.errors import UserError
from recbole_cadmr.tuning.outputs import best_settings
from recbole_cadmr.tuning.plan import make_plan, read_plan
from recbole_cadmr.tuning.resources import Resources
from recbole_cadmr.tuning.search import search
from recbole_cadmr.tuning.trial_folder import MARK, TrialContext, TrialFolder
from recbole_cadmr.tuning.trial_record import FINISHED, folder_of, read_records
from recbole_cadmr.tuning.tune import run_plan

# A driver that loses its node exits, so that it is a process of its own: it searches on a head with a core for a trial
# and another node with one, and kills that node while a trial on each is half way. A driver joins any node of its own
# address; with an address of its own, the second node is never that one. Prints which trials ran when it died.
DRIVER = """
import sys, threading, time
from pathlib import Path
from ray.cluster_utils import Cluster
from recbole_cadmr.tuning.trial_record import read_records
from recbole_cadmr.tuning.resources import Resources
from recbole_cadmr.tuning.tune import tune

out, settings = Path(sys.argv[1]), {"pretrain_epochs": 10, "epochs": 10, "show_progress": False}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1, node_ip_address="127.0.0.2")
cluster.wait_for_nodes()
died = []

def kill():
    end = time.monotonic() + 120
    while time.monotonic() < end and not died:
        running = [r for r in read_records(out) if r.status == "running" and r.epochs >= 3] if out.is_dir() else []
        if len(running) == 2:
            cluster.remove_node(second, allow_graceful=False)
            died.extend(record.number for record in running)
        time.sleep(0.1)

killer = threading.Thread(target=kill)
killer.start()
resources = Resources(address=cluster.address)
found = tune("CADMR", output=out, trials=3, scheduler="fifo", settings=settings, resources=resources)
killer.join()
assert found.records == read_records(out)
print("died:", *died)
cluster.shutdown()
"""


def test_a_search_runs_across_two_nodes_and_survives_the_death_of_one(tmp_path):
    out = tmp_path / "out"
    # Ray listens on the loopback device alone.
    environment = {**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    driver = subprocess.run(
        [sys.executable, "-c", DRIVER, str(out)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert driver.returncode == 0, driver.stdout + driver.stderr
    assert "2 trials at once, 1 cores each" in driver.stdout
    died = list(map(int, re.search("^died: (.*)$", driver.stdout, re.M)[1].split()))
    records = read_records(out)
    assert len(died) == 2
    assert [record.status for record in records] == [FINISHED] * 3
    assert all(record.epochs == 20 for record in records)
    assert sorted(record.deaths for record in records) == [0, 0, 1]
    lost = next(record for record in records if record.deaths)
    assert lost.number in died
    # It went on from its state, and is what it would have been.
    run = recbole_cadmr.train(output=tmp_path / "alone", settings=best_settings(read_plan(out), lost))
    assert [entry["valid_score"] for entry in run.result["history"]] == [r["valid_score"] for r in lost.reports]


def test_a_machine_that_does_not_see_the_folder_sends_what_it_finds(tmp_path, monkeypatch):
    plan = make_plan("BPR", None, trials=2, scheduler="fifo", settings={"epochs": 6, "show_progress": False})
    seen, unseen = tmp_path / "seen", tmp_path / "unseen"
    found = run_plan(plan, seen, Resources(), test=False)
    # A trial knows by a mark whether it sees the folder; with another one in the job it does not.
    monkeypatch.setattr("recbole_cadmr.tuning.search.Job", lambda *a: TrialContext(*a[:5], "another", *a[6:]))
    other = run_plan(plan, unseen, Resources(), test=True)
    assert [r.reports[-1]["valid_score"] for r in other.records] == [
        r.reports[-1]["valid_score"] for r in found.records
    ]
    assert other.test is not None and (other.run / "model.pt").is_file() and not (other.run / "log").exists()


def test_a_population_needs_a_folder_that_all_machines_see(tmp_path, monkeypatch):
    plan = make_plan("BPR", None, trials=4, scheduler="pbt", settings={"epochs": 6, "show_progress": False})
    monkeypatch.setattr("recbole_cadmr.tuning.search._sees", lambda root, mark: False)
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
    job = TrialContext("BPR", "synthetic", None, {}, str(root), "other", False, 1, True)
    with TrialFolder(job, Records(), 3) as place:
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
    with TrialFolder(
        TrialContext("BPR", "synthetic", None, {}, str(root), "mine", False, 1, True), Records(), 3
    ) as place:
        assert place.folder == folder_of(root, 3)
