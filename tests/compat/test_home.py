"""A user whom the system does not know."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from recbole_cadmr.compat.home import provide_home


def test_a_user_without_a_home_gets_a_private_one(monkeypatch, tmp_path):
    pwd = pytest.importorskip("pwd")

    def unknown(uid):
        raise KeyError(uid)

    assert not provide_home()
    monkeypatch.setenv("HOME", "")  # put back afterwards
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert provide_home()
    home = Path.home()
    assert home.parent == tmp_path and home.stat().st_mode & 0o077 == 0
    monkeypatch.delenv("HOME")
    assert provide_home() and Path.home() == home  # the next process has the same one
    monkeypatch.delenv("HOME")
    home.chmod(0o777)  # where anybody may have put what is read
    assert provide_home() and Path.home() != home
