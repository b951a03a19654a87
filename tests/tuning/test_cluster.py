"""A search on a cluster of two nodes, of which one dies."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import nullcontext

import pytest

import recbole_cadmr
from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.execution import ray_api
from recbole_cadmr.execution.shared_folder import check_shared
from recbole_cadmr.tuning.outputs import best_settings
from recbole_cadmr.tuning.plan import read_plan
from recbole_cadmr.tuning.resources import Resources
from recbole_cadmr.tuning.trial import TrialContext
from recbole_cadmr.tuning.trial_record import read_records
from recbole_cadmr.tuning.tune import tune

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

out, settings = Path(sys.argv[1]), {"pretrain_epochs": 8, "epochs": 6, "show_progress": False}
# A node is asked every half second whether it lives; that it answers late is no death.
often = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500}
head = {"num_cpus": 1, "include_dashboard": False, "_system_config": often}
cluster = Cluster(initialize_head=True, head_node_args=head)
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
    assert "2 trials at once, 1 core each" in driver.stdout
    died = list(map(int, re.search("^died: (.*)$", driver.stdout, re.M)[1].split()))
    records = read_records(out)
    assert len(died) == 2
    assert [record.status for record in records] == ["finished"] * 3
    assert all(record.epochs == 14 for record in records)
    assert sorted(record.deaths for record in records) == [0, 0, 1]
    lost = next(record for record in records if record.deaths)
    assert lost.number in died
    # It went on from its state, and is what it would have been.
    run = recbole_cadmr.train(output=tmp_path / "alone", settings=best_settings(read_plan(out), lost))
    assert [entry["valid_score"] for entry in run.result["history"]] == [r["valid_score"] for r in lost.reports]


@pytest.fixture
def cluster(monkeypatch):
    """A cluster of this machine at an address, as if it were one of several machines."""
    with ray_api.connected("local") as ray:
        monkeypatch.setattr(ray_api, "connected", lambda *_: nullcontext(ray))
        yield Resources(address="head:6379")


def test_a_search_needs_a_folder_that_all_nodes_see(cluster, tmp_path, monkeypatch):
    options = {"output": tmp_path / "out", "trials": 2, "settings": {"epochs": 6}, "resources": cluster}

    def blind(ray, root, mark):
        check_shared(ray, root, "another")  # as it stands in a folder of that path on another machine

    with monkeypatch.context() as patch:
        patch.setattr("recbole_cadmr.tuning.search.check_shared", blind)
        with pytest.raises(
            UserError, match=f"does not see {tmp_path}/out; choose an --output on storage that all nodes"
        ):
            tune("BPR", **options)
    assert not (tmp_path / "out").exists()  # nothing has begun
    # A node that joins later.
    monkeypatch.setattr("recbole_cadmr.tuning.search.check_shared", lambda *_: None)
    monkeypatch.setattr("recbole_cadmr.tuning.search.TrialContext", lambda *a: TrialContext(*a[:2], "another", a[3]))
    with pytest.raises(UserError, match=f"a node of the Ray cluster does not see {tmp_path}/out; what is finished is"):
        tune("BPR", **options)
    assert read_records(tmp_path / "out") == []


def test_a_cluster_that_is_not_there_is_one_sentence_and_leaves_nothing_behind(tmp_path, capsys):
    assert main(["tune", "--model=BPR", "--ray-address=127.0.0.1:1", f"--output={tmp_path / 'out'}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: there is no Ray cluster at 127.0.0.1:1") and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()
