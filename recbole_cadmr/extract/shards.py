"""Vectors of a catalogue: those that are kept from before, and the others computed shard by shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbole_cadmr.arrays import as_type
from recbole_cadmr.blocks import Over, here
from recbole_cadmr.errors import UserError
from recbole_cadmr.extract.vector_store import VectorCache, VectorStore
from recbole_cadmr.files import rows_aside
from recbole_cadmr.progress import bar, watched_by

SHARD = 1024


@dataclass(frozen=True)
class Extracted:
    """Vectors of a catalogue.

    Attributes:
        features: a ``.npy`` file [n, width]; zeros where there is no vector.
        present: bool [n], which rows are vectors.
        damaged: places whose input is there but cannot be read.
        zeros: how many inputs got a vector of zeros, which carries no information and counts as missing.
        kept: how many of the vectors were there from before.
        card: what made the vectors, for the card of the data set.
    """

    features: Path
    present: np.ndarray
    damaged: list[int]
    zeros: int
    kept: int
    card: dict[str, str]


# What became of an input.
PRESENT, ABSENT, DAMAGED = 0, 1, 2
# Inputs to their vectors [n, width] and what became of each, PRESENT or DAMAGED.
Compute = Callable[[Any], tuple[np.ndarray, np.ndarray]]


def in_shards(
    work: Path,
    keys: Sequence[bytes | None],
    width: int,
    compute: Compute,
    *,
    encoder: Mapping[str, str],
    card: Mapping[str, str],
    read: Callable[[Sequence[int]], Any],
    dtype: str = "float32",
    label: str = "features",
    size: int = SHARD,
    order: Sequence[int] | None = None,
    over: Over = here,
    cache: VectorCache | None = None,
    alike: Mapping[str, str] | None = None,
) -> Extracted:
    """Vectors of a catalogue, an input that stands several times computed once.

    A shard is kept once it is computed, so that a killed run resumes with it: in ``cache``, or in ``work`` where there
    is none, or none that can be written.

    Args:
        work: folder of the result.
        keys: of each place a SHA-256 of its input; None where there is no input.
        encoder: what a vector depends on beside its input, and on nothing else: not on what it is computed with.
        read: gives ``compute`` the inputs of some places.
        dtype: of the vectors, float16 or float32.
        size: inputs of a shard.
        order: places in the order in which they are computed.
        over: who computes the shards.
        alike: another ``encoder`` whose vectors in ``cache`` will do.

    Raises:
        UserError: if a vector is too large for ``dtype`` or not finite.
    """
    store = _store(work, cache, encoder, width, dtype)
    others = [] if cache is None or alike in (None, encoder) else [_store(work, cache, alike, width, dtype)]
    target, n_waiting = work / "features.npy", sum(key is not None for key in keys)
    with (
        rows_aside(target, dtype, (len(keys), width)) as put,
        bar(total=n_waiting, desc=label, unit=" items", miniters=1) as shown,
    ):
        rows = _Rows(keys, range(len(keys)) if order is None else order, put, shown)
        for each in (store, *others):
            for segment in each.find(rows.waiting):
                rows.fill(*segment)
        kept = int(rows.present.sum())
        missing = [(key, places[0]) for key, places in rows.waiting.items()]
        parts = {start: dict(missing[start : start + size]) for start in range(0, len(missing), size)}
        blocks: Iterator[tuple[int, Any]] = ((start, read([*part.values()])) for start, part in parts.items())
        for start, (computed, became) in _watched(over(compute, blocks), shown.update):
            vectors, bad = as_type(computed, dtype)
            if bad is not None:
                place = [*parts[start].values()][bad]
                raise UserError(f"the vector of item {place} is not finite as {dtype}; try --dtype float32")
            store.add([*parts[start]], vectors, became)
            rows.fill([*parts[start]], vectors, became)
    if cache is not None:
        cache.prune()
    return Extracted(target, rows.present, rows.damaged, rows.zeros, kept, {**card, "type": dtype})


class _Rows:
    """The rows of a catalogue, written as their vectors become known: at once all that have the same input.

    Attributes:
        waiting: by its key, the places of each input whose vector is not there yet, in the order of computing.
    """

    def __init__(
        self,
        keys: Sequence[bytes | None],
        order: Sequence[int],
        put: Callable[[np.ndarray, np.ndarray], None],
        shown: Any,
    ) -> None:
        self.waiting: dict[bytes, list[int]] = {}
        for place in order:
            if (key := keys[place]) is not None:
                self.waiting.setdefault(key, []).append(place)
        self._state, self._empty = np.full(len(keys), ABSENT, dtype=np.int8), np.zeros(len(keys), dtype=bool)
        self._put, self._shown, self._n = put, shown, 0

    @property
    def present(self) -> np.ndarray:
        """Which rows are vectors that say something: bool [n]."""
        return (self._state == PRESENT) & ~self._empty

    @property
    def zeros(self) -> int:
        """How many rows are vectors of zeros."""
        return int(((self._state == PRESENT) & self._empty).sum())

    @property
    def damaged(self) -> list[int]:
        """Places of inputs that cannot be read."""
        places: list[int] = np.flatnonzero(self._state == DAMAGED).tolist()
        return places

    def fill(self, keys: Sequence[bytes], vectors: np.ndarray, became: np.ndarray) -> None:
        """Write the vectors [m, width] of m inputs to all of their places."""
        places = [self.waiting.pop(key) for key in keys]
        everywhere, rows = np.concatenate(places), np.repeat(np.arange(len(places)), [*map(len, places)])
        self._put(everywhere, vectors[rows])
        self._state[everywhere], self._empty[everywhere] = became[rows], ~vectors.any(axis=1)[rows]
        self._n += len(everywhere)
        self._shown.update(self._n - self._shown.n)  # some were shown on the way


def _store(work: Path, cache: VectorCache | None, encoder: Mapping[str, str], width: int, dtype: str) -> VectorStore:
    if cache is not None:
        try:
            return VectorStore(cache.folder, encoder, width, dtype)
        except UserError:
            pass  # a home that cannot be written costs encoding again, no more
    return VectorStore(work / "vectors", encoder, width, dtype)


def _watched(results: Iterator[Any], listener: Callable[[int], None]) -> Iterator[Any]:
    """The ``results``, each computed while ``listener`` is told how it stands."""
    while True:
        with watched_by(listener):
            found = next(results, None)
        if found is None:
            return
        yield found
