"""Vectors kept by a hash of what they were made from, so that what was encoded once is not encoded again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbole_cadmr.arrays import read_arrays
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import cache_folder, write_aside, write_json

GIB = 2**30
USUAL = 10  # GiB of vectors that are kept, unless told otherwise
_KEY = 32  # bytes of a SHA-256
_ABANDONED = 86_400  # seconds after which what a process wrote aside is no longer its own
# Inputs by their keys, their vectors [n, width] and what became of each, int8 [n].
Found = tuple[list[bytes], np.ndarray, np.ndarray]


@dataclass(frozen=True)
class VectorCache:
    """Where vectors stay when a data set is complete, and how many bytes of them: those unused for longest go first."""

    folder: Path
    most: int

    @classmethod
    def of_user(cls, most: float) -> VectorCache | None:
        """``vectors`` in the user's cache folder, of at most so many GiB; None for none."""
        return cls(cache_folder() / "vectors", int(most * GIB)) if most else None

    def prune(self) -> None:
        """Remove what does not fit, whoever wrote it; another process that wanted it encodes it again."""
        segments = []
        for path in self.folder.glob("*/*.npz"):
            with suppress(OSError):  # another process removed it
                used = path.stat().st_mtime
                if not path.name.startswith("."):
                    segments.append((used, path.stat().st_size, path))
                elif time.time() - used > _ABANDONED:
                    path.unlink()
        total = sum(size for _, size, _ in segments)
        for _, size, path in sorted(segments):
            if total <= self.most:
                break
            with suppress(OSError):
                path.unlink()
            total -= size


class VectorStore:
    """Vectors of one encoder by a key of their input, in a folder of segments: the vectors that were computed at once.

    A segment is written aside and renamed, and never changed; its name is a hash of what it holds. So several processes
    may use a folder, and what is damaged, or is not what was written for this encoder, is removed and encoded again.

    Args:
        folder: of the stores of all encoders.
        encoder: what the vectors depend on beside their input.
        width, dtype: of the vectors.

    Raises:
        UserError: if the folder cannot be written.
    """

    def __init__(self, folder: Path, encoder: Mapping[str, str], width: int, dtype: str) -> None:
        self._width, self._dtype = width, np.dtype(dtype)
        made_by = {**encoder, "width": str(width), "type": dtype}
        self._encoder = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()
        self._folder = folder / self._encoder
        write_json(self._folder / "encoder.json", made_by)  # for people, who wonder what fills their disk

    def find(self, wanted: Collection[bytes]) -> Iterator[Found]:
        """What is there of ``wanted``, a segment after the other; what was given once may be taken from ``wanted``."""
        for path in sorted(self._folder.glob("*.npz")):
            if not wanted:
                return
            with suppress(UserError):  # damaged, or another process removed it
                (keys,) = read_arrays(path, "keys")
                if any(key in wanted for key in _listed(keys)):
                    yield from self._read(path, wanted)

    def add(self, keys: Sequence[bytes], vectors: np.ndarray, state: np.ndarray) -> None:
        """Keep vectors [n, width] of n inputs, and what became of each.

        Raises:
            UserError: if they cannot be written.
        """
        arrays = {
            "keys": np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, _KEY),
            "vectors": np.ascontiguousarray(vectors, dtype=self._dtype),
            "state": state.astype(np.int8),
        }
        path = self._folder / f"{self._digest(**arrays)}.npz"
        with write_aside(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)

    def _read(self, path: Path, wanted: Collection[bytes]) -> Iterator[Found]:
        keys, vectors, state = read_arrays(path, "keys", "vectors", "state")
        if self._digest(keys, vectors, state) != path.stem:
            path.unlink(missing_ok=True)
            return
        with suppress(OSError):
            os.utime(path)  # used now
        rows = {key: row for row, key in enumerate(_listed(keys)) if key in wanted}
        yield [*rows], vectors[[*rows.values()]], state[[*rows.values()]]

    def _digest(self, keys: np.ndarray, vectors: np.ndarray, state: np.ndarray) -> str:
        """A hash of a segment and its encoder; "" if this store holds no such arrays."""
        n = len(keys) if keys.ndim else 0
        shapes = keys.shape == (n, _KEY) and vectors.shape == (n, self._width) and state.shape == (n,)
        if not shapes or (keys.dtype, vectors.dtype, state.dtype) != (np.uint8, self._dtype, np.int8):
            return ""
        digest = hashlib.sha256(f"{self._encoder} {n} ".encode())
        for array in (keys, vectors, state):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def _listed(keys: np.ndarray) -> list[bytes]:
    data = keys.tobytes()
    return [data[start : start + _KEY] for start in range(0, len(data), _KEY)]
