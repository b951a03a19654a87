"""Cells run on a Ray cluster: data travel once a node, results come back as files, nothing has to be shared."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.child import command
from recbole_cadmr.execution.dataset_archive import pack, unpack
from recbole_cadmr.execution.local import LOG, RUN, SETTINGS, Done, Task, conclude, stop_if_too_large
from recbole_cadmr.execution.ray_api import connected
from recbole_cadmr.runs.folder import CURVES, RESULT
from recbole_cadmr.runs.topk_lists import LISTS
from recbole_cadmr.training.trainer import BEST

_KEPT = (RESULT, BEST, LISTS, CURVES)


def run_on_cluster(
    tasks: Sequence[Task], address: str, limit: int | None, started: Callable[[Task], None], done: Done
) -> None:
    """Run tasks on the cluster at ``address`` (``local`` starts one on this machine, ``auto`` finds one here).

    Each task asks for its threads as cores, its memory, and, on a cluster with GPUs, for one of these. Every node needs
    this package installed. A task whose node dies starts anew on another one.

    Args:
        limit: bytes a task may use; what it is expected to need is asked for, and not watched, if not given.

    Raises:
        UserError: if the cluster cannot be reached.
    """
    with connected(address) as ray:
        _run(ray, tasks, limit, started, done)


def _run(ray: Any, tasks: Sequence[Task], limit: int | None, started: Callable[[Task], None], done: Done) -> None:
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    packed: dict[Path, Any] = {}
    waiting: dict[Any, Task] = {}
    for task in tasks:
        if not _fits(ray.nodes(), task, gpus) or (limit and task.memory > limit):
            task.fail(f"skipped: no node of the cluster has {task.threads} cores and {task.memory / 2**30:.1f} GB free")
            done(task, 0.0)
            continue
        try:
            task.prepare()
        except UserError as error:
            task.fail(f"failed: {error}")
            done(task, 0.0)
            continue
        data = task.cell.model_spec.resolved.data_folder
        if data not in packed:
            packed[data] = ray.put(pack(data))
        started(task)
        needs = {"num_cpus": task.threads, "num_gpus": gpus, "memory": task.memory, "max_retries": 2}
        settings = (task.folder / SETTINGS).read_text(encoding="utf-8")
        waiting[ray.remote(_run_cell).options(**needs).remote(settings, packed[data], data.name, limit)] = task
    while waiting:
        (ready,), _ = ray.wait(list(waiting), num_returns=1)
        task, seconds = waiting.pop(ready), 0.0
        try:
            files, log, status, stopped, seconds = ray.get(ready)
        except Exception as error:  # whatever kept the task from ending, it is this task's failure alone
            task.fail(f"failed: {next(reversed(str(error).splitlines()), type(error).__name__)}")
        else:
            (task.folder / LOG).write_text(log, encoding="utf-8")
            task.run.mkdir(exist_ok=True)
            for name in sorted(files, key=lambda name: name == RESULT):  # which says that the run is whole
                (task.run / name).write_bytes(files[name])
            conclude(task, status, stopped, limit)
        done(task, seconds)


def _fits(nodes: Sequence[dict[str, Any]], task: Task, gpus: int) -> bool:
    return any(
        node["Alive"]
        and node["Resources"].get("CPU", 0) >= task.threads
        and node["Resources"].get("GPU", 0) >= gpus
        and node["Resources"].get("memory", 0) >= task.memory
        for node in nodes
    )


def _run_cell(
    settings: str, packed: bytes, dataset: str, limit: int | None
) -> tuple[dict[str, bytes], str, int, bool, float]:
    """Run a cell on a node: its files by name, log, exit status, whether it was stopped for its memory, and seconds."""
    data_path, start, stopped = unpack(packed, dataset), time.monotonic(), False
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / SETTINGS).write_text(settings, encoding="utf-8")
        train = command("train", "--config_files", str(folder / SETTINGS))
        with open(folder / LOG, "wb") as log:
            process = subprocess.Popen(
                [*train, "--data_path", str(data_path), "--output", str(folder / RUN)],
                stdin=subprocess.PIPE, stdout=log, stderr=log,
            )  # fmt: skip
            while process.poll() is None:
                stopped = stop_if_too_large(process, limit)
                time.sleep(0.2)
        files = {name: (folder / RUN / name).read_bytes() for name in _KEPT if (folder / RUN / name).is_file()}
        words = (folder / LOG).read_text(encoding="utf-8", errors="replace")
    return files, words, process.returncode, stopped, time.monotonic() - start
