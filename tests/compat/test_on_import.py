"""Calls before and after an import."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder

import recbole.data

from recbole_cadmr.compat import on_import


def test_a_finder_that_asks_all_others_is_no_circle(monkeypatch):
    """As that of what measures coverage does."""

    class Asking(MetaPathFinder):
        def find_spec(self, *arguments):
            found = (finder.find_spec(*arguments) for finder in sys.meta_path if finder is not self)
            return next(filter(None, found), None)

    ours = next(finder for finder in sys.meta_path if isinstance(finder, on_import._Finder))
    monkeypatch.setattr(sys, "meta_path", [Asking(), ours, PathFinder])
    spec = sys.meta_path[0].find_spec("recbole.data.utils", recbole.data.__path__)
    assert isinstance(spec.loader, on_import._WaitedFor) and spec.loader.get_filename().endswith("utils.py")
