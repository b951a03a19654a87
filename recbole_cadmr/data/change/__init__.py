"""Modalities added to a data set that is there, replaced and removed; a change is made whole or not at all.

Each module of ``CHANGES`` is a command, with ``add_arguments(parser)`` and ``run(arguments) -> the data set's folder``.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

# By the name that the command line knows, with its help.
CHANGES = {
    "add-modality": "add a modality to a data set: vectors from a file, or of files of pictures or sounds by a model",
    "remove-modality": "remove a modality from a data set",
}


def change(name: str) -> ModuleType:
    """The module of a change, imported when it is asked for."""
    return import_module(f"{__name__}.{name.replace('-', '_')}")
