"""Blocks on a cluster: what they are here, whoever dies; and each thing that goes wrong a sentence."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from recbole_cadmr.cli.main import main
from recbole_cadmr.errors import UserError
from recbole_cadmr.execution import nodes
from recbole_cadmr.execution.nodes import check_versions
from recbole_cadmr.execution.ray_blocks import over_cluster
from recbole_cadmr.extract.device import place_of
from recbole_cadmr.extract.image import extract_images
from tests.extract.networks import minilm
from tests.extract.test_image import drawn, weights  # noqa: F401 - a fixture

# A driver on a head that computes nothing, and nodes of a core each with addresses of their own, of which one dies in
# the middle, then the other; another one joins; then an object is put that no store holds; at last the head dies.
DRIVER = """
import hashlib, sys, threading, time
from pathlib import Path
import numpy as np
from ray.cluster_utils import Cluster
from recbole_cadmr.blocks import here
from recbole_cadmr.errors import UserError
from recbole_cadmr.execution import ray_blocks
from recbole_cadmr.extract.shards import in_shards

out = Path(sys.argv[1])
config = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "local_fs_capacity_threshold": 0.001}
head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 * 2**20, "_system_config": config}
cluster = Cluster(initialize_head=True, head_node_args=head)

def node(number):
    return cluster.add_node(num_cpus=1, node_ip_address=f"127.0.0.{number}", object_store_memory=80 * 2**20)

class Draw:
    def __init__(self, table):
        self.table = table
    def __call__(self, part):
        time.sleep(0.1)
        with open(out / "calls", "a") as file:
            file.write(f"{part.start}\\n")
        return self.table[part] * np.random.default_rng(part.start).random((10, 3)), np.zeros(10)

def vectors(store, over, n=120):
    compute = Draw(np.arange(360.0).reshape(120, 3))
    keys = [hashlib.sha256(bytes([place])).digest() for place in range(n)]
    how = {"encoder": {}, "card": {}, "size": 10, "read": lambda places: slice(places[0], places[-1] + 1)}
    found = in_shards(out / store, keys, 3, compute, **how, over=over)
    return found.features.read_bytes()

def finished(store):
    return len(list((out / store).glob("vectors/*/[!.]*.npz")))

def when(shards, store, act, *arguments):
    def wait():
        while finished(store) < shards:
            time.sleep(0.02)
        act(*arguments)
    threading.Thread(target=wait, daemon=True).start()

def calls():
    counts = np.bincount(np.loadtxt(out / "calls", int) // 10, minlength=12)
    (out / "calls").unlink()
    return counts

def said(act):
    try:
        act()
    except UserError as error:
        print(error)

whole = vectors("here", here)
calls()
first, second = node(2), node(3)
cluster.wait_for_nodes()
with ray_blocks.over_cluster(cluster.address) as over:
    when(3, "two", cluster.remove_node, second, False)
    assert vectors("two", over) == whole
    print("computed again:", calls().sum() - 12)
    ray_blocks._PATIENCE = 1.0
    when(3, "none", cluster.remove_node, first, False)
    said(lambda: vectors("none", over))
    kept = finished("none")
    before = calls()
    assert 3 <= kept < 12, kept
    third = node(4)
    ray_blocks._PATIENCE = 60.0
    assert vectors("none", over) == whole
    print("computed:", calls().sum() + kept)
    said(lambda: list(over(Draw(np.zeros((100, 2**17))), [(0, slice(0, 10))])))
    (raylet,) = cluster.head_node.all_processes["raylet"]
    when(3, "dead", raylet.process.kill)
    said(lambda: vectors("dead", over))
"""


def test_a_node_that_dies_costs_its_blocks_and_a_cluster_that_dies_a_sentence(tmp_path):
    environment = {**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-c", DRIVER, str(tmp_path)]
    driver = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert driver.returncode == 0, driver.stdout + driver.stderr
    again, *said = driver.stdout.splitlines()
    assert again in ("computed again: 0", "computed again: 1")
    assert said.pop(1) == "computed: 12"
    kept = "what is finished is kept, and the same command goes on from there"
    assert said[0] == f"no living node of the Ray cluster has 1 free cores for a block; {kept}"
    assert (
        said[1].startswith("the object store of the Ray cluster is full; start its nodes with a larger")
        and kept in said[1]
    )
    assert said[2].startswith("the Ray cluster has failed: ") and said[2].endswith(kept)
    assert len(said) == 3


@pytest.fixture(scope="module")
def over():
    with over_cluster("local") as over:
        yield over


def test_a_block_is_computed_from_what_travelled_with_the_function(over):
    table = np.arange(12.0).reshape(4, 3)
    found = dict(over(table.__getitem__, ((row, slice(row, row + 2)) for row in range(3))))
    assert {row: block.tolist() for row, block in found.items()} == {r: table[r : r + 2].tolist() for r in range(3)}
    assert list(over(len, [])) == []


def _refuse(_):
    raise UserError("the block is bad")


def _defect(_):
    return [][0]


def _too_large(_):
    return np.empty(2**60)


@pytest.mark.parametrize(
    ("act", "kind", "sentence"),
    [
        (_refuse, UserError, "^the block is bad$"),
        (_defect, IndexError, "list index out of range"),
        (_too_large, UserError, "^a node of the Ray cluster has not enough memory for a block; what is finished"),
    ],
)
def test_what_is_raised_on_a_node(over, act, kind, sentence):
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # nodes may have been started elsewhere
    with pytest.raises(kind, match=sentence):
        list(over(act, [(0, 0)]))


def test_a_node_without_the_package(over, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def act(block):\n    return block\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here

    with pytest.raises(
        UserError, match="^a node of the Ray cluster cannot run recbole_cadmr: No module named 'only_here'; what"
    ):
        list(over(only_here.act, [(0, 0)]))


def test_a_node_with_another_version(over, monkeypatch):
    own = nodes.versions()
    check_versions(over.ray)
    monkeypatch.setattr(nodes, "versions", lambda: {**own, "scipy": f"1.{os.getpid()}"})
    with pytest.raises(UserError, match=r"of the Ray cluster has scipy 1\.\d+, and this machine 1\.\d+: results would"):
        check_versions(over.ray)


def test_texts_are_encoded_there(tmp_path, capsys):
    source = tmp_path / "raw"
    source.mkdir()
    (source / "MicroLens-50k_pairs.tsv").write_text("1\t10 11 12\n2\t11 10\n3\t12\n")
    (source / "MicroLens-50k_titles.csv").write_text("item,title\n10,Soft blanket\n11,A tool kit\n12,\n")
    command = ["prepare", "microlens", f"--source={source}", f"--text_model={minilm()}", "--device=cpu"]
    command.append("--vector_cache=0")
    for name, where in (("here", []), ("there", ["--ray-address=local"])):
        assert main([*command, f"--data_path={tmp_path / name}", *where]) == 0
    one, two = (tmp_path / name / "microlens50k" / "microlens50k.text.npy" for name in ("here", "there"))
    assert np.load(one).shape == (2, 384) and one.read_bytes() == two.read_bytes()
    none = ["--text_model=none", "--image_model=none", "--ray-address=local", f"--data_path={tmp_path}"]
    assert main(["prepare", "microlens", f"--source={source}", *none]) == 2
    sentence = "error: --ray-address is for encoding, and both --text_model and --image_model are none\n"
    assert capsys.readouterr().err.endswith(sentence)


def test_pictures_that_no_node_sees(over, weights, tmp_path):  # noqa: F811
    paths = [tmp_path / name for name in ("a.png", "b.png", "absent.png", "junk.png")]
    for seed in range(2):
        drawn(seed).save(paths[seed])
    paths[3].write_bytes(b"junk")
    how = {"model": "alexnet", "weights": weights}
    one = extract_images([*paths, None], tmp_path / "1", **how)
    two = extract_images([*paths, None], tmp_path / "2", **how, over=over)
    assert one.features.read_bytes() == two.features.read_bytes() and one.card == two.card
    assert one.present.tolist() == two.present.tolist() == [True, True, False, False, False]
    assert one.damaged == two.damaged == [3]


def test_a_device_that_is_not_there_is_a_sentence():
    with pytest.raises(UserError, match="^cannot compute on --device cuda:99: "):
        place_of("cuda:99")
