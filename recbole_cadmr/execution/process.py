"""A run in a process of its own: started or resumed, its memory watched, the reason kept if it leaves no result."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import yaml

from recbole_cadmr.errors import UserError
from recbole_cadmr.execution.run_spec import RunSpec
from recbole_cadmr.files import write_aside
from recbole_cadmr.formatting import memory
from recbole_cadmr.locking import alone_in
from recbole_cadmr.training.trainer import LAST

GRACE = 20  # seconds that a stopped run has to write its state
POLL = 0.2  # seconds between two looks at a process


def command(*arguments: str) -> list[str]:
    """A command line of this package, to be started with a pipe as standard input; it stops when that is closed."""
    return [sys.executable, "-m", "recbole_cadmr.cli.child", *arguments]


class RunProcess:
    """A run at work; it stops, its state kept, when the process that started it ends."""

    def __init__(self, spec: RunSpec, data_path: Path | None = None) -> None:
        """Start or resume a run, its data set in ``data_path`` if that is another place than its settings say.

        Raises:
            UserError: if another process is at work in the run, such as one that somebody started there by hand.
        """
        self.spec = spec
        self._started = time.monotonic()
        self._log = spec.folder / "log.txt"
        settings_file = spec.folder / "settings.yaml"
        _prepare(spec, settings_file)
        if (spec.run / LAST).is_file():
            arguments = ["--resume", str(spec.run)]
        else:
            arguments = ["--config_files", str(settings_file), "--output", str(spec.run)]
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                command("train", *arguments, "--data_path", str(data_path or spec.model_spec.config.data_root)),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": str(spec.threads)},
                start_new_session=True,
            )

    @property
    def seconds(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._started

    @property
    def memory(self) -> int:
        """Resident bytes; 0 if it has ended."""
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def has_ended(self, limit: int | None) -> bool:
        """Whether it has ended, stopped for using more than ``limit`` bytes or by itself; then its folder says how."""
        is_too_large = limit is not None and self.memory > limit
        if is_too_large:
            self._process.kill()
            self._process.wait()
        status = self._process.poll()
        if status is None:
            return False
        if self.spec.is_finished:
            (self.spec.run / LAST).unlink(missing_ok=True)  # there is nothing to resume
        elif is_too_large:
            allowed = f"it may use {memory(limit)}" if limit else "next to none was left"
            self.spec.fail(f"stopped: it took more memory than there was ({allowed})")
        elif status == -signal.SIGKILL:
            self.spec.fail("stopped: it was killed from outside, maybe because the machine was out of memory")
        else:
            lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")
            self.spec.fail(f"failed: {last} (full output: {self._log})")
        return True

    def interrupt(self) -> None:
        """Ask it to stop and keep its state, as ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """Wait for it after :meth:`interrupt`, and kill it if it takes too long."""
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()


def _prepare(spec: RunSpec, settings_file: Path) -> None:
    """Write the settings of a run; remove an earlier failure, and a run that was cut before it had a state."""
    spec.folder.mkdir(parents=True, exist_ok=True)
    spec.failure_file.unlink(missing_ok=True)
    if spec.run.is_dir():
        with alone_in(spec.run, "run", GRACE):  # the process of a parent that was killed is about to end
            if not (spec.run / LAST).is_file():
                shutil.rmtree(spec.run)
    with write_aside(settings_file) as temporary:
        temporary.write_text(yaml.safe_dump(spec.all_settings, sort_keys=False), encoding="utf-8")


def started(spec: RunSpec, data_path: Path | None = None) -> RunProcess | None:
    """A run that is started; None if it cannot be, for the reason that is kept in its folder."""
    try:
        return RunProcess(spec, data_path)
    except UserError as error:
        spec.fail(f"failed: {error}")
        return None
