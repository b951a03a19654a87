"""Vectors of a catalogue: those that are kept from before, and the others computed shard by shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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
    work.mkdir(parents=True, exist_ok=True)
    places: dict[bytes, list[int]] = {}  # of the inputs whose vectors are not there yet
    for place in range(len(keys)) if order is None else order:
        if (key := keys[place]) is not None:
            places.setdefault(key, []).append(place)
    store = _store(work, cache, encoder, width, dtype)
    others = [] if cache is None or alike in (None, encoder) else [_store(work, cache, alike, width, dtype)]
    state, empty = np.full(len(keys), ABSENT, dtype=np.int8), np.zeros(len(keys), dtype=bool)
    target, n_waiting = work / "features.npy", sum(map(len, places.values()))
    with (
        rows_aside(target, dtype, (len(keys), width)) as put,
        bar(total=n_waiting, desc=label, unit=" items", miniters=1) as shown,
    ):
        ahead = 0  # of the shard that is being computed, already shown

        def on_the_way(n: int) -> None:
            nonlocal ahead
            ahead += n
            shown.update(n)

        def fill(found: Sequence[bytes], vectors: np.ndarray, became: np.ndarray) -> None:
            at = [places.pop(key) for key in found]
            everywhere, rows = np.concatenate(at), np.repeat(np.arange(len(at)), [*map(len, at)])
            put(everywhere, vectors[rows])
            state[everywhere], empty[everywhere] = became[rows], ~vectors.any(axis=1)[rows]
            nonlocal ahead
            shown.update(len(everywhere) - ahead)
            ahead = 0

        for each in (store, *others):
            for segment in each.find(places):
                fill(*segment)
        kept = int(((state == PRESENT) & ~empty).sum())
        missing = {key: at[0] for key, at in places.items()}
        waiting = [*missing]
        parts = {start: waiting[start : start + size] for start in range(0, len(waiting), size)}
        blocks: Iterator[tuple[int, Any]] = (
            (start, read([missing[key] for key in part])) for start, part in parts.items()
        )
        for start, (vectors, became) in _watched(over(compute, blocks), on_the_way):
            with np.errstate(over="ignore"):  # refused below
                vectors = vectors.astype(dtype)
            bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
            if len(bad):
                place = missing[parts[start][bad[0]]]
                raise UserError(f"the vector of item {place} is not finite as {dtype}; try --dtype float32")
            store.add(parts[start], vectors, became)
            fill(parts[start], vectors, became)
    if cache is not None:
        cache.prune()
    present = state == PRESENT
    damaged, zeros = np.flatnonzero(state == DAMAGED).tolist(), int((present & empty).sum())
    return Extracted(target, present & ~empty, damaged, zeros, kept, {**card, "type": dtype})


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
