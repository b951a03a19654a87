"""The workarounds that nobody has to ask for: each is applied before the package that needs it is imported."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress

from recbole_cadmr.compat.home import provide_home
from recbole_cadmr.compat.numpy import restore_numpy_names
from recbole_cadmr.compat.on_import import before_import
from recbole_cadmr.compat.pandas import fill_missing_values, restore_elementwise_agg
from recbole_cadmr.compat.recbole import require_recbole, silence_warnings
from recbole_cadmr.compat.scipy import restore_dok_update
from recbole_cadmr.compat.torch import declare_torchvision_operators
from recbole_cadmr.errors import MissingRecBole

# By name, as ``doctor`` shows it: the module that needs it, and what does it and says whether it had to.
_WORKAROUNDS: dict[str, tuple[str, Callable[[], bool]]] = {
    "home folder": ("sys", provide_home),  # at once, as are the warnings
    "warnings for RecBole": ("sys", silence_warnings),
    "numpy names": ("recbole", restore_numpy_names),
    "scipy dok_matrix": ("recbole", restore_dok_update),
    # The first that is imported after the module which is changed.
    "pandas fillna": ("recbole.data.dataset.sequential_dataset", fill_missing_values),
    "pandas agg": ("recbole.data.dataset.sequential_dataset", restore_elementwise_agg),
    "torchvision operators": ("torchvision", declare_torchvision_operators),
}
_changed: dict[str, bool] = {}  # by workaround that has been applied


def apply() -> None:
    """Apply what needs no import now, the rest before that import; a second call changes nothing."""
    before_import("recbole", require_recbole)
    for module in dict.fromkeys(module for module, _ in _WORKAROUNDS.values()):
        before_import(module, functools.partial(_apply_for, module))


def status() -> dict[str, str]:
    """``applied`` or ``not needed`` by workaround; those that are still waiting are applied first."""
    for module, _ in _WORKAROUNDS.values():
        with suppress(MissingRecBole):
            _apply_for(module)
    return {name: "applied" if _changed[name] else "not needed" for name in _WORKAROUNDS}


def _apply_for(module: str) -> None:
    for name, (needed_by, workaround) in _WORKAROUNDS.items():
        if needed_by == module and name not in _changed:
            _changed[name] = False  # it may look for the module itself
            _changed[name] = workaround()
