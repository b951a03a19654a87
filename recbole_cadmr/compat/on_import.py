"""Calls before a module is imported, or with it afterwards, and modules that are found by another name.

Importing RecBole takes seconds, so that whatever is done to it or for it waits until somebody imports it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_before: dict[str, list[Callable[[], object]]] = {}
_after: dict[str, Callable[[ModuleType], None]] = {}
_elsewhere: dict[str, Callable[[str], str | None]] = {}
_sought: set[str] = set()  # modules that the other finders are asked for: one of them may ask all finders, too


def before_import(module: str, call: Callable[[], object]) -> None:
    """Call ``call`` whenever ``module`` is looked for, which is before its first import; now, if that has been."""
    _put_in_front()
    _before.setdefault(module, []).append(call)
    if module in sys.modules:
        call()


def after_import(module: str, call: Callable[[ModuleType], None]) -> None:
    """Call ``call`` with ``module`` whenever that has been run; now, if it has been imported."""
    _put_in_front()
    _after[module] = call
    if module in sys.modules:
        call(sys.modules[module])


def find_elsewhere(package: str, place_of: Callable[[str], str | None]) -> None:
    """Let ``place_of`` say which module is found under a name in ``package``; None for what the package has itself."""
    _put_in_front()
    _elsewhere[package] = place_of


def _put_in_front() -> None:
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds what is elsewhere or waited for, and leaves the search for all others to the other finders."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Make the calls before the import, and prepare those after it."""
        for call in _before.get(name, ()):
            call()
        if name in _after and name not in _sought:
            others = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
            _sought.add(name)
            try:
                found = next(filter(None, others), None)
            finally:
                _sought.discard(name)
            if found is not None:
                found.loader = _WaitedFor(found.loader)
            return found
        package, _, part = name.rpartition(".")
        module = _elsewhere[package](part) if package in _elsewhere else None
        return None if module is None else ModuleSpec(name, _Elsewhere(module))


class _WaitedFor(Loader):
    """Loads a module as its own loader does, then makes the call that waits for it."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the module's own loader does."""
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, then call."""
        self._loader.exec_module(module)
        _after[module.__name__](module)


class _Elsewhere(Loader):
    """Gives a module by another name than its own."""

    def __init__(self, module: str) -> None:
        self._module = module

    def exec_module(self, module: ModuleType) -> None:
        """Put the module that is meant in the place of the empty one that was made for it."""
        sys.modules[module.__name__] = importlib.import_module(self._module)
