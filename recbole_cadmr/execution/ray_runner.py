"""Runs on a Ray cluster, in a folder that all of its nodes see; data sets travel once a node."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.dataset_archive import pack, unpack
from recbole_cadmr.execution.process import POLL, start
from recbole_cadmr.execution.ray_api import connected
from recbole_cadmr.execution.run_spec import OnEnd, OnStart, RunSpec
from recbole_cadmr.execution.shared_folder import check_shared, marked, sees
from recbole_cadmr.formatting import memory
from recbole_cadmr.models.own import source_of
from recbole_cadmr.models.own_source import ModelSource

_RETRIES = 2  # of a run whose node dies


@dataclass(frozen=True)
class RayRunner:
    """Runs each as a task that does on its node what :class:`LocalRunner` does here.

    A run asks for its threads as cores, its memory, and, on a cluster with GPUs, for one of these. Every node needs
    this package installed. A run whose node dies is resumed on another one.

    Attributes:
        address: of the cluster; ``local`` starts one on this machine, ``auto`` finds one here.
        root: a folder around those of all runs.
        limit: bytes a run may use; what it is expected to need is asked for, and not watched, if None.
    """

    address: str
    root: Path
    limit: int | None = None

    def run(self, specs: Sequence[RunSpec], on_start: OnStart, on_end: OnEnd) -> None:
        """Run all of them; see :class:`Runner`.

        Raises:
            UserError: if the cluster cannot be reached, or one of its nodes does not see ``root``.
        """
        with marked(self.root) as mark, connected(self.address) as ray:
            if self.address != "local":
                check_shared(ray, self.root, mark)
            gpus = 1 if ray.cluster_resources().get("GPU") else 0
            data: dict[Path, Any] = {}  # by folder, for the nodes
            waiting: dict[Any, RunSpec] = {}
            for spec in specs:
                if not _fits(ray.nodes(), spec, gpus) or (self.limit and spec.memory > self.limit):
                    needs = f"{spec.threads} cores and {memory(spec.memory)} free"
                    spec.fail(f"skipped: no node of the cluster has {needs}")
                    on_end(spec, 0.0)
                    continue
                folder = spec.model_spec.config.data_folder
                if folder not in data:
                    data[folder] = folder.parent if self.address == "local" else ray.put(pack(folder))
                task = ray.remote(_run_on_node).options(
                    num_cpus=spec.threads, num_gpus=gpus, memory=spec.memory, max_retries=_RETRIES
                )
                copy = replace(spec, model_spec=replace(spec.model_spec))  # a Config, computed here, is of this machine
                own = source_of(spec.model_spec.model)
                waiting[task.remote(copy, data[folder], self.root, mark, self.limit, own)] = spec
                on_start(spec)
            while waiting:
                (ready,), _ = ray.wait(list(waiting), num_returns=1)
                spec, seconds = waiting.pop(ready), 0.0
                try:
                    seconds = ray.get(ready)
                except Exception as error:  # whatever ended the task, it is this run's failure alone
                    words = str(getattr(error, "cause", None) or error).splitlines()
                    spec.fail(f"failed: {next(reversed(words), type(error).__name__)}")
                on_end(spec, seconds)


def _fits(nodes: Sequence[dict[str, Any]], spec: RunSpec, gpus: int) -> bool:
    """Whether a node has what a run asks for."""
    needs = {"CPU": spec.threads, "GPU": gpus, "memory": spec.memory}
    return any(
        node["Alive"] and all(node["Resources"].get(name, 0) >= need for name, need in needs.items()) for node in nodes
    )


def _run_on_node(
    spec: RunSpec, data: bytes | Path, root: Path, mark: str, limit: int | None, own: ModelSource | None = None
) -> float:
    """Run on this node, with a packed data set or one in a place that it sees; the seconds that it took."""
    if not sees(root, mark):  # a node that joined later
        raise UserError(f"the node that was to run it does not see {root}")
    process = start(spec, data if isinstance(data, Path) else unpack(data, spec.model_spec.dataset), own)
    while process is not None and not process.has_ended(limit):
        time.sleep(POLL)
    return process.seconds if process is not None else 0.0
