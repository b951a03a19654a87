"""Vectors computed shard by shard, so that a killed run resumes at its last finished shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from recbole_cadmr.arrays import read_arrays
from recbole_cadmr.blocks import Over, here, open_store
from recbole_cadmr.errors import UserError
from recbole_cadmr.files import write_aside, write_rows

SHARD = 1024


@dataclass(frozen=True)
class Extracted:
    """Vectors of a catalogue.

    Attributes:
        features: a ``.npy`` file [n, width]; zeros where there is no vector.
        present: bool [n], which rows are vectors.
        damaged: places whose input is there but cannot be read.
        zeros: how many inputs got a vector of zeros, which carries no information and counts as missing.
        card: what made the vectors, for the card of the data set.
    """

    features: Path
    present: np.ndarray
    damaged: list[int]
    zeros: int
    card: dict[str, str]


# What became of an input.
PRESENT, ABSENT, DAMAGED = 0, 1, 2
# The inputs of a slice of the catalogue to their vectors [n, width] and what became of each, one of these.
Compute = Callable[[Any], tuple[np.ndarray, np.ndarray]]


def _itself(part: slice) -> slice:
    return part


def in_shards(
    store: Path,
    n: int,
    width: int,
    compute: Compute,
    *,
    key: Mapping[str, str],
    card: Mapping[str, str],
    dtype: str = "float32",
    label: str = "features",
    size: int = SHARD,
    read: Callable[[slice], Any] = _itself,
    over: Over = here,
) -> Extracted:
    """Vectors of places 0 to n - 1, computed in shards that are kept in ``store`` until the last is there.

    Args:
        key: what the vectors depend on; shards in ``store`` that were computed for another one are discarded.
        dtype: of the file, float16 or float32.
        read: gives ``compute`` the inputs of a slice.
        over: who computes the shards.

    Raises:
        UserError: if a vector is too large for ``dtype`` or not finite.
    """
    open_store(store, {**key, "dtype": dtype, "n": str(n), "shard": str(size)})
    starts = range(0, n, size)

    def missing() -> Iterator[tuple[int, Any]]:
        for start in starts:
            part = slice(start, min(start + size, n))
            if _is_whole(_shard(store, start), (part.stop - start, width), dtype):
                bar.update(part.stop - start)
            else:
                yield start, read(part)

    with tqdm(total=n, desc=label, unit=" items") as bar:
        for start, (vectors, state) in over(compute, missing()):
            _write_shard(_shard(store, start), vectors.astype(dtype), state, start)
            bar.update(len(vectors))
    target, states, zeros = store / "features.npy", [], []

    def blocks() -> Iterator[np.ndarray]:
        for start in starts:
            vectors, state = read_arrays(_shard(store, start), "vectors", "state")
            states.append(state)
            zeros.append(~vectors.any(axis=1))
            yield vectors

    write_rows(target, dtype, (n, width), blocks())
    state, empty = np.concatenate(states), np.concatenate(zeros)
    damaged, present = np.flatnonzero(state == DAMAGED).tolist(), state == PRESENT
    return Extracted(target, present & ~empty, damaged, int((present & empty).sum()), {**card, "type": dtype})


def _shard(store: Path, start: int) -> Path:
    return store / f"{start:09d}.npz"


def _is_whole(path: Path, shape: tuple[int, int], dtype: str) -> bool:
    """Whether a file is a shard of an earlier run; a damaged one is computed again."""
    try:
        vectors, state = read_arrays(path, "vectors", "state")
    except UserError:
        return False
    return vectors.shape == shape and vectors.dtype == dtype and state.shape == shape[:1] and state.dtype == np.int8


def _write_shard(path: Path, vectors: np.ndarray, state: np.ndarray, start: int) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise UserError(f"the vector of item {start + bad[0]} is not finite as {vectors.dtype}; try --dtype float32")
    with write_aside(path) as temporary:
        np.savez(temporary, vectors=vectors, state=state.astype(np.int8))
