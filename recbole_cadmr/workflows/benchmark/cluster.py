"""Cells run on a Ray cluster: data travel once a node, results come back as files, nothing has to be shared."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from recbole_cadmr.errors import UserError
from recbole_cadmr.workflows.benchmark.pool import LOG, RUN, SETTINGS, Done, Task, last_words

_KEPT = ("result.json", "model.pt", "test_lists.npz", "learning_curves.svg")


def run_on_cluster(tasks: Sequence[Task], address: str, started: Callable[[Task], None], done: Done) -> None:
    """Run tasks on the cluster at ``address`` (``local`` starts one on this machine).

    Each task asks for its threads as cores, its memory, and, on a cluster with GPUs, for one of these. Every node needs
    this package installed.

    Raises:
        UserError: if the cluster cannot be reached, or no node has what a task asks for.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if address != "local":
            socket.create_connection((host, int(port)), timeout=10).close()  # Ray itself would try for half a minute
        ray.init(address=address, log_to_driver=False, **({"include_dashboard": False} if address == "local" else {}))
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"there is no Ray cluster at {address} ({str(error).splitlines()[0]}); give HOST:PORT"
        ) from error
    try:
        _run(ray, tasks, started, done)
    finally:
        ray.shutdown()


def _run(ray: Any, tasks: Sequence[Task], started: Callable[[Task], None], done: Done) -> None:
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    packed: dict[Path, Any] = {}
    waiting: dict[Any, tuple[Task, float]] = {}
    for task in tasks:
        if not _fits(ray.nodes(), task, gpus):
            task.prepare()
            task.fail(f"skipped: no node of the cluster has {task.threads} cores and {task.memory / 2**30:.1f} GB free")
            done(task, 0.0)
            continue
        data = task.cell.contender.config().data_folder
        if data not in packed:
            packed[data] = ray.put(_pack(data))
        task.prepare()
        started(task)
        remote = ray.remote(_run_cell).options(
            num_cpus=task.threads, num_gpus=gpus, memory=task.memory, max_retries=2
        )  # a node may die
        settings = (task.folder / SETTINGS).read_text(encoding="utf-8")
        waiting[remote.remote(settings, packed[data], data.name)] = (task, time.monotonic())
    while waiting:
        (ready,), _ = ray.wait(list(waiting), num_returns=1)
        task, start = waiting.pop(ready)
        try:
            files, log = ray.get(ready)
        except Exception as error:  # whatever kept the task from ending, it is this task's failure alone
            task.fail(f"failed: {str(error).splitlines()[-1]}")
        else:
            (task.folder / LOG).write_text(log, encoding="utf-8")
            task.run.mkdir(exist_ok=True)
            for name in sorted(files, key=lambda name: name == "result.json"):  # which says that the run is whole
                (task.run / name).write_bytes(files[name])
            if not task.finished:
                task.fail(f"failed: {last_words(task.folder / LOG)} (all of it: {task.folder / LOG})")
        done(task, time.monotonic() - start)


def _fits(nodes: Sequence[dict[str, Any]], task: Task, gpus: int) -> bool:
    return any(
        node["Alive"]
        and node["Resources"].get("CPU", 0) >= task.threads
        and node["Resources"].get("GPU", 0) >= gpus
        and node["Resources"].get("memory", 0) >= task.memory
        for node in nodes
    )


def _pack(folder: Path) -> bytes:
    """A data set's files as one archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.iterdir()):
            if path.is_file():
                archive.write(path, path.name)
    return file.getvalue()


def _unpack(packed: bytes, name: str) -> Path:
    """The data set's parent folder on this node, written by the first task that needs it."""
    root = Path(tempfile.gettempdir()) / f"recbole_cadmr-{hashlib.sha256(packed).hexdigest()[:16]}"
    if not root.is_dir():
        aside = Path(tempfile.mkdtemp(dir=root.parent))
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            archive.extractall(aside / name)
        with suppress(OSError):  # another task was faster
            aside.rename(root)
    return root


def _run_cell(settings: str, packed: bytes, dataset: str) -> tuple[dict[str, bytes], str]:
    """Run a cell on a node; its files by name, and its log."""
    data_path = _unpack(packed, dataset)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / SETTINGS).write_text(settings, encoding="utf-8")
        command = [sys.executable, "-m", "recbole_cadmr", "train", "--config_files", str(folder / SETTINGS)]
        with open(folder / LOG, "wb") as log:
            subprocess.run(
                [*command, "--data_path", str(data_path), "--output", str(folder / RUN)], stdout=log, stderr=log
            )
        files = {name: (folder / RUN / name).read_bytes() for name in _KEPT if (folder / RUN / name).is_file()}
        return files, (folder / LOG).read_text(encoding="utf-8", errors="replace")
