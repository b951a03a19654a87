"""A folder of one file an item, as Ducho writes it: ``backend/model/layer/ITEM.npy``, an array [1, width] each.

Ducho (Malitesta et al., 2023) names a file after the picture, sound or line of text that it was made from, cut at the
first dot.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from recbole_cadmr.arrays import map_array
from recbole_cadmr.data.vector_files.block import Block, Reading, blocks_of_vectors, vector_of
from recbole_cadmr.errors import UserError

_SUFFIX = ".npy"
_SHOWN = 5  # folders in a message


def folder_blocks(path: Path, reading: Reading) -> Iterator[Block]:
    """Vectors of the files ``ITEM.npy`` in a folder, or in the one folder within it that holds such files."""
    files = files_of_items(path)

    def where(name: str) -> str:
        return str(files[name])

    vectors = ((name, vector_of(map_array(file), str(file), reading)) for name, file in files.items())
    return blocks_of_vectors(vectors, where)


def files_of_items(path: Path) -> dict[str, Path]:
    """The files of a folder by item, in the order of their names.

    Raises:
        UserError: if there are none, or in several folders, as of several models or layers.
    """
    found: dict[Path, list[str]] = {}
    for place, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if own := [name for name in names if name.endswith(_SUFFIX) and not name.startswith(".")]:
            found[Path(place)] = own
    if not found:
        raise UserError(f"{path} holds no {_SUFFIX} files, which are named after their items")
    if len(found) > 1:
        shown = ", ".join(map(str, sorted(found)[:_SHOWN])) + (", ..." if len(found) > _SHOWN else "")
        raise UserError(f"{path} holds vectors in {len(found)} folders; name one of them: {shown}")
    ((folder, own),) = found.items()
    return {name.removesuffix(_SUFFIX): folder / name for name in sorted(own)}
