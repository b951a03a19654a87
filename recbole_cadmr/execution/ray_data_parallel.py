"""Processes of a Ray cluster that share a training with this one: each a task, in one process group."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch.distributed as dist

from recbole_cadmr.errors import UserError
from recbole_cadmr.execution import ray_api
from recbole_cadmr.execution.data_parallel import PATIENCE, follow, joined
from recbole_cadmr.execution.nodes import check_versions
from recbole_cadmr.execution.process import GRACE, POLL
from recbole_cadmr.layers.shared_batch import ProcessLost

_LOOPBACK = "127.0.0.1"


@contextmanager
def processes_on(address: str, n: int) -> Iterator[None]:
    """As :func:`processes`, with the ``n - 1`` others on the cluster at ``address``, a core each.

    The data set must lie on its nodes where it lies here. This process alone writes.

    Raises:
        UserError: if the cluster cannot be reached or has too few cores, or one of the processes ends before.
    """
    if dist.is_initialized():
        raise UserError("this process is one of a process group already; train without `nproc`")
    with ray_api.connected(address) as ray:
        if address != "local":
            check_versions(ray)
        cores = int(ray.cluster_resources().get("CPU", 0))
        if cores < n - 1:
            raise UserError(f"the Ray cluster has {cores} cores, too few for {n - 1} processes beside this one")
        host = _LOOPBACK if address == "local" else ray.util.get_node_ip_address()
        store = meeting_place(host, n)
        task = ray.remote(_follow).options(num_cpus=1, max_retries=0)
        tasks = {task.remote(host, store.port, rank, n): rank for rank in range(1, n)}
        try:
            while not store.check([f"{rank} is ready" for rank in tasks.values()]):
                if ended := ray.wait(list(tasks), timeout=POLL)[0]:
                    raise UserError(_why_ended(ray, tasks, ended[0]))
            with joined(store, 0, n, address == "local"):
                yield
        except ProcessLost as error:
            ended = ray.wait(list(tasks), timeout=GRACE)[0]
            why = _why_ended(ray, tasks, ended[0]) if ended else "a process of the cluster ended"
            raise UserError(f"{why}: {error}") from error
        finally:
            ray.wait(list(tasks), num_returns=len(tasks), timeout=GRACE)
            for answer in tasks:
                with suppress(Exception):  # it has ended, or the cluster is gone
                    ray.cancel(answer, force=True)


def meeting_place(host: str, n: int) -> dist.TCPStore:
    """What ``n`` processes meet in, at a free port of the address ``host`` alone; by itself, torch listens on all."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, 0), family=family)
    at: dict[str, Any] = {"port": listening.getsockname()[1], "master_listen_fd": listening.detach()}
    at["use_libuv"] = False  # whose server takes a socket since torch 2.8 alone
    return dist.TCPStore(host, world_size=n, is_master=True, wait_for_workers=False, timeout=PATIENCE, **at)


def _why_ended(ray: Any, tasks: dict[Any, int], answer: Any) -> str:
    try:
        ray.get(answer)
    except Exception as error:
        reason = str(getattr(error, "cause", None) or error).strip().splitlines() or [type(error).__name__]
        return f"process {tasks[answer]} on the Ray cluster failed, {reason[0].partition('. ')[0].rstrip('.')}"
    return f"process {tasks[answer]} on the Ray cluster ended"


def _follow(host: str, port: int, rank: int, n: int) -> None:
    """Follow, on a node."""
    store = dist.TCPStore(host, port, n, is_master=False, timeout=PATIENCE)
    store.set(f"{rank} is ready", "")
    with suppress(ProcessLost), joined(store, rank, n, host == _LOOPBACK):
        follow()
