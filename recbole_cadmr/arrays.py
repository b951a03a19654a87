"""Untrusted arrays in ``.npy`` and ``.npz`` files: nothing is unpickled, and no header is believed."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import need_file
from recbole_cadmr.memory import free_bytes

_BLOCK = 2**20  # numbers checked at once
_PICKLED = "pickled objects, which may run code and are not loaded; save numbers alone (numpy.save of a float array)"


def map_array(path: Path) -> np.ndarray:
    """The array of a ``.npy`` file, memory-mapped, of any shape, type, byte order and layout.

    Raises:
        UserError: if the file is missing, truncated, longer than its header says, or holds pickled objects.
    """
    need_file(path)
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # a header that lies: numpy, its tokenizer and mmap each raise errors of their own
        if "Python objects" in str(error):
            raise UserError(f"{path} holds {_PICKLED}") from error
        raise UserError(f"{path} is truncated, damaged, or not an array of numbers in a .npy file") from error
    size = path.stat().st_size
    if array.offset + array.nbytes != size:
        raise UserError(
            f"{path} is damaged: its header speaks of {array.offset + array.nbytes:,} bytes, it has {size:,}"
        )
    return array


def map_rows(path: Path) -> np.ndarray:
    """The vectors of a ``.npy`` file, memory-mapped: a 2-D array of real numbers of any width and byte order.

    Raises:
        UserError: as of :func:`map_array`, and if the file holds something else.
    """
    rows = map_array(path)
    if rows.ndim != 2 or rows.dtype.kind != "f" or 0 in rows.shape:
        raise UserError(
            f"{path} must hold a 2-D array of real numbers (float16, 32 or 64), a vector a row, not {rows.dtype} of "
            f"shape {rows.shape}"
        )
    return rows


def array_names(path: Path) -> list[str]:
    """The names of the arrays in a ``.npz`` file, in their order.

    Raises:
        UserError: if it is missing or damaged.
    """
    need_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except Exception as error:  # zipfile has errors of several kinds for what is no archive
        raise UserError(f"{path} is damaged or not a .npz file") from error


def each_array(path: Path, names: Collection[str]) -> Iterator[np.ndarray]:
    """Arrays of a ``.npz`` file by name, one after the other.

    Raises:
        UserError: if the file is missing, damaged, lacks one, holds pickled objects, or one does not fit in memory.
    """
    need_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            for name in names:
                member, free = archive.getinfo(f"{name}.npy"), free_bytes()
                if member.file_size > free:
                    raise UserError(f"{path} unpacks to {member.file_size:,} bytes, but {free:,} are free")
                with archive.open(member) as file:
                    array = np.lib.format.read_array(file, allow_pickle=False)
                yield array
    except UserError:
        raise
    except Exception as error:  # zipfile, zlib and numpy each have their own errors for a damaged archive
        if "Object arrays" in str(error):
            raise UserError(f"{path} holds {_PICKLED}") from error
        raise UserError(f"{path} is damaged or does not hold the arrays {' and '.join(names)}") from error


def read_arrays(path: Path, *names: str) -> list[np.ndarray]:
    """Arrays of a ``.npz`` file by name, together.

    Raises:
        UserError: as of :func:`each_array`, and if they do not fit in memory together.
    """
    need_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            needed, free = sum(archive.getinfo(f"{name}.npy").file_size for name in names), free_bytes()
    except Exception as error:
        raise UserError(f"{path} is damaged or does not hold the arrays {' and '.join(names)}") from error
    if needed > free:
        raise UserError(f"{path} unpacks to {needed:,} bytes, but {free:,} are free")
    return list(each_array(path, names))


def as_type(rows: np.ndarray, dtype: npt.DTypeLike) -> tuple[np.ndarray, int | None]:
    """Rows [n, width] as real numbers of ``dtype``, and which of them is the first that is not finite so, if any."""
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite
        cast = np.asarray(rows).astype(dtype, copy=False)
    bad = np.flatnonzero(~np.isfinite(cast).all(axis=1))
    return cast, int(bad[0]) if len(bad) else None


def missing_rows(rows: np.ndarray) -> np.ndarray:
    """Which rows are all zeros, as folders of features have them for items without a picture: bool [n_rows].

    Raises:
        ValueError: if a row is not finite as float32; its argument is the first such row.
    """
    missing = np.zeros(len(rows), dtype=bool)
    step = max(1, _BLOCK // rows.shape[1])
    for start in range(0, len(rows), step):  # in blocks, so that no second copy is made
        block, bad = as_type(rows[start : start + step], np.float32)
        if bad is not None:
            raise ValueError(start + bad)
        missing[start : start + step] = ~block.any(axis=1)
    return missing
