"""Ready-made vectors of items in ``.npy`` files, as options name them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recbole_cadmr.arrays import missing_rows
from recbole_cadmr.data.feature_file import RESERVED
from recbole_cadmr.errors import UserError


def named_files(texts: Sequence[str], option: str) -> dict[str, Path]:
    """Files by modality from ``MODALITY=FILE``.

    Raises:
        UserError: if a text is something else, or a modality is named twice.
    """
    files: dict[str, Path] = {}
    for text in texts:
        name, _, file = text.partition("=")
        if not name or not file:
            raise UserError(f"{option} takes MODALITY=FILE, as in text=all-MiniLM-L6-v2.npy, not {text!r}")
        if name in files:
            raise UserError(f"{option} names the modality '{name}' twice")
        files[name] = Path(file)
    return files


def check_vectors(name: str, file: Path, suffixes: Sequence[str] = (".npy",)) -> None:
    """Raise :class:`UserError` if a file of a modality is none of these, or the modality cannot have its name."""
    if file.suffix not in suffixes:
        raise UserError(f"{file} cannot be read: save it as .npy, a row an item (numpy.save('FILE.npy', array))")
    if not name.isidentifier():
        raise UserError(f"{file} does not begin with the name of a modality; name it as in text={file.name}")
    if name.lower() in RESERVED:
        raise UserError(f"{file} cannot be the modality '{name}': a data set has another file of that name; rename it")


def rows_of_zeros(path: Path, vectors: np.ndarray) -> np.ndarray:
    """Which vectors are all zeros, so that their items lack the modality: bool [n_rows].

    Raises:
        UserError: if one is not finite as float32.
    """
    try:
        return missing_rows(vectors)
    except ValueError as error:
        message = f"{path} holds NaN or infinite numbers (as float32), first in row {error.args[0]}"
        raise UserError(message) from error
