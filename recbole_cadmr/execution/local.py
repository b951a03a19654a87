"""Cells run side by side, each in a process of its own, within the memory there is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from recbole_cadmr.benchmark.plan import RunSpec
from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.child import GRACE, command
from recbole_cadmr.files import write_aside
from recbole_cadmr.locking import alone_in
from recbole_cadmr.memory import free_for_another
from recbole_cadmr.runs.folder import is_used
from recbole_cadmr.training.trainer import LAST

RUN, LOG, FAILURE, SETTINGS = "run", "log.txt", "failure.txt", "settings.yaml"
_POLL = 0.2  # seconds between two looks at the running processes
_RESERVE = 256 * 2**20  # bytes of the machine's memory that stay free
_KILLED = -9  # status of a process that was killed


@dataclass(frozen=True)
class Task:
    """A cell with its place and what it may use.

    Attributes:
        folder: holds the settings, the log, and the run itself in ``run``.
        memory: bytes that it is expected to need.
    """

    cell: RunSpec
    folder: Path
    memory: int
    threads: int

    @property
    def run(self) -> Path:
        """The run's own folder."""
        return self.folder / RUN

    @property
    def finished(self) -> bool:
        """Whether its result is there."""
        return is_used(self.run)

    @property
    def failure(self) -> str | None:
        """Why there is no result; None if nothing went wrong."""
        file = self.folder / FAILURE
        return file.read_text(encoding="utf-8").strip() if file.is_file() else None

    def fail(self, reason: str) -> None:
        """Take note of why there is no result."""
        with write_aside(self.folder / FAILURE) as temporary:
            temporary.write_text(reason + "\n", encoding="utf-8")

    def command(self) -> list[str]:
        """What runs the cell, or goes on with it."""
        if (self.run / LAST).is_file():
            return command("train", "--resume", str(self.run))
        return command("train", "--config_files", str(self.folder / SETTINGS), "--output", str(self.run))

    def prepare(self) -> None:
        """Write the settings of the run, and forget an earlier failure and what never came to a first epoch.

        Raises:
            UserError: if another process is at work in the run, such as one that somebody started there by hand.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / FAILURE).unlink(missing_ok=True)
        if self.run.is_dir():
            with alone_in(self.run, "run", GRACE):  # the process of a benchmark that was killed is about to end
                if not (self.run / LAST).is_file():
                    shutil.rmtree(self.run)
        with write_aside(self.folder / SETTINGS) as temporary:
            settings = {**self.cell.file_settings, "threads": self.threads}
            temporary.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


Done = Callable[[Task, float], None]


def run_tasks(tasks: Sequence[Task], jobs: int, limit: int | None, started: Callable[[Task], None], done: Done) -> None:
    """Run tasks on this machine, ``jobs`` at a time; what fails says so in its folder and stops nothing.

    A task starts when the memory that it needs is free. One that takes more than it may is stopped, and so is the
    largest when the machine has next to none left.

    Args:
        limit: bytes a task may use; all that is free if not given.
        started, done: called with each task as it starts, and with its seconds as it ends, well or not.
    """
    waiting = list(tasks)
    running: dict[subprocess.Popen[bytes], tuple[Task, float]] = {}
    try:
        while waiting or running:
            largest = max(running, key=memory_used, default=None)
            for process, (task, start) in list(running.items()):
                scarce = process is largest and free_for_another() < _RESERVE
                stopped = stop_if_too_large(process, 0 if scarce else limit)
                if process.poll() is None:
                    continue
                del running[process]
                conclude(task, process.returncode, stopped, limit)
                done(task, time.monotonic() - start)
            while waiting and len(running) < jobs:
                task, free = waiting[0], free_for_another()
                if task.memory > (limit or free):
                    if running and not limit:
                        break  # there may be room when these are done
                    task.fail(f"skipped: it needs about {_gb(task.memory)} of memory, and may use {_gb(limit or free)}")
                    done(waiting.pop(0), 0.0)
                    continue
                if running and task.memory > free:
                    break
                waiting.pop(0)
                try:
                    task.prepare()
                except UserError as error:
                    task.fail(f"failed: {error}")
                    done(task, 0.0)
                    continue
                started(task)
                running[_start(task)] = (task, time.monotonic())
            time.sleep(_POLL)
    except BaseException:
        for process in running:
            process.send_signal(signal.SIGINT)  # what runs keeps its state
        for process in running:
            _end(process)
        raise


def _start(task: Task) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(task.threads)}
    with open(task.folder / LOG, "ab") as log:
        return subprocess.Popen(
            task.command(), stdout=log, stderr=log, stdin=subprocess.PIPE, env=environment, start_new_session=True
        )


def memory_used(process: subprocess.Popen[bytes]) -> int:
    """Resident bytes of a process; 0 if it has ended."""
    try:
        return int(psutil.Process(process.pid).memory_info().rss)
    except psutil.Error:
        return 0


def stop_if_too_large(process: subprocess.Popen[bytes], limit: int | None) -> bool:
    """Kill a process that uses more than ``limit`` bytes; whether it was."""
    if limit is None or memory_used(process) <= limit:
        return False
    process.kill()
    process.wait()
    return True


def conclude(task: Task, status: int, stopped: bool, limit: int | None) -> None:
    """Take note of why a task that has ended left no result; nothing is kept to go on with where it has one."""
    if task.finished:
        (task.run / LAST).unlink(missing_ok=True)
    elif stopped:
        allowed = f"it may use {_gb(limit)}" if limit else "next to none was left"
        task.fail(f"stopped: it took more memory than there was ({allowed})")
    elif status == _KILLED:
        task.fail("stopped: it was killed from outside, maybe for want of memory")
    else:
        task.fail(f"failed: {last_words(task.folder / LOG)} (all of it: {task.folder / LOG})")


def last_words(log: Path) -> str:
    """The last line of a log that says something."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it left no word")


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


def _gb(size: int) -> str:
    return f"{size / 2**30:.1f} GB"
