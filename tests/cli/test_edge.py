"""What escapes from a command is one sentence and a status; what the screen cannot take ends nothing."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

from recbole_cadmr.cli import doctor
from recbole_cadmr.cli.main import main
from recbole_cadmr.reports import results_table as table


def raising(error):
    def act(*_):
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "secret.txt"), 2, "error: secret.txt: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "error: No space left on device"),
        (MemoryError("Unable to allocate 4.26 PiB"), 2, "error: there is not enough memory: Unable to allocate"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory:\n more"), 2, "not enough memory"),
        (ValueError("array is too big; ..."), 2, "not enough memory"),
        (KeyboardInterrupt(), 2, "stopped"),
        (ModuleNotFoundError("No module named 'xgboost'", name="xgboost"), 2, "the package xgboost is missing"),
    ],
)
def test_what_escapes(monkeypatch, capsys, error, status, sentence):
    monkeypatch.setattr(table, "results_table", raising(error))
    assert main(["table", "a"]) == status
    said = capsys.readouterr().err.strip()
    assert sentence in said and "\n" not in said


@pytest.mark.parametrize(
    ("code", "status", "sentence"),
    [
        ("import unfit", 2, "the package unfit cannot be imported (ValueError: numpy.dtype size changed), because "),
        ("from math import sinus", 2, "the package math cannot be imported (ImportError: cannot import name 'sinus'"),
        ("import fit; fit.check()", 1, "a defect of this program, ValueError: numpy.dtype size changed"),
        ("from recbole_cadmr import sinus", 1, "a defect of this program, ImportError: cannot import name 'sinus'"),
    ],
)
def test_packages_that_do_not_fit_each_other_are_one_sentence(monkeypatch, capsys, tmp_path, code, status, sentence):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "fit.py").write_text("def check():\n    raise ValueError('numpy.dtype size changed')\n")
    (tmp_path / "unfit").mkdir()
    (tmp_path / "unfit" / "__init__.py").write_text("import fit\nfit.check()\n")
    monkeypatch.setattr(table, "results_table", lambda *_: exec(code, {"__name__": "recbole_cadmr.reports.imports"}))
    assert main(["table", "a"]) == status
    assert capsys.readouterr().err.startswith(f"error: {sentence}")


def test_a_fault_is_one_sentence_that_names_the_file_of_its_traceback(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(table, "results_table", raising(KeyError("fingerprint")))
    assert main(["table", "a"]) == 1
    said = capsys.readouterr().err.strip()
    (log,) = tmp_path.glob("*.log")
    assert said == f"error: a defect of this program, KeyError: 'fingerprint'; the traceback is in {log}"
    assert "Traceback" in log.read_text() and "in raising" not in said


def test_a_fault_in_a_run_is_in_the_log_of_the_run(monkeypatch, capsys, tmp_path):
    from recbole_cadmr.runs import train as workflow

    def fails_late(session, folder, *_):
        folder.best.touch()  # so that something is there to keep
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(workflow, "_fit", fails_late)
    assert main(["train", "--model=Pop", "--output=r"]) == 1
    log = tmp_path / "r" / "log" / "Pop-synthetic.log"
    assert capsys.readouterr().err.strip().endswith(f"the traceback is in {log}")
    assert "ZeroDivisionError: division by zero" in log.read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "--resume", ""], "--resume is empty"),
        (["train", "--model="], "--model is empty"),
        (["train", "--epochs", ""], "--epochs is empty"),
        (["evaluate", "--checkpoint", ""], "--checkpoint is empty"),
        (["prepare", "files", "--inter", ""], "--inter is empty"),
        (["table", ""], "an argument is empty"),
        (["train", "--output=a\0b"], "--output holds a NUL"),
        (["generate", "--output", "a\0b"], "--output holds a NUL"),
        (["train", "--dataset", "a\udcff"], "--dataset holds bytes that are not text"),
        (["recommend", "--checkpoint=m.pt", f"--output={'a' * 300}"], "File name too long"),
        (["benchmark", "--models=Pop", "--output=b", "--memory=1e300"], "--memory must be a number of at most"),
        (["benchmark", "--models=Pop", "--output=b", "--memory=nan"], "--memory must be a number of at most"),
        (["benchmark", "--models=Pop", "--output=b", "--jobs", "9" * 5000], "--jobs must be a whole number"),
        (["benchmark", "--models=,", "--output=b"], "--models must hold names"),
        (["evaluate", "--checkpoint=m.pt", "--topk=5,ten"], "--topk must be a whole number, not 'ten'"),
        (["evaluate", "--checkpoint=m.pt", "--mask_valid_at_test=no"], "--mask_valid_at_test must be True or False"),
        (["generate", "--output=g", "--users=0"], "--users must be at least 1"),
        (["generate", "--output=g", f"--users={10**13}"], "--users must be at most"),
        (["generate", "--output=g", f"--seed={2**32}"], "--seed must be at most"),
        (["doctor", "--data_path", "a" * 300], "File name too long"),
    ],
)
def test_arguments(capsys, tmp_path, arguments, sentence):
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ") and "\n" not in said and len(said) < 200 + len(str(arguments[-1]))
    assert sentence in said
    assert not list(tmp_path.iterdir())


def test_terminated_is_interrupted(monkeypatch, capsys):
    monkeypatch.setattr(table, "results_table", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    assert main(["table", "a"]) == 2
    assert capsys.readouterr().err.strip() == "stopped"
    assert signal.getsignal(signal.SIGTERM) is before


class Failing(io.StringIO):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


@pytest.mark.parametrize(
    ("stream", "status", "sentence"),
    [
        (Failing(OSError(errno.ENOSPC, "No space left on device")), 2, "standard output: No space left on device"),
        (Failing(BrokenPipeError(errno.EPIPE, "Broken pipe")), 0, ""),
        (None, 0, ""),
    ],
)
def test_a_screen_that_takes_nothing(monkeypatch, capsys, stream, status, sentence, tmp_path):
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["train", "--model=Pop", "--show_progress=False", "--output=r"]) == status
    said = capsys.readouterr().err.strip()
    assert sentence in said and "Traceback" not in said and "Logging error" not in said
    assert (tmp_path / "r" / "result.json").is_file()
    assert sys.stdout is stream


def test_signs_that_a_terminal_lacks(monkeypatch):
    bytes_ = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(bytes_, encoding="ascii"))
    monkeypatch.setattr(doctor, "doctor", lambda _: ("0.5 ± 0.1, 桃 \udcff", True))
    assert main(["doctor"]) == 0
    assert bytes_.getvalue() == b"0.5 +/- 0.1, \\u6843 \\udcff\n"


def test_the_log_holds_any_name(tmp_path):
    import logging

    from recbole_cadmr.runs.folder import run_log

    with run_log(tmp_path, screen=False):
        logging.getLogger("recbole").info("item \udcff")
    assert "item \\udcff" in (tmp_path / "log" / "run.log").read_text()


def test_a_full_disk_ends_a_run_in_one_sentence(capsys, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "run.log").symlink_to("/dev/full")
    import logging

    from recbole_cadmr.errors import UserError
    from recbole_cadmr.runs.folder import run_log

    with pytest.raises(UserError, match="cannot write to .*: No space left"), run_log(tmp_path, screen=False):
        logging.getLogger("recbole").info("lost")
    assert capsys.readouterr().err == ""


def test_the_version_is_that_of_the_installation(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == version("recbole_cadmr")
