"""Other layouts to atomic files: one module a source.

A source has ``add_arguments(parser)`` and ``run(arguments) -> folder of the data set``; its docstring's first line is
its help. A new one is a module here and a line in ``SOURCES``.
"""

from __future__ import annotations

from types import ModuleType

from recbole_cadmr.data.prepare import amazon, microlens, mmrec, movielens
from recbole_cadmr.data.prepare import tabular as own_files

SOURCES: dict[str, ModuleType] = {
    "amazon": amazon,
    "microlens": microlens,
    "movielens": movielens,
    "mmrec": mmrec,
    "files": own_files,
}
