"""Cells of a benchmark or a study that run in the process of the test."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from types import SimpleNamespace

import pytest

from recbole_cadmr.cli.main import main
from recbole_cadmr.execution import local, process
from recbole_cadmr.execution.process import command as command_line


class Called:
    """In the place of the process of a cell: its command line, called when it is started."""

    pid = 2**22 + 1  # of no process

    def __init__(self, arguments, stdout, **_):
        assert arguments[:3] == command_line()
        with open(stdout.name, "a") as log, redirect_stdout(log), redirect_stderr(log):
            self.status = main(arguments[3:])

    def poll(self):
        return self.status


@contextmanager
def no_processes():
    """Cells run in this process, which is quicker by the start of an interpreter each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "subprocess", SimpleNamespace(Popen=Called, PIPE=subprocess.PIPE))
        patch.setattr(local, "POLL", 0)
        yield
