"""Commands in a process of their own, under locales, terminals, folders and streams that are not what one expects."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

SMALL = ["--users=40", "--items=60"]
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
BARE = {"LC_ALL": "C", "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "20"}


def run(folder, *arguments, environment=BARE, before=(), **streams):
    """The command line from ``folder``, without a home; status, output and error."""
    folder.mkdir(exist_ok=True, parents=True)
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "LANG", "LC_CTYPE")}
    done = subprocess.run(
        [*before, sys.executable, "-m", "recbole_cadmr", *arguments],
        cwd=folder,
        env={**kept, **environment},
        capture_output=not streams,
        **streams,
    )
    return done.returncode, *((out or b"").decode("utf-8", "backslashreplace") for out in (done.stdout, done.stderr))


def test_a_bare_terminal_without_a_home_and_blanks_and_umlauts_in_every_path(tmp_path):
    status, _, error = run(tmp_path / "mein ördner", "generate", "--output", "däten 1/klein", *SMALL)
    assert (status, error) == (0, "")
    assert (tmp_path / "mein ördner" / "däten 1" / "klein" / "klein.train.inter").is_file()


def test_a_locale_without_utf_8(tmp_path):
    assert run(tmp_path / "a", "generate", "--output=klein", *SMALL, environment=ASCII)[0] == 0
    assert (tmp_path / "a" / "klein" / "klein.train.inter").is_file()
    status, _, error = run(tmp_path / "a", "generate", "--output=größe", environment=ASCII)
    assert status == 2 and error.startswith(
        "error: --output holds bytes that are not text in this terminal's encoding ("
    )
    status, _, error = run(tmp_path / "ä", "generate", "--output=klein", environment=ASCII)
    assert status == 2 and error.startswith("error: the working folder's name holds bytes that are not text")
    assert error.count("\n") == 1 and "LC_ALL=C.UTF-8" in error and not list((tmp_path / "ä").iterdir())


def test_a_working_folder_that_cannot_be_written(tmp_path):
    before = []
    if os.geteuid() == 0:  # whom modes do not stop, unless they give that up
        if shutil.which("setpriv") is None:
            pytest.skip("needs setpriv")
        before = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    folder = tmp_path / "read only"
    folder.mkdir(mode=0o555)
    status, _, error = run(folder, "generate", "--output=klein", *SMALL, before=before)
    assert status == 2 and error.startswith("error: ") and "Permission denied" in error and error.count("\n") == 1
    assert not list(folder.iterdir())


def test_a_reader_that_has_gone(tmp_path):
    end, start = os.pipe()
    os.close(end)
    try:
        assert run(tmp_path, "--help", stdout=start, stderr=subprocess.PIPE) == (0, "", "")
    finally:
        os.close(start)
