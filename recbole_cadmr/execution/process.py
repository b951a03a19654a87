"""A run in a process of its own: started or resumed, its memory watched, the reason kept if it leaves no result."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.run_spec import RunSpec
from recbole_cadmr.files import write_text
from recbole_cadmr.formatting import memory
from recbole_cadmr.locking import alone_in
from recbole_cadmr.models.own import source_of
from recbole_cadmr.models.own_source import ModelSource
from recbole_cadmr.training.checkpoint import LAST

GRACE = 20  # seconds that a stopped run has to write its state
POLL = 0.2  # seconds between two looks at a process
_LOG = "log.txt"
_MODEL = "model"  # folder of the source of a model of the user's own


def command(*arguments: str) -> list[str]:
    """A command line of this package, to be started with a pipe as standard input; it stops when that is closed."""
    return [sys.executable, "-m", "recbole_cadmr.cli.child", *arguments]


def start(spec: RunSpec, data_path: Path | None = None, own: ModelSource | None = None) -> RunProcess | None:
    """Start or resume a run; None if another process is at work in it, such as one that somebody started by hand.

    Args:
        data_path: where the data sets lie, if not where the run's settings say.
        own: the source of a model of the user's own, if this process does not know it; it is kept in the run's folder.
    """
    settings = spec.folder / "settings.yaml"
    arguments = ["--config_files", str(settings), "--output", str(spec.run)]
    spec.folder.mkdir(parents=True, exist_ok=True)
    spec.failure_file.unlink(missing_ok=True)
    try:
        if spec.run.is_dir():
            with alone_in(spec.run, "run", GRACE):  # the process of a parent that was killed is about to end
                if (spec.run / LAST).is_file():
                    arguments = ["--resume", str(spec.run)]
                else:
                    shutil.rmtree(spec.run)
    except UserError as error:
        spec.fail(f"failed: {error}")
        return None
    write_text(settings, yaml.safe_dump(spec.all_settings, sort_keys=False))
    if (own := own or source_of(spec.model_spec.model)) is not None:
        shutil.rmtree(spec.folder / _MODEL, ignore_errors=True)  # what else lies there could be imported
        arguments += ["--model", own.write(spec.folder / _MODEL)]
    arguments += ["--data_path", str(data_path or spec.model_spec.config.data_root)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(spec.threads)}
    with open(spec.folder / _LOG, "ab") as log:
        process = subprocess.Popen(
            command("train", *arguments),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    return RunProcess(spec, process, time.monotonic())


@dataclass(frozen=True)
class RunProcess:
    """A run at work; it stops, its state kept, when the process that started it ends."""

    spec: RunSpec
    process: subprocess.Popen[bytes]
    started: float

    @property
    def seconds(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started

    @property
    def memory(self) -> int:
        """Resident bytes; 0 if it has ended."""
        try:
            return int(psutil.Process(self.process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def has_ended(self, limit: int | None) -> bool:
        """Whether it has ended, stopped for using more than ``limit`` bytes or by itself; then its folder says how."""
        is_too_large = limit is not None and self.memory > limit
        if is_too_large:
            self.process.kill()
            self.process.wait()
        status = self.process.poll()
        if status is None:
            return False
        log = self.spec.folder / _LOG
        if self.spec.is_finished:
            (self.spec.run / LAST).unlink(missing_ok=True)  # there is nothing to resume
        elif is_too_large:
            allowed = f"it may use {memory(limit)}" if limit else "next to none was left"
            self.spec.fail(f"stopped: it took more memory than there was ({allowed})")
        elif status == -signal.SIGKILL:
            self.spec.fail("stopped: it was killed from outside, maybe because the machine was out of memory")
        else:
            lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")
            self.spec.fail(f"failed: {last} (full output: {log})")
        return True


def interrupt(processes: list[RunProcess]) -> None:
    """Stop runs as ctrl-C does, their states kept; kill those that take too long."""
    for run in processes:
        run.process.send_signal(signal.SIGINT)
    for run in processes:
        try:
            run.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            run.process.kill()
