"""The garbage collector rests while a command imports, and only then."""

from __future__ import annotations

import gc
import sys
from types import SimpleNamespace

import pytest

from recbole_cadmr.cli import collector


def test_what_a_new_process_imports_is_never_looked_through(monkeypatch):
    frozen = []
    known = {name: getattr(gc, name) for name in ("isenabled", "enable", "disable")}
    monkeypatch.setattr(collector, "gc", SimpleNamespace(**known, freeze=lambda: frozen.append(gc.isenabled())))
    with collector.uncollected():
        assert gc.isenabled()  # torch is there
    assert not frozen
    monkeypatch.delitem(sys.modules, "torch")
    with pytest.raises(ImportError), collector.uncollected():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled() and frozen == [True]
    gc.disable()  # as somebody else wants it
    try:
        with collector.uncollected():
            pass
        assert not gc.isenabled() and frozen == [True]
    finally:
        gc.enable()
