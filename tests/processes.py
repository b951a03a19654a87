"""Processes that a test may kill, each forked from one that has imported the package already."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path
from tempfile import TemporaryDirectory

_SECONDS = 300
_context = multiprocessing.get_context("forkserver")
# No thread runs in the server, so that a fork of it is as good as a new interpreter.
# torch's compiler is what the first optimiser of a process imports.
_context.set_forkserver_preload(["recbole_cadmr.cli.main", "recbole_cadmr.runs.train", "torch._dynamo"])


@dataclass(frozen=True)
class Done:
    """How a process ended: its status, or minus the number of the signal that ended it, and what it printed."""

    status: int
    stdout: str
    stderr: str


def run_apart(act: Callable[..., int | None], *arguments: object) -> Done:
    """Call ``act``, a function of a module, in a process of its own; its result is the exit status."""
    with TemporaryDirectory() as folder:
        process = _context.Process(target=_run, args=(Path(folder), act, arguments))
        process.start()
        process.join(_SECONDS)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"{act.__name__} has not ended after {_SECONDS} seconds")
        out, error = ((Path(folder) / name).read_text(encoding="utf-8") for name in ("out", "error"))
        assert process.exitcode is not None
        return Done(process.exitcode, out, error)


def pool(n: int) -> Pool:
    """``n`` such processes; forks of this one would have its signal handlers and whatever locks its threads hold."""
    return _context.Pool(n)


def _run(folder: Path, act: Callable[..., int | None], arguments: tuple[object, ...]) -> None:
    # A process in the background starts with ctrl-C switched off.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor, name in ((1, "out"), (2, "error")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), descriptor)
    sys.exit(act(*arguments))


def printed_by(code: str) -> str:
    """What ``code`` prints in a new Python; a failure of it fails the test."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout
