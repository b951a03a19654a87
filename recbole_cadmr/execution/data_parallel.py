"""The processes that share a training: on this machine, each with its part of the cores."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import torch
import torch.distributed as dist

from recbole_cadmr.errors import UserError, is_out_of_memory
from recbole_cadmr.execution.process import GRACE, POLL
from recbole_cadmr.layers.shared_batch import ProcessLost
from recbole_cadmr.models.own import receive
from recbole_cadmr.models.own_source import ModelSource
from recbole_cadmr.runs.folder import scratch_folder
from recbole_cadmr.runs.session import check_data, open_session, restore_config
from recbole_cadmr.runs.train import pauses
from recbole_cadmr.training.callbacks import Paused
from recbole_cadmr.training.contents import ResumeContent
from recbole_cadmr.training.data_parallel import followed, order

PATIENCE = timedelta(days=30)  # with the others' work; of one that ends, the connection is closed


@contextmanager
def processes(n: int) -> Iterator[None]:
    """Let ``n`` processes, this one among them, share each training within.

    Results are those of one process, up to rounding. The other processes end with this one, or with the context.

    Raises:
        UserError: if one of them ends before.
    """
    if n == 1:
        yield
        return
    if dist.is_initialized():
        raise UserError("this process is one of a process group already; train without `nproc`")
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // n))
    with TemporaryDirectory(prefix="recbole_cadmr-", ignore_cleanup_errors=True) as place:
        others = [_start(Path(place), rank, n) for rank in range(1, n)]
        try:
            with joined(_meet(Path(place), 0, n, others), 0, n):
                yield
        except ProcessLost as error:
            raise UserError(f"{_why_ended(Path(place), others)}: {error}") from error
        finally:
            torch.set_num_threads(threads)
            for process in others:
                process.stdin.close()  # type: ignore[union-attr]
            for process in others:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
                process.kill()


def _start(place: Path, rank: int, n: int) -> subprocess.Popen[bytes]:
    """Start a process that follows, in a session of its own, so that ctrl-C is this process's alone."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-m", __name__, str(place), str(rank), str(n)]
    with open(place / f"{rank}.log", "wb") as log:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True
        )


@contextmanager
def joined(store: dist.Store, rank: int, n: int, loopback: bool = True) -> Iterator[None]:
    """A process group of ``n`` that meet in ``store``, connected over the loopback device or over the network."""
    name, device = "GLOO_SOCKET_IFNAME", next((d for _, d in socket.if_nameindex() if d.startswith("lo")), None)
    given = os.environ.get(name)
    if loopback and device and given is None:
        os.environ[name] = device
    try:
        dist.init_process_group("gloo", store=store, rank=rank, world_size=n, timeout=PATIENCE)
    finally:
        if given is None:
            os.environ.pop(name, None)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _meet(place: Path, rank: int, n: int, others: Sequence[subprocess.Popen[bytes]] = ()) -> dist.Store:
    """What the processes meet in, once all are there."""
    (place / f"{rank} is ready").touch()
    while others and len(list(place.glob("* is ready"))) < n:
        if any(process.poll() is not None for process in others):
            raise UserError(_why_ended(place, others))
        time.sleep(POLL)
    return dist.FileStore(str(place / "store"), n)


def _why_ended(place: Path, others: Sequence[subprocess.Popen[bytes]]) -> str:
    """What is known of the first of the processes that has ended."""
    deadline = time.monotonic() + GRACE
    while all(process.poll() is None for process in others) and time.monotonic() < deadline:
        time.sleep(POLL)
    for rank, process in enumerate(others, 1):
        status = process.poll()
        if status == -signal.SIGKILL:
            return f"process {rank} was killed from outside, maybe because the machine was out of memory"
        if status:
            lines = (place / f"{rank}.log").read_text(encoding="utf-8", errors="replace").split("\n")
            return f"process {rank} failed, {next((line for line in reversed(lines) if line.strip()), 'silently')}"
    return "a process ended"


def follow(data_path: str | None = None) -> None:
    """Follow the first process of the group through all that it trains, until it leaves the group.

    Args:
        data_path: where the data sets lie, if not where the first process has them.
    """
    while True:
        content = order()
        history, own = content.pop("history"), content.pop("own_source")
        receive(None if own is None else ModelSource.from_plain(own))
        with scratch_folder() as folder:
            session = open_session(restore_config(content, data_path), folder)
            check_data(session, content, "the run")
            session.trainer.restore(cast(ResumeContent, content), history)
            session.trainer.callbacks += pauses(session)
            with suppress(Paused), followed(session.trainer):
                session.trainer.fit(session.train_data, session.valid_data)


def _end_with_the_first() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def _main(place: str, rank: str, n: str) -> None:
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    try:
        with joined(_meet(Path(place), int(rank), int(n)), int(rank), int(n)):
            follow()
    except ProcessLost:  # the first has all that it wanted, or says itself what went wrong
        sys.exit(0)
    except UserError as error:
        sys.exit(str(error))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        sys.exit(f"there is not enough memory: {error}")


if __name__ == "__main__":
    _main(*sys.argv[1:])
