"""Checkpoints of tensors and plain values, so that reading one never runs its code.

``torch.load(weights_only=True)`` reads them. What RecBole's models keep beside their weights (numpy arrays, scipy
matrices) is stored as tensors under a tag and rebuilt on loading.
"""

from __future__ import annotations

import os
import pickle
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from recbole_cadmr.errors import UserError
from recbole_cadmr.files import write_aside

BEST, LAST = "model.pt", "resume.pt"  # names of a run's checkpoints
FORMAT = "recbole_cadmr checkpoint"
FORMAT_VERSION = 1
_TAG = "__kind__"
_MOST_ENTRIES = 3_000_000


class RecboleCheckpointError(UserError):
    """A checkpoint of RecBole's own where one of this package's is wanted."""


def save_checkpoint(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write ``content`` (tensors, arrays, sparse matrices, plain values, nested) to ``path``, whole or not at all."""
    with write_aside(path) as temporary:
        try:
            torch.save({"format": FORMAT, "format_version": FORMAT_VERSION, **to_plain(dict(content))}, temporary)
        except RuntimeError as error:  # torch's zip writer says so, in words of its own
            raise OSError("No space left on device, or it cannot be written to") from error


def load_checkpoint(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a checkpoint without running anything in it.

    Raises:
        UserError: if the file is missing, is no checkpoint of this package, or holds anything but tensors and
            plain values.
    """
    return _restored(_read(path, device), path)


def load_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings in a checkpoint, of which the rest is not read; raises as :func:`load_checkpoint`."""
    return _restored(_read(path, "cpu", mmap=True).get("settings"), path)


def _read(path: str | os.PathLike[str], device: str | torch.device, mmap: bool = False) -> dict[str, Any]:
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder; give the model.pt in it")
    if not os.path.isfile(path):
        raise UserError(f"there is no checkpoint {path}")
    if not os.access(path, os.R_OK):
        raise UserError(f"cannot read {path}: Permission denied")
    if not zipfile.is_zipfile(path):  # torch also reads bare pickles, which are never ours
        raise UserError(f"{path} is not a checkpoint or is damaged")
    try:
        content = torch.load(path, map_location=device, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        if _names_recbole(path):
            raise RecboleCheckpointError(
                f"{path} is a checkpoint of RecBole's, a pickle, which can run code when it is read; if you trust who "
                f"made it, evaluate and recommend read it with `trust_checkpoint`"
            ) from error
        raise UserError(f"{path} is not a checkpoint of this package, or holds code, which is never run") from error
    except Exception as error:  # there is no end to what damaged bytes make torch's reader raise
        raise UserError(f"{path} is not a checkpoint or is damaged") from error
    kind, version = (content.get(name) if isinstance(content, dict) else None for name in ("format", "format_version"))
    if not isinstance(kind, str) or kind != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this package")
    if not isinstance(version, int) or version != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}, this package reads {FORMAT_VERSION}; train the model again"
        )
    return content


def _restored(content: Any, path: str | os.PathLike[str]) -> Any:
    try:
        return from_plain(content)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is damaged or was edited: {error}") from error


def _names_recbole(path: str | os.PathLike[str]) -> bool:
    """Whether a pickle that torch refuses begins with settings of RecBole's, by its bytes alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            with archive.open(name) as pickled:
                return b"recbole.config" in pickled.read(2**20)
    except (OSError, StopIteration, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return False


def to_plain(value: Any) -> Any:
    """``value`` with arrays and sparse matrices as tagged tensors, numpy numbers as Python's.

    Sparse matrices, which may be most of a machine's memory, share theirs with the result.
    """
    if sp.issparse(value):
        csr = value.tocsr()
        arrays = {name: torch.from_numpy(getattr(csr, name)) for name in ("data", "indices", "indptr")}
        return {_TAG: "sparse", "format": value.format, "shape": list(value.shape), **arrays}
    if isinstance(value, np.matrix):
        return {_TAG: "matrix", "data": torch.from_numpy(np.array(value))}
    if isinstance(value, np.ndarray):
        return {_TAG: "array", "data": torch.from_numpy(np.array(value))}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: to_plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_plain(entry) for entry in value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return value


def from_plain(value: Any) -> Any:
    """The inverse of :func:`to_plain`; what is wrong in a tagged tensor raises what torch, numpy and scipy raise."""
    return _from_plain(value, iter(range(_MOST_ENTRIES)))


def _from_plain(value: Any, left: Iterator[int]) -> Any:
    # As many entries may be left: lists that hold one another many times would take for ever.
    if next(left, None) is None:
        raise ValueError(f"it holds more than {_MOST_ENTRIES:,} entries")
    if isinstance(value, dict):
        kind = value.get(_TAG)
        if kind == "sparse":
            parts = tuple(value[name].cpu().numpy() for name in ("data", "indices", "indptr"))
            matrix = sp.csr_matrix(parts, shape=tuple(value["shape"]))
            matrix.check_format(full_check=True)  # else an index out of bounds reads memory of others
            return matrix.asformat(value["format"])
        if kind == "matrix":
            return np.asmatrix(value["data"].cpu().numpy())
        if kind == "array":
            return value["data"].cpu().numpy()
        return {key: _from_plain(entry, left) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_from_plain(entry, left) for entry in value)
    return value
