"""Raw data to atomic files: one module a source, with ``add_arguments(parser)`` and ``run(arguments) -> its folder``.

A new source is a module here and a line in ``SOURCES``.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

# By the name that the command line knows, with its help.
SOURCES = {
    "amazon": "Amazon reviews of 2014 or 2023: reviews, metadata, and the published image features or the pictures",
    "microlens": "MicroLens: pairs of users and videos, with the titles and covers of the videos",
    "movielens": "MovieLens, 100k to 25M: ratings, titles with genres, and posters from a folder",
    "mmrec": "a folder in the layout of the MMRec toolbox: NAME.inter, *_feat*.npy, *_knn*.npz; its split or another",
    "cross-domain": "users of two domains with times, in the layout of ABXI: lines of item|time, a map of items",
    "files": "your own files: interactions and items as csv, tsv, JSON lines or parquet, and a folder of pictures",
    "sql": "your own database: interactions and items by queries (SQLite, PostgreSQL, ...), and a folder of pictures",
}


def source(name: str) -> ModuleType:
    """The module of a source, imported when it is asked for."""
    return import_module(f"{__name__}.{'tabular' if name == 'files' else name.replace('-', '_')}")
