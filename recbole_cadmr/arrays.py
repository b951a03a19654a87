"""Untrusted arrays in ``.npy`` and ``.npz`` files: nothing is unpickled, and no header is believed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from recbole_cadmr.errors import UserError
from recbole_cadmr.memory import free_bytes

_BLOCK = 2**20  # numbers checked at once


def map_rows(path: Path) -> np.ndarray:
    """The vectors of a ``.npy`` file, memory-mapped: a 2-D array of real numbers of any width and byte order.

    Raises:
        UserError: if the file is missing, truncated, longer than its header says, or holds something else.
    """
    _need_file(path)
    try:
        rows = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # a header that lies: numpy, its tokenizer and mmap each raise errors of their own
        raise UserError(f"{path} is truncated, damaged, or not an array of numbers in a .npy file") from error
    size = path.stat().st_size
    if rows.offset + rows.nbytes != size:
        raise UserError(f"{path} is damaged: its header speaks of {rows.offset + rows.nbytes:,} bytes, it has {size:,}")
    if rows.ndim != 2 or rows.dtype.kind != "f" or 0 in rows.shape:
        raise UserError(
            f"{path} must hold a 2-D array of real numbers (float16, 32 or 64), a vector a row, not {rows.dtype} of "
            f"shape {rows.shape}"
        )
    return rows


def read_arrays(path: Path, *names: str) -> list[np.ndarray]:
    """Arrays of a ``.npz`` file by name.

    Raises:
        UserError: if the file is missing, damaged, lacks one, or unpacks to more than fits in memory.
    """
    _need_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [archive.getinfo(f"{name}.npy") for name in names]
            needed, free = sum(member.file_size for member in members), free_bytes()
            if needed > free:
                raise UserError(f"{path} unpacks to {needed:,} bytes, but {free:,} are free")
            arrays = []
            for member in members:
                with archive.open(member) as file:
                    arrays.append(np.lib.format.read_array(file, allow_pickle=False))
            return arrays
    except UserError:
        raise
    except Exception as error:  # zipfile, zlib and numpy each have their own errors for a damaged archive
        raise UserError(f"{path} is damaged or does not hold the arrays {' and '.join(names)}") from error


def _need_file(path: Path) -> None:
    """Raise :class:`UserError` unless it is a file: opening a pipe would wait for ever."""
    if not path.is_file():
        raise UserError(f"{path} is not a file that can be read" if path.exists() else f"there is no file {path}")


def missing_rows(rows: np.ndarray) -> np.ndarray:
    """Which rows are all zeros, as folders of features have them for items without a picture: bool [n_rows].

    Raises:
        ValueError: if a row is not finite as float32; its argument is the first such row.
    """
    missing = np.zeros(len(rows), dtype=bool)
    step = max(1, _BLOCK // rows.shape[1])
    for start in range(0, len(rows), step):  # in blocks, so that no second copy is made
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite
            block = np.asarray(rows[start : start + step], dtype=np.float32)
        if not np.isfinite(block).all():
            raise ValueError(start + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0]))
        missing[start : start + step] = ~block.any(axis=1)
    return missing
