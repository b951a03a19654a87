"""Cells of a benchmark or a study that run in the process of the test, or in one forked from it."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
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


class Forked:
    """In the place of the process of a cell: one that is forked from this one, which has one thread."""

    def __init__(self, arguments, stdout, **_):
        assert arguments[:3] == command_line()
        theirs, self.stdin = os.pipe()  # its end of this process is closed when this process ends
        self.pid = os.fork()
        if self.pid:
            os.close(theirs)
            return
        status = 1
        try:
            os.setsid()
            os.close(self.stdin)
            for taken, place in ((theirs, 0), (stdout.fileno(), 1), (stdout.fileno(), 2)):
                os.dup2(taken, place)
            sys.stdin = os.fdopen(0)  # not the empty one of processes of multiprocessing
            sys.argv[1:] = arguments[3:]
            self.prepare()
            runpy.run_module("recbole_cadmr.cli.child", run_name="__main__")
        except SystemExit as end:
            status = end.code
        finally:
            sys.stdout.flush()
            os._exit(status)

    def prepare(self):
        """What is done in it before the command begins."""

    def poll(self):
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None


@contextmanager
def no_processes():
    """Cells run in this process, which is quicker by the start of an interpreter each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "subprocess", SimpleNamespace(Popen=Called, PIPE=subprocess.PIPE))
        patch.setattr(local, "POLL", 0)
        yield
