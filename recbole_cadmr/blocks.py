"""Work cut into blocks, computed by whom it may be, whose results are kept until all of them are there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from recbole_cadmr.files import write_text

Key = TypeVar("Key")
Block = TypeVar("Block")
Result = TypeVar("Result")
KEY = "key.json"  # in a folder of results: what they depend on


class Over(Protocol):
    """Computes blocks: :func:`here`, or on the nodes of a cluster (``execution/ray_blocks``)."""

    def __call__(
        self, compute: Callable[[Block], Result], blocks: Iterable[tuple[Key, Block]]
    ) -> Iterator[tuple[Key, Result]]:
        """The result of each block by its key, in any order.

        Args:
            compute: a function of the block alone, so that it may be called again where it was not heard of; it may
                hold data, which travel with it.
            blocks: taken as they are needed.
        """


def here(compute: Callable[[Block], Result], blocks: Iterable[tuple[Key, Block]]) -> Iterator[tuple[Key, Result]]:
    """One block after the other, in this process."""
    return ((key, compute(block)) for key, block in blocks)


def open_store(store: Path, key: Mapping[str, str]) -> None:
    """Keep what an earlier run left in a folder of results if it was computed for the same key; else empty it."""
    stamp, text = store / KEY, json.dumps(key, sort_keys=True, indent=1)
    if store.is_dir() and not (stamp.is_file() and stamp.read_bytes() == text.encode()):
        shutil.rmtree(store)
    write_text(stamp, text)
